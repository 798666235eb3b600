# What each role may do: its secrets, its buckets, its log groups.

data "aws_iam_policy_document" "this" {
  for_each = local.workloads

  dynamic "statement" {
    for_each = length(each.value.secrets) > 0 ? [each.value.secrets] : []

    content {
      sid       = "ReadItsSecrets"
      actions   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }

  # The key opens only these entries, and only through Secrets Manager.
  dynamic "statement" {
    for_each = length(each.value.secrets) > 0 ? [each.value.secrets] : []

    content {
      sid       = "OpenItsSecrets"
      actions   = ["kms:Decrypt"]
      resources = [var.secrets_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${data.aws_region.current.name}.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "kms:EncryptionContext:SecretARN"
        values   = statement.value
      }
    }
  }

  dynamic "statement" {
    for_each = each.value.buckets

    content {
      sid       = "List${title(statement.key)}"
      actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
      resources = [var.bucket_arns[statement.key]]
    }
  }

  dynamic "statement" {
    for_each = each.value.buckets

    content {
      sid       = "Use${title(statement.key)}"
      actions   = local.modes[statement.value]
      resources = ["${var.bucket_arns[statement.key]}/*"]
    }
  }

  dynamic "statement" {
    for_each = length(each.value.buckets) > 0 ? [var.buckets_key_arn] : []

    content {
      sid       = "EncryptObjects"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${data.aws_region.current.name}.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = each.value.logs ? [[for purpose in ["application", "host"] : var.log_group_arns[purpose]]] : []

    content {
      sid       = "WriteLogs"
      actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      resources = flatten([for arn in statement.value : [trimsuffix(arn, ":*"), "${trimsuffix(arn, ":*")}:log-stream:*"]])
    }
  }
}
