# Entries, their versions, and the master key that is not exchanged by a slip.

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
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x", id = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x" }
  }
}

variables {
  environment = "dev"
  key_arn     = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
}

run "five_entries_of_which_four_are_generated" {
  assert {
    condition     = toset(values(output.secret_names)) == toset(["fileflux/dev/audit-key", "fileflux/dev/database", "fileflux/dev/kafka", "fileflux/dev/keys", "fileflux/dev/root"])
    error_message = "the names that the chart reads"
  }
  assert {
    condition     = alltrue([for one in aws_secretsmanager_secret.this : one.kms_key_id == "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a" && one.recovery_window_in_days == 30])
    error_message = "encrypted, and back for 30 days"
  }
  assert {
    condition     = aws_secretsmanager_secret_version.keys.secret_string == null
    error_message = "no value in the state"
  }
  assert {
    condition     = aws_secretsmanager_secret_version.database.secret_string_wo_version == 1
    error_message = "the first version"
  }
}

run "a_raised_number_writes_that_entry_again" {
  variables {
    secret_versions = { database = 2 }
  }
  assert {
    condition     = aws_secretsmanager_secret_version.database.secret_string_wo_version == 2
    error_message = "the database's password is new"
  }
  assert {
    condition     = aws_secretsmanager_secret_version.keys.secret_string_wo_version == 1
    error_message = "the master key is not"
  }
}

run "the_master_key_changes_when_it_is_meant" {
  variables {
    secret_versions       = { keys = 2 }
    master_key_may_change = true
  }
  assert {
    condition     = aws_secretsmanager_secret_version.keys.secret_string_wo_version == 2
    error_message = "it was said twice"
  }
}

run "the_master_key_does_not_change_by_a_slip" {
  command = plan
  variables {
    secret_versions = { keys = 2 }
  }
  expect_failures = [var.secret_versions]
}

run "version_zero_is_refused" {
  command = plan
  variables {
    secret_versions = { root = 0 }
  }
  expect_failures = [var.secret_versions]
}

run "a_database_without_tls_is_refused" {
  command = plan
  variables {
    database_options = "sslmode=require"
  }
  expect_failures = [var.database_options]
}

run "a_host_with_a_password_in_it_is_refused" {
  command = plan
  variables {
    database_host = "user:secret@host"
  }
  expect_failures = [var.database_host]
}

run "a_port_that_is_none_is_refused" {
  command = plan
  variables {
    database_port = 70000
  }
  expect_failures = [var.database_port]
}

run "a_database_that_needs_quotes_is_refused" {
  command = plan
  variables {
    database_name = "file flux"
  }
  expect_failures = [var.database_name]
}

run "a_user_that_needs_quotes_is_refused" {
  command = plan
  variables {
    database_user = "o'neill"
  }
  expect_failures = [var.database_user]
}

run "a_kafka_user_that_strimzi_refuses_is_refused" {
  command = plan
  variables {
    kafka_username = "File_Flux"
  }
  expect_failures = [var.kafka_username]
}

run "a_short_recovery_is_refused" {
  command = plan
  variables {
    recovery_window_days = 3
  }
  expect_failures = [var.recovery_window_days]
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
    key_arn = "alias/aws/secretsmanager"
  }
  expect_failures = [var.key_arn]
}
