# What flows between modules, whose own tests hold the rest: mocks do not reach into child modules, so
# each is replaced by its outputs.

mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

override_module {
  target = module.keys
  outputs = {
    ebs_key_arn     = "arn:aws:kms:eu-central-1:123456789012:key/ebs"
    secrets_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/secrets"
    logs_key_arn    = "arn:aws:kms:eu-central-1:123456789012:key/logs"
    cluster_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/cluster"
  }
}

override_module {
  target = module.network
  outputs = {
    vpc_id                  = "vpc-1"
    vpc_cidr                = "10.40.0.0/16"
    private_subnet_ids      = ["subnet-a", "subnet-b", "subnet-c"]
    public_subnet_ids       = ["subnet-d", "subnet-e", "subnet-f"]
    private_subnets_by_zone = { "eu-central-1a" = "subnet-a", "eu-central-1b" = "subnet-b", "eu-central-1c" = "subnet-c" }
  }
}

override_module {
  target = module.logs
  outputs = {
    group_names = { application = "/fileflux/dev/application", host = "/fileflux/dev/host", cluster = "/aws/eks/fileflux-dev/cluster" }
    group_arns  = { application = "arn:aws:logs:eu-central-1:123456789012:log-group:a", host = "arn:aws:logs:eu-central-1:123456789012:log-group:h" }
  }
}

override_module {
  target = module.secrets
  outputs = {
    secret_arns  = { for entry in ["database", "kafka", "keys", "root", "audit-key"] : entry => "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/${entry}" }
    secret_names = { for entry in ["database", "kafka", "keys", "root", "audit-key"] : entry => "fileflux/dev/${entry}" }
  }
}

override_module {
  target = module.dns
  outputs = {
    certificate_arn        = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
    validation_records     = {}
    cloudflare_secret_arn  = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/cloudflare"
    cloudflare_secret_name = "fileflux/dev/cloudflare"
  }
}

override_module {
  target  = module.budget
  outputs = { budget_name = "fileflux-dev" }
}

override_module {
  target = module.buckets
  outputs = {
    bucket_names = { archive = "archive", staging = "staging", backups = "backups" }
    bucket_arns  = { archive = "arn:aws:s3:::archive", staging = "arn:aws:s3:::staging", backups = "arn:aws:s3:::backups" }
    key_arn      = "arn:aws:kms:eu-central-1:123456789012:key/buckets"
  }
}

override_module {
  target  = module.bastion
  outputs = { instance_id = "i-bastion", security_group_id = "sg-bastion", public_ip = "" }
}

override_module {
  target = module.cluster
  outputs = {
    cluster_name               = "fileflux-dev"
    cluster_arn                = "arn:aws:eks:eu-central-1:123456789012:cluster/fileflux-dev"
    cluster_endpoint           = "https://abc.example.com"
    certificate_authority_data = "LS0tLS1C"
    kubernetes_version         = "1.36"
    cluster_security_group_id  = "sg-cluster"
    oidc_provider_arn          = "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/ABC"
    oidc_issuer                = "oidc.example.com/id/ABC"
    cluster_dns_ip             = "172.20.0.10"
  }
}

override_module {
  target  = module.storage_nodes
  outputs = { instance_ids = { "eu-central-1a-0" = "i-0" }, private_ips = { "eu-central-1a-0" = "10.40.0.9" }, data_volume_ids = {}, node_role_arn = "arn:aws:iam::123456789012:role/n" }
}

override_module {
  target  = module.addons
  outputs = { addon_versions = {} }
}

override_module {
  target  = module.access
  outputs = { role_arns = {} }
}

override_module {
  target  = module.karpenter
  outputs = { controller_role_arn = "arn:aws:iam::123456789012:role/karpenter", node_instance_profile_name = "stateless", interruption_queue_name = "karpenter" }
}

override_module {
  target  = module.kafka
  outputs = { bootstrap_brokers = "b-1.example.com:9096" }
}

variables {
  environment        = "dev"
  domain_name        = "s3.dev.example.com"
  zones              = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  administrator_arns = ["arn:aws:iam::123456789012:role/platform"]
  alarm_emails       = ["storage-oncall@example.com"]
  data_volumes       = { count = 2, size_gib = 50 }
  monthly_limit_usd  = 100
  storage_image_id   = "ami-0123456789abcdef0"
}

run "strimzi_is_the_default_and_makes_no_msk" {
  command = plan
  assert {
    condition     = length(module.kafka) == 0 && output.fileflux.kafka.kind == "strimzi" && output.fileflux.kafka.bootstrap_servers == ""
    error_message = "Kafka in the cluster"
  }
  assert {
    condition     = output.fileflux.storage_nodes.image_id == "ami-0123456789abcdef0"
    error_message = "the image that is named"
  }
}

run "msk_by_a_variable" {
  command = plan
  variables {
    kafka = "msk"
  }
  assert {
    condition     = output.fileflux.kafka.kind == "msk" && output.fileflux.kafka.bootstrap_servers == "b-1.example.com:9096"
    error_message = "its brokers are told"
  }
}

run "the_image_is_the_last_that_packer_built_in_this_region" {
  command = plan
  variables {
    storage_image_id = ""
    packer_manifest  = "tests/manifest.json"
  }
  assert {
    condition     = output.fileflux.storage_nodes.image_id == "ami-0bbbbbbbbbbbbbbbb"
    error_message = "the last run's, and eu-central-1's of its two"
  }
}

run "another_environment_is_refused" {
  command = plan
  variables {
    environment = "staging"
  }
  expect_failures = [var.environment]
}

run "the_master_keys_version_is_not_raised_by_the_way" {
  command = plan
  variables {
    secret_versions = { keys = 2 }
  }
  expect_failures = [var.secret_versions]
}
