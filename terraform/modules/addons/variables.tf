variable "name" {
  description = "Prefix of every name: fileflux-ENVIRONMENT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "cluster_name" {
  description = "The cluster."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name is the name of an EKS cluster."
  }
}

variable "cluster_arn" {
  description = "Its ARN, which the EBS controller's role trusts."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:eks:", var.cluster_arn))
    error_message = "cluster_arn is the ARN of an EKS cluster."
  }
}

variable "kubernetes_version" {
  description = "Its Kubernetes version, whose default add-on versions are taken."
  type        = string

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version looks like 1.36."
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

variable "ebs_key_arn" {
  description = "The KMS key of volumes."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.ebs_key_arn))
    error_message = "ebs_key_arn is the ARN of a KMS key."
  }
}

variable "node_ids" {
  description = "Instances that have been started as nodes: the add-ons are made after them."
  type        = list(string)

  validation {
    condition     = alltrue([for one in var.node_ids : can(regex("^i-", one))])
    error_message = "node_ids are EC2 instances' ids."
  }
}
