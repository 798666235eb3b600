# Three things that metrics inside the cluster cannot tell: the cluster may be what is broken.

locals {
  metrics = {
    application_errors = {
      group     = "application"
      pattern   = "{ $.level = \"error\" || $.level = \"critical\" }"
      threshold = var.error_alarm_threshold
      says      = "Services of ${var.name} log errors. See the runbooks of the alerts that fire with it."
    }
    cluster_denied = {
      group     = "cluster"
      pattern   = "{ $.kind = \"Event\" && $.responseStatus.code = 403 && $.user.username = \"system:anonymous\" }"
      threshold = 1
      says      = "Somebody without a name asks the API server of ${var.name} and is refused."
    }
    host_pool_faults = {
      group     = "host"
      pattern   = "?DEGRADED ?FAULTED ?UNAVAIL"
      threshold = 1
      says      = "A host of ${var.name} speaks of a pool that is not whole. `zpool status` there tells more."
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.metrics

  name           = "${var.name}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.this[each.value.group].name
  pattern        = each.value.pattern

  metric_transformation {
    name          = each.key
    namespace     = "FileFlux/${var.environment}"
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.metrics

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.says
  namespace           = "FileFlux/${var.environment}"
  metric_name         = each.key
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  tags = { Name = "${var.name}-${each.key}" }
}

# No lines at all is not quiet: it is Fluent Bit that has stopped.
resource "aws_cloudwatch_metric_alarm" "silent" {
  alarm_name          = "${var.name}-application_silent"
  alarm_description   = "No log line of ${var.name} has arrived for 15 minutes. Look at Fluent Bit, then at the cluster."
  namespace           = "AWS/Logs"
  metric_name         = "IncomingLogEvents"
  dimensions          = { LogGroupName = aws_cloudwatch_log_group.this["application"].name }
  statistic           = "Sum"
  period              = 900
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  tags = { Name = "${var.name}-application_silent" }
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.key_arn

  tags = { Name = "${var.name}-alarms" }
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "AlarmsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.current.partition}:cloudwatch:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:alarm:${var.name}-*"]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = var.alarm_emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}
