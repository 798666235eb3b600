# A spot instance is announced two minutes before it ends; maintenance hours before. EventBridge puts
# both into a queue, and Karpenter drains the node in time.

resource "aws_sqs_queue" "interruption" {
  name                      = "${var.name}-karpenter"
  message_retention_seconds = 300 # older news is about instances that are gone
  sqs_managed_sse_enabled   = true

  tags = { Name = "${var.name}-karpenter" }
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "EventsWrite"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.interruption.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    # The rules below only: EventBridge of another account could name the queue, too.
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for rule in aws_cloudwatch_event_rule.interruption : rule.arn]
    }
  }

  statement {
    sid    = "TlsOnly"
    effect = "Deny"
    # wildcard: a Deny is of everything.
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.interruption.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "interruption" {
  queue_url = aws_sqs_queue.interruption.url
  policy    = data.aws_iam_policy_document.queue.json
}

resource "aws_cloudwatch_event_rule" "interruption" {
  for_each = {
    health    = { source = "aws.health", detail = "AWS Health Event" }
    spot      = { source = "aws.ec2", detail = "EC2 Spot Instance Interruption Warning" }
    rebalance = { source = "aws.ec2", detail = "EC2 Instance Rebalance Recommendation" }
    state     = { source = "aws.ec2", detail = "EC2 Instance State-change Notification" }
  }

  name          = "${var.name}-karpenter-${each.key}"
  description   = "${each.value.detail}, for Karpenter of ${var.name}"
  event_pattern = jsonencode({ source = [each.value.source], "detail-type" = [each.value.detail] })

  tags = { Name = "${var.name}-karpenter-${each.key}" }
}

resource "aws_cloudwatch_event_target" "interruption" {
  for_each = aws_cloudwatch_event_rule.interruption

  rule      = each.value.name
  target_id = "karpenter"
  arn       = aws_sqs_queue.interruption.arn
}
