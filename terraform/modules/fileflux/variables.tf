# What environments differ in. Each module's own variables say more of what it takes.

variable "environment" {
  description = "dev or prod: a part of every name and tag."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment is dev or prod."
  }
}

variable "domain_name" {
  description = "Where S3 clients connect, as s3.example.com; the zone is at Cloudflare."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain_name))
    error_message = "domain_name is a host name, as s3.example.com."
  }
}

variable "cidr" {
  description = "The VPC's range, apart from that of the other environment."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr))
    error_message = "cidr is an IPv4 range."
  }
}

variable "zones" {
  description = "Three availability zones of the provider's region."
  type        = list(string)

  validation {
    condition     = length(var.zones) == 3 && length(distinct(var.zones)) == 3
    error_message = "zones names exactly three different zones."
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

variable "kubernetes_version" {
  description = "A version in EKS's standard support; modules/cluster says which and where that is written."
  type        = string
  default     = "1.36"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version looks like 1.36."
  }
}

variable "addon_versions" {
  description = "Add-on to version, where EKS's default is not wanted."
  type        = map(string)
  default     = {}

  validation {
    condition = length(setsubtract(keys(var.addon_versions), [
      "vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns", "aws-ebs-csi-driver", "aws-secrets-store-csi-driver-provider",
    ])) == 0
    error_message = "addon_versions names vpc-cni, kube-proxy, eks-pod-identity-agent, coredns, aws-ebs-csi-driver or aws-secrets-store-csi-driver-provider."
  }
}

variable "public_access_cidrs" {
  description = "Ranges that reach the Kubernetes API over the internet. Empty: none."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.public_access_cidrs : can(cidrnetmask(one))])
    error_message = "public_access_cidrs are IPv4 ranges."
  }
}

variable "administrator_arns" {
  description = "IAM roles or users that administer the cluster."
  type        = set(string)

  validation {
    condition     = length(var.administrator_arns) > 0
    error_message = "administrator_arns names at least one: else nobody could enter."
  }
}

variable "viewer_arns" {
  description = "IAM roles or users that read everything but Secrets."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.viewer_arns : startswith(one, "arn:")])
    error_message = "viewer_arns are ARNs of IAM roles or users."
  }
}

variable "key_administrator_arns" {
  description = "Who manages the KMS keys. Empty: whom the account's IAM lets."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.key_administrator_arns : startswith(one, "arn:")])
    error_message = "key_administrator_arns are ARNs of IAM roles or users."
  }
}

variable "ssh_cidr" {
  description = "The one range that may use SSH on the bastion. Empty: SSM alone."
  type        = string
  default     = ""

  validation {
    condition     = var.ssh_cidr == "" || can(cidrnetmask(var.ssh_cidr))
    error_message = "ssh_cidr is one IPv4 range, or empty."
  }
}

variable "ssh_public_key" {
  description = "The key that may."
  type        = string
  default     = ""

  validation {
    condition     = !strcontains(var.ssh_public_key, "PRIVATE KEY")
    error_message = "ssh_public_key is the public half."
  }
}

variable "storage_image_id" {
  description = "The storage nodes' AMI. Empty: the last of packer_manifest in this region."
  type        = string
  default     = ""

  validation {
    condition     = var.storage_image_id == "" || startswith(var.storage_image_id, "ami-")
    error_message = "storage_image_id is an AMI's id, or empty."
  }
}

variable "packer_manifest" {
  description = "Where Packer wrote what it built."
  type        = string
  default     = ""

  validation {
    condition     = var.packer_manifest == "" || endswith(var.packer_manifest, ".json")
    error_message = "packer_manifest is a path to manifest.json."
  }
}

variable "nodes_per_zone" {
  description = "Storage nodes in each zone."
  type        = number
  default     = 1

  validation {
    condition     = var.nodes_per_zone >= 1
    error_message = "nodes_per_zone is at least 1."
  }
}

variable "storage_instance_type" {
  description = "The storage nodes' size."
  type        = string
  default     = "m6i.xlarge"

  validation {
    condition     = strcontains(var.storage_instance_type, ".")
    error_message = "storage_instance_type looks like m6i.xlarge."
  }
}

variable "data_volumes" {
  description = "Each storage node's data disks."
  type = object({
    count      = number
    size_gib   = number
    type       = optional(string, "gp3")
    iops       = optional(number, 3000)
    throughput = optional(number, 125)
  })

  validation {
    condition     = var.data_volumes.count >= 1
    error_message = "data_volumes.count is at least 1."
  }
}

variable "protected" {
  description = "Whether EC2 refuses to terminate storage nodes."
  type        = bool
  default     = true
}

variable "kafka" {
  description = "strimzi: in the cluster, by helm/kafka. msk: Amazon MSK."
  type        = string
  default     = "strimzi"

  validation {
    condition     = contains(["strimzi", "msk"], var.kafka)
    error_message = "kafka is strimzi or msk."
  }
}

variable "secret_versions" {
  description = "Raise a number to generate that entry of Secrets Manager again."
  type        = map(number)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.secret_versions), ["database", "kafka", "root"])) == 0
    error_message = "secret_versions names database, kafka or root; the master key is exchanged by hand (modules/secrets)."
  }
}

variable "recovery_window_days" {
  description = "A deleted secret can be brought back for so long. 0 frees its name at once."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_window_days == 0 || (var.recovery_window_days >= 7 && var.recovery_window_days <= 30)
    error_message = "recovery_window_days is 0, or 7 to 30."
  }
}

variable "log_retention_days" {
  description = "Logs of services, hosts and the control plane are kept for so long."
  type        = number
  default     = 90

  validation {
    condition     = var.log_retention_days >= 7
    error_message = "log_retention_days is at least 7."
  }
}

variable "alarm_emails" {
  description = "Who hears of alarms and of the budget."
  type        = set(string)

  validation {
    condition     = length(var.alarm_emails) > 0 && alltrue([for one in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", one))])
    error_message = "alarm_emails are mail addresses, at least one."
  }
}

variable "monthly_limit_usd" {
  description = "What a month may cost before mails are sent. A budget stops nothing."
  type        = number

  validation {
    condition     = var.monthly_limit_usd > 0
    error_message = "monthly_limit_usd is more than 0."
  }
}
