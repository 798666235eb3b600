variable "zone_id" {
  description = "The zone at Cloudflare that holds the names."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.zone_id))
    error_message = "zone_id is 32 hexadecimal digits; Cloudflare shows it on the zone's overview."
  }
}

variable "certificate_arn" {
  description = "The certificate that waits for its records."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:acm:", var.certificate_arn))
    error_message = "certificate_arn is the ARN of an ACM certificate."
  }
}

variable "validation_records" {
  description = "What the module dns gave out: domain name to the record that proves it."
  type        = map(object({ name = string, type = string, value = string }))

  validation {
    condition     = length(var.validation_records) >= 1 && alltrue([for one in values(var.validation_records) : one.type == "CNAME"])
    error_message = "validation_records are CNAME records, one at least."
  }
}
