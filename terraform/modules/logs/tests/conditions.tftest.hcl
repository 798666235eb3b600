# Groups, what in them wakes somebody, and the encrypted way there.

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
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:x" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:x" }
  }
}

variables {
  name         = "fileflux-dev"
  environment  = "dev"
  cluster_name = "fileflux-dev"
  key_arn      = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
}

run "groups_have_the_names_that_their_writers_expect" {
  assert {
    condition     = output.group_names == { application = "/fileflux/dev/application", cluster = "/aws/eks/fileflux-dev/cluster", host = "/fileflux/dev/host" }
    error_message = "Fluent Bit and EKS write there"
  }
  assert {
    condition     = alltrue([for one in aws_cloudwatch_log_group.this : one.kms_key_id == "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a" && one.retention_in_days == 365])
    error_message = "encrypted, kept a year"
  }
  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
    error_message = "the topic too"
  }
  assert {
    condition     = length(aws_sns_topic_subscription.alarms) == 0
    error_message = "nobody, unless named"
  }
}

run "alarms_watch_the_metrics_that_filters_make" {
  assert {
    condition     = alltrue([for name, one in aws_cloudwatch_metric_alarm.this : one.metric_name == one(aws_cloudwatch_log_metric_filter.this[name].metric_transformation).name && one.namespace == one(aws_cloudwatch_log_metric_filter.this[name].metric_transformation).namespace])
    error_message = "an alarm on a metric that nobody makes is silent for ever"
  }
  assert {
    condition     = alltrue([for one in aws_cloudwatch_metric_alarm.this : one.alarm_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "all go to the topic"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.silent.treat_missing_data == "breaching"
    error_message = "silence is an alarm"
  }
}

run "people_are_written_to" {
  variables {
    alarm_emails = ["a@example.com", "b@example.com"]
  }
  assert {
    condition     = keys(aws_sns_topic_subscription.alarms) == ["a@example.com", "b@example.com"]
    error_message = "both"
  }
}

run "an_address_that_is_none_is_refused" {
  command = plan
  variables {
    alarm_emails = ["nobody"]
  }
  expect_failures = [var.alarm_emails]
}

run "a_retention_that_cloudwatch_lacks_is_refused" {
  command = plan
  variables {
    retention_days = 42
  }
  expect_failures = [var.retention_days]
}

run "an_alarm_that_always_rings_is_refused" {
  command = plan
  variables {
    error_alarm_threshold = 0
  }
  expect_failures = [var.error_alarm_threshold]
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

run "a_cluster_without_a_name_is_refused" {
  command = plan
  variables {
    cluster_name = ""
  }
  expect_failures = [var.cluster_name]
}

run "a_key_that_is_none_is_refused" {
  command = plan
  variables {
    key_arn = "alias/logs"
  }
  expect_failures = [var.key_arn]
}
