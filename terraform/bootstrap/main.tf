# The states' bucket, once for an account and region. Its own state cannot lie in a bucket that does
# not exist yet: apply with the local one, then move it in (README).
#
#   tofu init && tofu apply -var region=eu-central-1

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.87, < 7"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project     = "fileflux"
      Environment = "all"
      ManagedBy   = "terraform"
    }
  }
}

data "aws_caller_identity" "current" {}

module "state" {
  source = "../modules/state"

  name        = "fileflux"
  bucket_name = "fileflux-state-${data.aws_caller_identity.current.account_id}-${var.region}"
}
