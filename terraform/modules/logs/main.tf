# Where logs end up, how long they stay, and what in them wakes somebody.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  groups = {
    application = "/fileflux/${var.environment}/application" # Fluent Bit: pods.
    host        = "/fileflux/${var.environment}/host"        # Fluent Bit: journals of hosts.
    cluster     = "/aws/eks/${var.cluster_name}/cluster"     # EKS: API server, audit, authenticator.
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:The environment says how long: dev keeps logs for two weeks, prod for a year.
  for_each = local.groups

  name              = each.value
  kms_key_id        = var.key_arn
  retention_in_days = var.retention_days

  tags = { Name = each.value }
}
