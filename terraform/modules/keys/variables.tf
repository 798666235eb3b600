variable "name" {
  description = "Prefix of every name: fileflux-ENVIRONMENT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "administrator_arns" {
  description = "Who manages the keys, without using them. Empty: whoever IAM allows in this account."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.administrator_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/", one))])
    error_message = "administrator_arns are ARNs of roles or users, never of an account or of everybody."
  }
}

variable "deletion_window_days" {
  description = "How long a deleted key can be brought back. All that it encrypted is lost after it."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "deletion_window_days is 7 to 30."
  }
}

variable "rotation_days" {
  description = "How often AWS makes new key material; what is encrypted stays readable."
  type        = number
  default     = 365

  validation {
    condition     = var.rotation_days >= 90 && var.rotation_days <= 2560
    error_message = "rotation_days is 90 to 2560."
  }
}
