# The modules that moto's server can carry, as one environment. Everything that it asks goes to
# `endpoint`; nothing of it reaches AWS.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.87, < 7"
    }
  }
}

variable "endpoint" {
  description = "moto's server."
  type        = string
}

variable "nat_gateways" {
  description = "1 or 3."
  type        = number
  default     = 3
}

variable "secret_versions" {
  description = "What to generate again."
  type        = map(number)
  default     = {}
}

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true

  endpoints {
    acm            = var.endpoint
    budgets        = var.endpoint
    cloudwatch     = var.endpoint
    ec2            = var.endpoint
    iam            = var.endpoint
    kms            = var.endpoint
    logs           = var.endpoint
    s3             = var.endpoint
    secretsmanager = var.endpoint
    sns            = var.endpoint
    sts            = var.endpoint
  }

  default_tags {
    tags = {
      Project     = "fileflux"
      Environment = "dev"
      ManagedBy   = "terraform"
    }
  }
}

module "keys" {
  source = "../modules/keys"

  name = "fileflux-dev"
}

module "network" {
  source = "../modules/network"

  name         = "fileflux-dev"
  cluster_name = "fileflux-dev"
  zones        = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  nat_gateways = var.nat_gateways
  logs_key_arn = module.keys.logs_key_arn
}

module "secrets" {
  source = "../modules/secrets"

  environment          = "dev"
  key_arn              = module.keys.secrets_key_arn
  recovery_window_days = 0
  secret_versions      = var.secret_versions
}

module "logs" {
  source = "../modules/logs"

  name         = "fileflux-dev"
  environment  = "dev"
  cluster_name = "fileflux-dev"
  key_arn      = module.keys.logs_key_arn
  alarm_emails = ["alarms@example.com"]
}

module "dns" {
  source = "../modules/dns"

  name                 = "fileflux-dev"
  environment          = "dev"
  domain_name          = "s3.example.com"
  alternative_names    = ["*.s3.example.com"]
  key_arn              = module.keys.secrets_key_arn
  recovery_window_days = 0
}

module "budget" {
  source = "../modules/budget"

  name              = "fileflux-dev"
  environment       = "dev"
  monthly_limit_usd = 500
  emails            = ["costs@example.com"]
}

module "state" {
  source = "../modules/state"

  name        = "fileflux"
  bucket_name = "fileflux-state-123456789012-eu-central-1"
  deletable   = true
}

output "vpc_id" {
  description = "The VPC."
  value       = module.network.vpc_id
}

output "secret_names" {
  description = "The entries."
  value       = module.secrets.secret_names
}

output "nat_public_ips" {
  description = "One for each NAT gateway."
  value       = module.network.nat_public_ips
}

output "validation_records" {
  description = "What Cloudflare's side would get."
  value       = module.dns.validation_records
}
