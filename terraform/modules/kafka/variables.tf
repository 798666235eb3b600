variable "name" {
  description = "The cluster's name and prefix of every other: fileflux-ENVIRONMENT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "kafka_version" {
  description = "A version that MSK offers; KRaft, as ZooKeeper ended with Kafka 4."
  type        = string
  default     = "3.9.x.kraft"

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.(x|[0-9]+)(\\.kraft)?$", var.kafka_version))
    error_message = "kafka_version looks like 3.9.x.kraft; `aws kafka list-kafka-versions` lists them."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string

  validation {
    condition     = can(regex("^vpc-", var.vpc_id))
    error_message = "vpc_id is a VPC's id."
  }
}

variable "subnet_ids" {
  description = "Private subnets in three zones, a broker each."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) == 3 && length(distinct(var.subnet_ids)) == 3
    error_message = "subnet_ids names three subnets, one a zone."
  }
}

variable "client_security_group_id" {
  description = "Who may connect: the group of the cluster's nodes."
  type        = string

  validation {
    condition     = can(regex("^sg-", var.client_security_group_id))
    error_message = "client_security_group_id is a security group's id."
  }
}

variable "instance_type" {
  description = "Each broker's size."
  type        = string
  default     = "kafka.m7g.large"

  validation {
    condition     = startswith(var.instance_type, "kafka.")
    error_message = "instance_type looks like kafka.m7g.large."
  }
}

variable "volume_gib" {
  description = "Each broker's disk: a week of events, no objects."
  type        = number
  default     = 100

  validation {
    condition     = var.volume_gib >= 10 && var.volume_gib <= 16384
    error_message = "volume_gib is 10 to 16384."
  }
}

variable "kafka_secret_arn" {
  description = "fileflux/ENVIRONMENT/kafka, with the user and password of services."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:secretsmanager:", var.kafka_secret_arn))
    error_message = "kafka_secret_arn is the ARN of a secret."
  }
}

variable "secret_version" {
  description = "Raised together with that of fileflux/ENVIRONMENT/kafka, to copy the new password."
  type        = number
  default     = 1

  validation {
    condition     = var.secret_version >= 1 && floor(var.secret_version) == var.secret_version
    error_message = "secret_version is a whole number from 1."
  }
}

variable "recovery_window_days" {
  description = "A deleted secret can be brought back for so long. 0: at once, its name is free again."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_window_days == 0 || (var.recovery_window_days >= 7 && var.recovery_window_days <= 30)
    error_message = "recovery_window_days is 0, or 7 to 30."
  }
}

variable "log_retention_days" {
  description = "Brokers' logs are kept for so long."
  type        = number
  default     = 365

  validation {
    condition     = contains([7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days is one that CloudWatch knows: 7, 14, 30, 60, 90, ..., 365, ..."
  }
}
