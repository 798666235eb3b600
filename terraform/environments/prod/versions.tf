# State in S3, locked by an object beside it (no DynamoDB). Bucket, key and region come from
# terraform/bootstrap: `tofu init -backend-config=backend.hcl`, which README.md shows.
terraform {
  # 1.11 of both Terraform and OpenTofu knows ephemeral values and write-only arguments.
  required_version = ">= 1.11"

  backend "s3" {
    key          = "environments/prod/terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.87, < 7"
    }
  }
}

provider "aws" {
  region = var.region

  # Another account's credentials in the shell change nothing here.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      Project     = "fileflux"
      Environment = "prod"
      ManagedBy   = "terraform"
    }
  }
}
