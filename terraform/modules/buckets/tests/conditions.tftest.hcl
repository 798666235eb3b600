# Three buckets: encrypted, private, over TLS, each with its own way of forgetting.

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
  mock_data "aws_eks_addon_version" {
    defaults = { version = "v1.0.0-eksbuild.1" }
  }
  mock_data "aws_ssm_parameter" {
    defaults = { value = "ami-0123456789abcdef0" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a" }
  }
  mock_resource "aws_eks_cluster" {
    defaults = {
      arn      = "arn:aws:eks:eu-central-1:123456789012:cluster/fileflux-dev"
      endpoint = "https://ABC.gr7.eu-central-1.eks.amazonaws.com"
      identity = [{ oidc = [{ issuer = "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC" }] }]

      certificate_authority = [{ data = "LS0tLS1C" }]
    }
  }
}

variables {
  name = "fileflux-dev"
}

run "names_say_whose_they_are" {
  assert {
    condition     = output.bucket_names["archive"] == "fileflux-dev-archive-123456789012-eu-central-1" && toset(keys(output.bucket_names)) == toset(["archive", "staging", "backups"])
    error_message = "purpose, account and region"
  }
}

run "nothing_is_public_and_all_is_encrypted" {
  assert {
    condition     = alltrue([for one in aws_s3_bucket_public_access_block.this : one.block_public_acls && one.block_public_policy && one.ignore_public_acls && one.restrict_public_buckets])
    error_message = "private"
  }
  assert {
    condition     = alltrue([for one in aws_s3_bucket_server_side_encryption_configuration.this : one.rule.*.apply_server_side_encryption_by_default[0][0].sse_algorithm == "aws:kms"])
    error_message = "by our key"
  }
  assert {
    condition     = alltrue([for one in data.aws_iam_policy_document.bucket : one.statement[0].effect == "Deny" && one.statement[0].sid == "TlsOnly"])
    error_message = "over TLS"
  }
  assert {
    condition     = aws_kms_key.this.enable_key_rotation
    error_message = "rotated"
  }
}

run "staged_bundles_have_no_versions_and_others_do" {
  assert {
    condition     = { for purpose, one in aws_s3_bucket_versioning.this : purpose => one.versioning_configuration[0].status } == { archive = "Enabled", backups = "Enabled", staging = "Suspended" }
    error_message = "versions where something can be lost"
  }
}

run "the_archive_never_expires_and_backups_do" {
  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.archive.rule[0].expiration) == 0 && aws_s3_bucket_lifecycle_configuration.backups.rule[0].expiration[0].days == 35
    error_message = "the audit stream is kept"
  }
}

run "a_long_name_is_refused" {
  command = plan
  variables {
    name = "a-name-that-makes-a-bucket-of-64"
  }
  expect_failures = [var.name]
}

run "backups_of_a_week_are_refused" {
  command = plan
  variables {
    backup_retention_days = 7
  }
  expect_failures = [var.backup_retention_days]
}

run "staging_of_a_day_is_refused" {
  command = plan
  variables {
    staging_expire_days = 1
  }
  expect_failures = [var.staging_expire_days]
}

run "an_archive_that_cools_too_soon_is_refused" {
  command = plan
  variables {
    archive_transition_days = 29
  }
  expect_failures = [var.archive_transition_days]
}

run "versions_that_vanish_at_once_are_refused" {
  command = plan
  variables {
    noncurrent_days = 0
  }
  expect_failures = [var.noncurrent_days]
}
