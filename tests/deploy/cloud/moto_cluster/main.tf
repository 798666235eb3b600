# The cluster's modules that moto's server can carry: buckets, identities, Karpenter's rights. The
# cluster itself is a name here. Everything that it asks goes to `endpoint`; nothing reaches AWS.

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

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true

  endpoints {
    eks         = var.endpoint
    eventbridge = var.endpoint
    iam         = var.endpoint
    kms         = var.endpoint
    s3          = var.endpoint
    sqs         = var.endpoint
    sts         = var.endpoint
  }

  default_tags {
    tags = {
      Project     = "fileflux"
      Environment = "dev"
      ManagedBy   = "terraform"
    }
  }
}

locals {
  account = "123456789012"
  cluster = "arn:aws:eks:eu-central-1:${local.account}:cluster/fileflux-dev"
  secrets = "arn:aws:secretsmanager:eu-central-1:${local.account}:secret:fileflux/dev"
  logs    = "arn:aws:logs:eu-central-1:${local.account}:log-group:/fileflux/dev"
  key     = "arn:aws:kms:eu-central-1:${local.account}:key/11111111-2222-3333-4444-555555555555"
}

module "buckets" {
  source = "../modules/buckets"

  name = "fileflux-dev"
}

module "access" {
  source = "../modules/access"

  name                  = "fileflux-dev"
  cluster_name          = "fileflux-dev"
  cluster_arn           = local.cluster
  secret_arns           = { for entry in ["database", "kafka", "keys", "root", "audit-key"] : entry => "${local.secrets}/${entry}" }
  secrets_key_arn       = local.key
  cloudflare_secret_arn = "${local.secrets}/cloudflare"
  bucket_arns           = module.buckets.bucket_arns
  buckets_key_arn       = module.buckets.key_arn
  log_group_arns        = { for group in ["application", "host"] : group => "${local.logs}/${group}" }
}

module "karpenter" {
  source = "../modules/karpenter"

  name              = "fileflux-dev"
  cluster_name      = "fileflux-dev"
  oidc_provider_arn = "arn:aws:iam::${local.account}:oidc-provider/oidc.example.com/id/ABC"
  oidc_issuer       = "oidc.example.com/id/ABC"
  ebs_key_arn       = local.key
}

output "queue" {
  description = "Karpenter's."
  value       = module.karpenter.interruption_queue_name
}
