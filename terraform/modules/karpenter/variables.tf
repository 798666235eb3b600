variable "name" {
  description = "Prefix of every name: fileflux-ENVIRONMENT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "cluster_name" {
  description = "The cluster that gets nodes."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name is the name of an EKS cluster."
  }
}

variable "oidc_provider_arn" {
  description = "The cluster's identity provider in IAM."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/", var.oidc_provider_arn))
    error_message = "oidc_provider_arn is the ARN of an OpenID Connect provider."
  }
}

variable "oidc_issuer" {
  description = "Its address without https://."
  type        = string

  validation {
    condition     = !startswith(var.oidc_issuer, "https://") && length(var.oidc_issuer) > 0
    error_message = "oidc_issuer has no https:// before it: conditions name it without."
  }
}

variable "ebs_key_arn" {
  description = "The KMS key of the nodes' disks."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.ebs_key_arn))
    error_message = "ebs_key_arn is the ARN of a KMS key."
  }
}
