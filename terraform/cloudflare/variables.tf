variable "environment" {
  description = "The environment whose names are proven: dev or prod."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment is dev or prod."
  }
}

variable "region" {
  description = "The region of the environment and of the states' bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is a region of AWS, as eu-central-1."
  }
}

variable "state_bucket" {
  description = "The states' bucket, as bootstrap gave it out."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket is 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "zone_id" {
  description = "The zone at Cloudflare that holds the names."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.zone_id))
    error_message = "zone_id is 32 hexadecimal digits; Cloudflare shows it on the zone's overview."
  }
}
