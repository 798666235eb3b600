terraform {
  # 1.11 of both Terraform and OpenTofu knows ephemeral values and write-only arguments.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.87, < 7"
    }
  }
}
