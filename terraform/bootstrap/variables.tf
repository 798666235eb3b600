variable "region" {
  description = "The region of the states' bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is a region of AWS, as eu-central-1."
  }
}
