variable "name" {
  description = "Prefix of every name, and the VPC's own: fileflux-ENVIRONMENT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "cluster_name" {
  description = "The EKS cluster that finds its subnets by their tags."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name is what EKS takes: up to 100 letters, digits, hyphens and underscores."
  }
}

variable "cidr" {
  description = "The VPC's IPv4 range: half of its addresses are for pods and hosts, a sixteenth each for the public subnets."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "cidr is an IPv4 range from /16 to /20: each pod takes an address of its own."
  }
}

variable "zones" {
  description = "Three availability zones of the region, as failure domains of replicas."
  type        = list(string)

  validation {
    condition     = length(var.zones) == 3 && length(distinct(var.zones)) == 3
    error_message = "zones names exactly three different zones: an object's replicas lie in three."
  }
}

variable "nat_gateways" {
  description = "1: cheap, and all zones lose their way out together. 3: one a zone."
  type        = number
  default     = 3

  validation {
    condition     = contains([1, 3], var.nat_gateways)
    error_message = "nat_gateways is 1 or 3."
  }
}

variable "interface_endpoints" {
  description = "AWS services that hosts and pods reach without leaving the VPC, as short names."
  type        = set(string)
  default = [
    "ec2", "ec2messages", "ecr.api", "ecr.dkr", "eks", "eks-auth", "kms", "logs", "secretsmanager",
    "ssm", "ssmmessages", "sts",
  ]

  validation {
    condition     = alltrue([for one in var.interface_endpoints : can(regex("^[a-z0-9][a-z0-9.-]*$", one))])
    error_message = "interface_endpoints are the last part of a service's name, as in com.amazonaws.REGION.ecr.api."
  }

  validation {
    condition     = !contains(var.interface_endpoints, "s3")
    error_message = "S3 has a gateway endpoint already, which costs nothing."
  }
}

variable "public_buckets" {
  description = "Other people's buckets that registries send image layers from, unsigned. Reading them through the S3 endpoint is allowed."
  type        = set(string)
  default     = ["prod-registry-k8s-io-*"]

  validation {
    condition     = alltrue([for one in var.public_buckets : can(regex("^[a-z0-9][a-z0-9.-]{6,}[*]?$", one))])
    error_message = "public_buckets are names of buckets, with a * at the end at most: never all buckets."
  }
}

variable "logs_key_arn" {
  description = "The KMS key that encrypts the flow logs."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.logs_key_arn))
    error_message = "logs_key_arn is the ARN of a KMS key."
  }
}

variable "flow_log_retention_days" {
  description = "How long the record of who talked to whom is kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.flow_log_retention_days)
    error_message = "flow_log_retention_days is one of the periods that CloudWatch offers, 30 days at least."
  }
}
