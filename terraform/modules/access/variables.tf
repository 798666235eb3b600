variable "name" {
  description = "Prefix of the roles' names: fileflux-ENVIRONMENT."
  type        = string

  validation {
    # The longest name is this and -fileflux-storage-node; IAM takes 64 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "cluster_name" {
  description = "The cluster whose pods get identities."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name is the name of an EKS cluster."
  }
}

variable "cluster_arn" {
  description = "Its ARN: no other cluster's pods are trusted."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:eks:", var.cluster_arn))
    error_message = "cluster_arn is the ARN of an EKS cluster."
  }
}

variable "secret_arns" {
  description = "Entry (database, kafka, keys, root, audit-key) to ARN in Secrets Manager."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["database", "kafka", "keys", "root", "audit-key"], keys(var.secret_arns))) == 0
    error_message = "secret_arns must hold database, kafka, keys, root and audit-key."
  }
}

variable "secrets_key_arn" {
  description = "The KMS key that encrypts them."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.secrets_key_arn))
    error_message = "secrets_key_arn is the ARN of a KMS key."
  }
}

variable "cloudflare_secret_arn" {
  description = "The entry with the token that ExternalDNS shows Cloudflare."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:secretsmanager:", var.cloudflare_secret_arn))
    error_message = "cloudflare_secret_arn is the ARN of a secret."
  }
}

variable "bucket_arns" {
  description = "Purpose (archive, staging, backups) to bucket."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["archive", "staging", "backups"], keys(var.bucket_arns))) == 0
    error_message = "bucket_arns must hold archive, staging and backups."
  }
}

variable "buckets_key_arn" {
  description = "The KMS key that encrypts their objects."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.buckets_key_arn))
    error_message = "buckets_key_arn is the ARN of a KMS key."
  }
}

variable "log_group_arns" {
  description = "Purpose (application, host) to log group."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["application", "host"], keys(var.log_group_arns))) == 0
    error_message = "log_group_arns must hold application and host."
  }
}
