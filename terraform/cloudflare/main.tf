# Proves an environment's names by records at Cloudflare, and waits for its certificate. A root of
# its own, with its own state: nothing else needs Cloudflare's provider or its token.
#
#   tofu init -backend-config=bucket=... -backend-config=region=... -backend-config=kms_key_id=... \
#     -backend-config=key=cloudflare/dev/terraform.tfstate
#   CLOUDFLARE_API_TOKEN=... tofu apply -var environment=dev ...

terraform {
  required_version = ">= 1.11"

  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }

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

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project     = "fileflux"
      Environment = var.environment
      ManagedBy   = "terraform"
    }
  }
}

# The token comes from the environment, CLOUDFLARE_API_TOKEN: never from a file here.
provider "cloudflare" {}

# What the environment gave out: the certificate and the records it waits for.
data "terraform_remote_state" "environment" {
  backend = "s3"

  config = {
    bucket = var.state_bucket
    region = var.region
    key    = "environments/${var.environment}/terraform.tfstate"
  }
}

module "cloudflare" {
  source = "../modules/cloudflare"

  zone_id            = var.zone_id
  certificate_arn    = data.terraform_remote_state.environment.outputs.fileflux.certificate_arn
  validation_records = data.terraform_remote_state.environment.outputs.fileflux.validation_records
}
