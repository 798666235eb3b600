# What only the account's owner knows; terraform.tfvars.example has a line for each. What the
# environment is made of is in main.tf, under version control.

variable "account_id" {
  description = "The account that this environment belongs to."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is 12 digits: aws sts get-caller-identity --query Account."
  }
}

variable "region" {
  description = "The region, as eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region looks like eu-central-1."
  }
}

variable "zones" {
  description = "Three of its availability zones."
  type        = list(string)

  validation {
    condition     = length(var.zones) == 3 && alltrue([for one in var.zones : startswith(one, var.region)])
    error_message = "zones are three zones of the region: aws ec2 describe-availability-zones."
  }
}

variable "domain_name" {
  description = "Where S3 clients connect."
  type        = string

  validation {
    condition     = strcontains(var.domain_name, ".")
    error_message = "domain_name is a host name, as s3.example.com."
  }
}

variable "administrator_arns" {
  description = "IAM roles or users that administer the cluster."
  type        = set(string)

  validation {
    condition     = length(var.administrator_arns) > 0
    error_message = "administrator_arns names at least one."
  }
}

variable "alarm_emails" {
  description = "Who hears of alarms and of the budget."
  type        = set(string)

  validation {
    condition     = length(var.alarm_emails) > 0
    error_message = "alarm_emails names at least one."
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
  description = "The storage nodes' AMI. Empty: the last that packer/manifest.json names for the region."
  type        = string
  default     = ""

  validation {
    condition     = var.storage_image_id == "" || startswith(var.storage_image_id, "ami-")
    error_message = "storage_image_id is an AMI's id, or empty."
  }
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
