variable "environment" {
  description = "dev or prod: a part of the paths of secrets and logs."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,15}$", var.environment))
    error_message = "environment is 2 to 16 lower-case letters and digits."
  }
}

variable "key_arn" {
  description = "The KMS key that encrypts the entries."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.key_arn))
    error_message = "key_arn is the ARN of a KMS key."
  }
}

variable "database_host" {
  description = "Where services find the database: a Service of the cluster, or a host of a PostgreSQL."
  type        = string
  default     = "cockroachdb-public"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", var.database_host))
    error_message = "database_host is a host name."
  }
}

variable "database_port" {
  description = "Its port: 26257 of CockroachDB, 5432 of PostgreSQL."
  type        = number
  default     = 26257

  validation {
    condition     = var.database_port >= 1 && var.database_port <= 65535 && floor(var.database_port) == var.database_port
    error_message = "database_port is 1 to 65535."
  }
}

variable "database_name" {
  description = "The database."
  type        = string
  default     = "fileflux"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database_name))
    error_message = "database_name is a plain SQL name."
  }
}

variable "database_user" {
  description = "Its user of least privilege."
  type        = string
  default     = "fileflux"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database_user))
    error_message = "database_user is a plain SQL name."
  }
}

variable "database_options" {
  description = "The URL's parameters. TLS with the server's name checked is the least."
  type        = string
  default     = "sslmode=verify-full&sslrootcert=/etc/fileflux/database-ca/ca.crt"

  validation {
    condition     = strcontains(var.database_options, "sslmode=verify-full")
    error_message = "database_options must contain sslmode=verify-full: the password and all metadata travel there."
  }
}

variable "kafka_username" {
  description = "The user that services are to Kafka."
  type        = string
  default     = "fileflux"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,62}$", var.kafka_username))
    error_message = "kafka_username is lower-case letters, digits and hyphens."
  }
}

variable "secret_versions" {
  description = "Raise a number to generate that entry again at the next apply. What follows is in the README."
  type = object({
    database = optional(number, 1)
    kafka    = optional(number, 1)
    keys     = optional(number, 1)
    root     = optional(number, 1)
  })
  default = {}

  validation {
    condition     = alltrue([for one in values(var.secret_versions) : one >= 1 && floor(one) == one])
    error_message = "secret_versions are whole numbers from 1."
  }

  validation {
    condition     = var.secret_versions.keys == 1 || var.master_key_may_change
    error_message = "A new master key makes every user's S3 secret key unreadable. If that is meant (no users yet, or all get new keys), set master_key_may_change = true."
  }
}

variable "master_key_may_change" {
  description = "Whether secret_versions.keys may be raised, which ends every S3 secret key that users have."
  type        = bool
  default     = false
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
