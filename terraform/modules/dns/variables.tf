variable "name" {
  description = "Prefix of every name: fileflux-ENVIRONMENT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "environment" {
  description = "dev or prod: a part of the paths of secrets and logs."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,15}$", var.environment))
    error_message = "environment is 2 to 16 lower-case letters and digits."
  }
}

variable "domain_name" {
  description = "The name that clients use: s3.example.com."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]{2,}$", var.domain_name))
    error_message = "domain_name is a full domain name, lower case, without a wildcard."
  }
}

variable "alternative_names" {
  description = "Further names; *.s3.example.com lets clients write the bucket into the host's name."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.alternative_names : can(regex("^([*][.])?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]{2,}$", one))])
    error_message = "alternative_names are full domain names, lower case, a wildcard at the beginning at most."
  }
}

variable "key_arn" {
  description = "The KMS key that encrypts the entry of Cloudflare's token."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.key_arn))
    error_message = "key_arn is the ARN of a KMS key."
  }
}

variable "recovery_window_days" {
  description = "How long a deleted secret can be brought back. 0: gone at once, for tests."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_window_days == 0 || (var.recovery_window_days >= 7 && var.recovery_window_days <= 30)
    error_message = "recovery_window_days is 0, or 7 to 30."
  }
}
