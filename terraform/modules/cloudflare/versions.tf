terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.87, < 7"
    }

    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = ">= 5.1, < 6"
    }
  }
}
