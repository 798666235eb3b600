# Who may do what with which key.

data "aws_iam_policy_document" "administration" {
  #checkov:skip=CKV_AWS_111:In a key's policy the resource is the key itself, whatever is written.
  #checkov:skip=CKV_AWS_356:In a key's policy the resource is the key itself, whatever is written.
  #checkov:skip=CKV_AWS_109:In a key's policy the resource is the key itself, whatever is written. Its administrators manage permissions, and cannot decrypt.
  statement {
    sid = "ManageButNotUse"
    actions = [
      "kms:CancelKeyDeletion",
      "kms:CreateAlias",
      "kms:DeleteAlias",
      "kms:DescribeKey",
      "kms:DisableKey",
      "kms:DisableKeyRotation",
      "kms:EnableKey",
      "kms:EnableKeyRotation",
      "kms:GetKeyPolicy",
      "kms:GetKeyRotationStatus",
      "kms:ListGrants",
      "kms:ListKeyPolicies",
      "kms:ListKeyRotations",
      "kms:ListResourceTags",
      "kms:PutKeyPolicy",
      "kms:RevokeGrant",
      "kms:RotateKeyOnDemand",
      "kms:ScheduleKeyDeletion",
      "kms:TagResource",
      "kms:UntagResource",
      "kms:UpdateAlias",
      "kms:UpdateKeyDescription",
    ]
    # wildcard: in a key's policy this is the key itself.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = length(var.administrator_arns) == 0 ? [local.root] : var.administrator_arns
    }
  }
}

data "aws_iam_policy_document" "ebs" {
  source_policy_documents = [data.aws_iam_policy_document.administration.json]

  statement {
    sid     = "VolumesThroughEc2"
    actions = local.use
    # wildcard: in a key's policy this is the key itself.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [local.root]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${local.region}.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [local.account]
    }
  }

  # EC2 keeps a grant for as long as a volume is attached.
  statement {
    sid     = "GrantsForEc2Only"
    actions = ["kms:CreateGrant"]
    # wildcard: in a key's policy this is the key itself.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [local.root]
    }

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${local.region}.amazonaws.com"]
    }
  }

  # Auto Scaling and Spot start hosts by roles of their own, which no IAM policy of ours reaches. A
  # condition and not a principal: a key's policy refuses principals that do not exist yet.
  dynamic "statement" {
    for_each = { LaunchUse = local.use, LaunchGrants = ["kms:CreateGrant"] }

    content {
      sid     = statement.key
      actions = statement.value
      # wildcard: in a key's policy this is the key itself.
      resources = ["*"]

      principals {
        type        = "AWS"
        identifiers = ["*"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:PrincipalArn"
        values   = [for one in ["autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", "spot.amazonaws.com/AWSServiceRoleForEC2Spot"] : "arn:${local.partition}:iam::${local.account}:role/aws-service-role/${one}"]
      }

      dynamic "condition" {
        for_each = statement.key == "LaunchGrants" ? ["true"] : []

        content {
          test     = "Bool"
          variable = "kms:GrantIsForAWSResource"
          values   = [condition.value]
        }
      }
    }
  }
}

data "aws_iam_policy_document" "secrets" {
  source_policy_documents = [data.aws_iam_policy_document.administration.json]

  statement {
    sid     = "SecretsThroughSecretsManager"
    actions = local.use
    # wildcard: in a key's policy this is the key itself.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [local.root]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${local.region}.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "logs" {
  source_policy_documents = [data.aws_iam_policy_document.administration.json]

  statement {
    sid     = "LogGroupsOfThisAccount"
    actions = local.use
    # wildcard: in a key's policy this is the key itself.
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:*"]
    }
  }

  # An alarm whose topic is encrypted is silent unless CloudWatch may use the key.
  statement {
    sid     = "AlarmsOfThisAccount"
    actions = ["kms:Decrypt", "kms:GenerateDataKey"]
    # wildcard: in a key's policy this is the key itself.
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "cluster" {
  source_policy_documents = [data.aws_iam_policy_document.administration.json]

  statement {
    sid     = "RolesOfThisAccount"
    actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"]
    # wildcard: in a key's policy this is the key itself.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [local.root]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [local.account]
    }
  }

  # EKS takes a grant in the name of whoever creates the cluster.
  statement {
    sid     = "GrantsForAwsServicesOnly"
    actions = ["kms:CreateGrant"]
    # wildcard: in a key's policy this is the key itself.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [local.root]
    }

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}
