variable "name" {
  description = "The cluster's name, and the prefix of its roles: fileflux-ENVIRONMENT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

# EKS's calendar: 14 months of standard support from a version's first day there; on 2026-12-01 that
# of 1.34 ends tomorrow, that of 1.35 on 2027-03-27, and 1.36 is the newest the guide names
# (docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html). Ask before an upgrade:
# aws eks describe-cluster-versions.
variable "kubernetes_version" {
  description = "A Kubernetes version in EKS's standard support."
  type        = string
  default     = "1.36"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version)) && try(tonumber(split(".", var.kubernetes_version)[1]) >= 35, false)
    error_message = "kubernetes_version is 1.35 or newer: older ones are past EKS's standard support, or at its last day (2026-12-02)."
  }
}

variable "subnet_ids" {
  description = "Private subnets in three zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) == 3 && length(distinct(var.subnet_ids)) == 3
    error_message = "subnet_ids names three subnets, one a zone."
  }
}

variable "cluster_key_arn" {
  description = "The KMS key that encrypts Kubernetes Secrets in etcd."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.cluster_key_arn))
    error_message = "cluster_key_arn is the ARN of a KMS key."
  }
}

variable "public_access_cidrs" {
  description = "Ranges that reach the API over the internet. Empty: none, people use the bastion's tunnel."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.public_access_cidrs : can(cidrnetmask(one)) && try(tonumber(split("/", one)[1]) >= 16, false)])
    error_message = "public_access_cidrs are IPv4 ranges of /16 or smaller: the whole internet is not a list."
  }
}

variable "administrator_arns" {
  description = "IAM roles or users that administer the cluster. At least one: its maker is not one by having made it."
  type        = set(string)

  validation {
    condition     = length(var.administrator_arns) > 0 && alltrue([for one in var.administrator_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/", one))])
    error_message = "administrator_arns are ARNs of IAM roles or users, at least one; see `aws iam get-role`, not `sts get-caller-identity`."
  }
}

variable "viewer_arns" {
  description = "IAM roles or users that read everything but Secrets."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.viewer_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/", one))])
    error_message = "viewer_arns are ARNs of IAM roles or users."
  }
}

variable "bastion_may_enter" {
  description = "Whether the bastion's security group reaches the API."
  type        = bool
  default     = true
}

variable "bastion_security_group_id" {
  description = "The bastion's security group."
  type        = string
  default     = null

  validation {
    condition     = var.bastion_security_group_id == null ? !var.bastion_may_enter : can(regex("^sg-", var.bastion_security_group_id))
    error_message = "bastion_security_group_id is a security group's id, or bastion_may_enter is false."
  }
}

variable "service_cidr" {
  description = "Addresses of Services. Must not meet the VPC's range; its tenth address is the DNS server."
  type        = string
  default     = "172.20.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.service_cidr)) && try(tonumber(split("/", var.service_cidr)[1]) >= 12 && tonumber(split("/", var.service_cidr)[1]) <= 24, false)
    error_message = "service_cidr is an IPv4 range from /12 to /24."
  }
}

variable "enabled_log_types" {
  description = "What the control plane writes to CloudWatch."
  type        = list(string)
  default     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]

  validation {
    condition     = alltrue([for one in ["audit", "authenticator"] : contains(var.enabled_log_types, one)])
    error_message = "enabled_log_types must hold audit and authenticator: who did what is not optional."
  }
}

variable "log_group_name" {
  description = "The group that it writes to, made before: /aws/eks/NAME/cluster."
  type        = string

  validation {
    condition     = startswith(var.log_group_name, "/aws/eks/")
    error_message = "log_group_name begins with /aws/eks/: EKS chooses the name."
  }
}

variable "addon_versions" {
  description = "Add-on to version. What is absent is at EKS's default for the Kubernetes version."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for one in values(var.addon_versions) : can(regex("^v[0-9]+\\.[0-9]+\\.[0-9]+-eksbuild\\.[0-9]+$", one))])
    error_message = "addon_versions look like v1.20.4-eksbuild.1; `aws eks describe-addon-versions` lists them."
  }
}
