# One key for each kind of data, so that a right to one opens nothing else. In a key's policy
# "resources = *" means the key itself. The account's root as principal hands the decision to IAM
# policies, within the conditions; without such a statement not even an administrator decrypts.

data "aws_region" "current" {}
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  region    = data.aws_region.current.name
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  root      = "arn:${local.partition}:iam::${local.account}:root"
  use       = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]

  keys = {
    ebs = {
      description = "Volumes of hosts: roots, pools of storage nodes, claims of pods"
      policy      = data.aws_iam_policy_document.ebs.json
    }
    secrets = {
      description = "Entries of Secrets Manager"
      policy      = data.aws_iam_policy_document.secrets.json
    }
    logs = {
      description = "CloudWatch log groups and the alarms' topic"
      policy      = data.aws_iam_policy_document.logs.json
    }
    cluster = {
      description = "Envelope encryption of the cluster's Secrets in etcd"
      policy      = data.aws_iam_policy_document.cluster.json
    }
  }
}

resource "aws_kms_key" "this" {
  for_each = local.keys

  description             = "${var.name}: ${each.value.description}"
  policy                  = each.value.policy
  enable_key_rotation     = true
  rotation_period_in_days = var.rotation_days
  deletion_window_in_days = var.deletion_window_days

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_kms_alias" "this" {
  for_each = local.keys

  name          = "alias/${var.name}-${each.key}"
  target_key_id = aws_kms_key.this[each.key].key_id
}
