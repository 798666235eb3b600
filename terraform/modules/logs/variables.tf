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

variable "cluster_name" {
  description = "The EKS cluster: its control plane writes into a group of a fixed name, made before it."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name is what EKS takes: up to 100 letters, digits, hyphens and underscores."
  }
}

variable "key_arn" {
  description = "The KMS key that encrypts the groups and the alarms' topic."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.key_arn))
    error_message = "key_arn is the ARN of a KMS key."
  }
}

variable "retention_days" {
  description = "How long log lines are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.retention_days)
    error_message = "retention_days is one of the periods that CloudWatch offers, 7 days at least."
  }
}

variable "alarm_emails" {
  description = "Who is written to when an alarm fires; each confirms once, by a link in a mail."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", one))])
    error_message = "alarm_emails are e-mail addresses."
  }
}

variable "error_alarm_threshold" {
  description = "So many entries of level error within five minutes raise the alarm."
  type        = number
  default     = 10

  validation {
    condition     = var.error_alarm_threshold >= 1
    error_message = "error_alarm_threshold is at least 1."
  }
}
