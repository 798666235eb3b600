variable "name" {
  description = "Prefix of every name: fileflux-ENVIRONMENT."
  type        = string

  validation {
    # 63 characters of a bucket's name, less purpose, account and region.
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "name is 3 to 24 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "archive_transition_days" {
  description = "After so many days segments of the audit stream move to cheaper storage of instant retrieval."
  type        = number
  default     = 90

  validation {
    condition     = var.archive_transition_days >= 30 && floor(var.archive_transition_days) == var.archive_transition_days
    error_message = "archive_transition_days is at least 30."
  }
}

variable "staging_expire_days" {
  description = "Staged bundles older than this are nobody's."
  type        = number
  default     = 7

  validation {
    condition     = var.staging_expire_days >= 2 && floor(var.staging_expire_days) == var.staging_expire_days
    error_message = "staging_expire_days is at least 2: an upload may wait for nodes over a night."
  }
}

variable "backup_retention_days" {
  description = "Backups of the database are kept for so long."
  type        = number
  default     = 35

  validation {
    condition     = var.backup_retention_days >= 8 && floor(var.backup_retention_days) == var.backup_retention_days
    error_message = "backup_retention_days is at least 8: an incremental backup needs the week's full one."
  }
}

variable "noncurrent_days" {
  description = "Overwritten and deleted objects of archive and backups stay for so long."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days is at least 1."
  }
}
