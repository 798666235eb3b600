# MSK takes users from secrets named AmazonMSK_*, in a form of its own. The password is the one that
# services read from fileflux/ENVIRONMENT/kafka: read and written in memory, so state holds neither.

ephemeral "aws_secretsmanager_secret_version" "services" {
  secret_id = var.kafka_secret_arn
}

locals {
  # What is no such JSON becomes a user without name, whom MSK refuses; a mock in tests is no JSON.
  services = try(
    { for name in ["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"] : name => jsondecode(ephemeral.aws_secretsmanager_secret_version.services.secret_string)[name] },
    { KAFKA_SASL_USERNAME = "", KAFKA_SASL_PASSWORD = "" },
  )
}

resource "aws_secretsmanager_secret" "scram" {
  #checkov:skip=CKV2_AWS_57:It follows the version number of fileflux/ENVIRONMENT/kafka, which services read at their start.
  name                    = "AmazonMSK_${var.name}"
  description             = "SCRAM user of ${var.name}, as MSK reads it"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.recovery_window_days

  tags = { Name = "AmazonMSK_${var.name}" }
}

resource "aws_secretsmanager_secret_version" "scram" {
  secret_id                = aws_secretsmanager_secret.scram.id
  secret_string_wo         = jsonencode({ username = local.services.KAFKA_SASL_USERNAME, password = local.services.KAFKA_SASL_PASSWORD })
  secret_string_wo_version = var.secret_version
}

data "aws_iam_policy_document" "scram" {
  statement {
    sid       = "KafkaReads"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.scram.arn]

    principals {
      type        = "Service"
      identifiers = ["kafka.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_secretsmanager_secret_policy" "scram" {
  secret_arn = aws_secretsmanager_secret.scram.arn
  policy     = data.aws_iam_policy_document.scram.json
}

resource "aws_msk_scram_secret_association" "this" {
  cluster_arn     = aws_msk_cluster.this.arn
  secret_arn_list = [aws_secretsmanager_secret.scram.arn]

  depends_on = [aws_secretsmanager_secret_version.scram, aws_secretsmanager_secret_policy.scram]
}
