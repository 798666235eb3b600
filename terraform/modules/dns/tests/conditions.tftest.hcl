# A certificate for names that are names, and the entry of the token.

mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_acm_certificate" {
    defaults = { arn = "arn:aws:acm:eu-central-1:123456789012:certificate/x" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x" }
  }
}

variables {
  name        = "fileflux-dev"
  environment = "dev"
  domain_name = "s3.example.com"
  key_arn     = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
}

run "the_certificate_is_validated_by_dns" {
  assert {
    condition     = aws_acm_certificate.this.validation_method == "DNS"
    error_message = "it renews by itself"
  }
  assert {
    condition     = output.cloudflare_secret_name == "fileflux/dev/cloudflare"
    error_message = "the name that ExternalDNS reads"
  }
  assert {
    condition     = aws_secretsmanager_secret.cloudflare.kms_key_id == "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
    error_message = "encrypted"
  }
}

run "buckets_may_be_hosts" {
  variables {
    alternative_names = ["*.s3.example.com"]
  }
  assert {
    condition     = aws_acm_certificate.this.subject_alternative_names == toset(["*.s3.example.com"])
    error_message = "the wildcard"
  }
}

run "a_url_is_refused" {
  command = plan
  variables {
    domain_name = "https://s3.example.com"
  }
  expect_failures = [var.domain_name]
}

run "a_wildcard_as_main_name_is_refused" {
  command = plan
  variables {
    domain_name = "*.example.com"
  }
  expect_failures = [var.domain_name]
}

run "a_name_without_a_dot_is_refused" {
  command = plan
  variables {
    alternative_names = ["localhost"]
  }
  expect_failures = [var.alternative_names]
}

run "a_short_recovery_is_refused" {
  command = plan
  variables {
    recovery_window_days = 3
  }
  expect_failures = [var.recovery_window_days]
}

run "a_name_that_aws_refuses_is_refused" {
  command = plan
  variables {
    name = "FileFlux dev"
  }
  expect_failures = [var.name]
}

run "a_path_as_environment_is_refused" {
  command = plan
  variables {
    environment = "dev/../prod"
  }
  expect_failures = [var.environment]
}

run "a_key_that_is_none_is_refused" {
  command = plan
  variables {
    key_arn = "alias/secrets"
  }
  expect_failures = [var.key_arn]
}
