variable "name" {
  description = "Prefix of every name: fileflux-ENVIRONMENT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "environment" {
  description = "dev or prod: the tag that Ansible's inventory asks for."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,15}$", var.environment))
    error_message = "environment is 2 to 16 lower-case letters and digits."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string

  validation {
    condition     = can(regex("^vpc-", var.vpc_id))
    error_message = "vpc_id is a VPC's id."
  }
}

variable "vpc_cidr" {
  description = "Its range, where the storage nodes are."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr))
    error_message = "vpc_cidr is an IPv4 range."
  }
}

variable "private_subnet_id" {
  description = "Where the bastion is with SSM alone."
  type        = string

  validation {
    condition     = can(regex("^subnet-", var.private_subnet_id))
    error_message = "private_subnet_id is a subnet's id."
  }
}

variable "public_subnet_id" {
  description = "Where it is if people use SSH."
  type        = string

  validation {
    condition     = can(regex("^subnet-", var.public_subnet_id))
    error_message = "public_subnet_id is a subnet's id."
  }
}

variable "instance_type" {
  description = "It forwards bytes."
  type        = string
  default     = "t3.micro"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type looks like t3.micro."
  }
}

variable "image_id" {
  description = "An AMI with SSM's agent. Empty: Canonical's newest Ubuntu 22.04."
  type        = string
  default     = ""

  validation {
    condition     = var.image_id == "" || can(regex("^ami-[0-9a-f]{8,17}$", var.image_id))
    error_message = "image_id is an AMI's id, or empty."
  }
}

variable "ebs_key_arn" {
  description = "The KMS key of its disk."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.ebs_key_arn))
    error_message = "ebs_key_arn is the ARN of a KMS key."
  }
}

variable "ssh_cidr" {
  description = "The one IPv4 range that may use SSH. Empty: nobody, SSM is the way in."
  type        = string
  default     = ""

  validation {
    condition     = var.ssh_cidr == "" || (can(cidrnetmask(var.ssh_cidr)) && try(tonumber(split("/", var.ssh_cidr)[1]) >= 24, false))
    error_message = "ssh_cidr is one IPv4 range of /24 or smaller, or empty."
  }
}

variable "ssh_public_key" {
  description = "The key that may use SSH, as in ~/.ssh/id_ed25519.pub."
  type        = string
  default     = ""

  validation {
    condition     = !strcontains(var.ssh_public_key, "PRIVATE KEY")
    error_message = "ssh_public_key is the public half: the file with .pub."
  }
}
