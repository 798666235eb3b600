# Four keys, rotated, deleted slowly; administrators are people, never everybody.

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
}

variables {
  name = "fileflux-dev"
}

run "four_keys_are_rotated_and_deleted_slowly" {
  assert {
    condition     = toset(keys(aws_kms_key.this)) == toset(["cluster", "ebs", "logs", "secrets"])
    error_message = "a key for each kind of data"
  }
  assert {
    condition     = alltrue([for one in aws_kms_key.this : one.enable_key_rotation && one.rotation_period_in_days == 365])
    error_message = "rotated each year"
  }
  assert {
    condition     = alltrue([for one in aws_kms_key.this : one.deletion_window_in_days == 30])
    error_message = "thirty days to take a deletion back"
  }
  assert {
    condition     = alltrue([for name, one in aws_kms_alias.this : one.name == "alias/fileflux-dev-${name}"])
    error_message = "found by name"
  }
  assert {
    condition     = toset(keys(output.key_arns)) == toset(["cluster", "ebs", "logs", "secrets"])
    error_message = "all are given out"
  }
}

run "without_administrators_iam_decides" {
  assert {
    condition     = one(one(data.aws_iam_policy_document.administration.statement).principals).identifiers == toset(["arn:aws:iam::123456789012:root"])
    error_message = "the account decides"
  }
}

run "administrators_replace_the_account" {
  variables {
    administrator_arns = ["arn:aws:iam::123456789012:role/keys"]
  }
  assert {
    condition     = one(one(data.aws_iam_policy_document.administration.statement).principals).identifiers == toset(["arn:aws:iam::123456789012:role/keys"])
    error_message = "only they manage"
  }
}

run "everybody_as_administrator_is_refused" {
  command = plan
  variables {
    administrator_arns = ["*"]
  }
  expect_failures = [var.administrator_arns]
}

run "an_account_as_administrator_is_refused" {
  command = plan
  variables {
    administrator_arns = ["arn:aws:iam::123456789012:root"]
  }
  expect_failures = [var.administrator_arns]
}

run "a_hasty_deletion_is_refused" {
  command = plan
  variables {
    deletion_window_days = 1
  }
  expect_failures = [var.deletion_window_days]
}

run "rotation_each_week_is_refused" {
  command = plan
  variables {
    rotation_days = 7
  }
  expect_failures = [var.rotation_days]
}

run "a_name_that_aws_refuses_is_refused" {
  command = plan
  variables {
    name = "FileFlux dev"
  }
  expect_failures = [var.name]
}
