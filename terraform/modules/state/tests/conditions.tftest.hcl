# A bucket that keeps versions, is encrypted, and belongs to nobody else.

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
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a", key_id = "11111111-2222-3333-4444-55555555555a" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::fileflux-state-x", id = "fileflux-state-x" }
  }
}

variables {
  name        = "fileflux"
  bucket_name = "fileflux-state-123456789012-eu-central-1"
}

run "the_bucket_keeps_versions_and_is_closed" {
  assert {
    condition     = one(aws_s3_bucket_versioning.state.versioning_configuration).status == "Enabled"
    error_message = "every state is kept"
  }
  assert {
    condition     = alltrue([aws_s3_bucket_public_access_block.state.block_public_acls, aws_s3_bucket_public_access_block.state.block_public_policy, aws_s3_bucket_public_access_block.state.ignore_public_acls, aws_s3_bucket_public_access_block.state.restrict_public_buckets])
    error_message = "closed on all four sides"
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "encrypted by its key"
  }
  assert {
    condition     = !aws_s3_bucket.state.force_destroy
    error_message = "not destroyed with states in it"
  }
  assert {
    condition     = aws_kms_key.state.enable_key_rotation
    error_message = "rotated"
  }
  assert {
    condition     = one(data.aws_iam_policy_document.bucket.statement).effect == "Deny" && one(one(data.aws_iam_policy_document.bucket.statement).condition).variable == "aws:SecureTransport"
    error_message = "TLS only"
  }
}

run "a_bucket_name_that_s3_refuses_is_refused" {
  command = plan
  variables {
    bucket_name = "FileFlux_State"
  }
  expect_failures = [var.bucket_name]
}

run "forgetting_states_at_once_is_refused" {
  command = plan
  variables {
    noncurrent_days = 1
  }
  expect_failures = [var.noncurrent_days]
}

run "a_name_that_aws_refuses_is_refused" {
  command = plan
  variables {
    name = "FileFlux dev"
  }
  expect_failures = [var.name]
}
