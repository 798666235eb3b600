# Karpenter's rights: it starts instances only with the cluster's tag, ends and changes only those
# that carry it, and hands them one role. After Karpenter's own published policy (v1), without the
# instance profiles, which modules/karpenter makes.

locals {
  ec2         = "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.name}"
  owned       = "kubernetes.io/cluster/${var.cluster_name}"
  made        = [for kind in ["fleet", "instance", "launch-template", "network-interface", "spot-instances-request", "volume"] : "${local.ec2}:*:${kind}/*"]
  ingredients = concat([for kind in ["image", "snapshot"] : "${local.ec2}::${kind}/*"], [for kind in ["security-group", "subnet"] : "${local.ec2}:*:${kind}/*"])
}

data "aws_iam_policy_document" "controller" {
  #checkov:skip=CKV_AWS_356:Reading EC2's catalogue and prices knows no resources; all that changes something is held by tags.
  statement {
    sid       = "UseIngredients"
    actions   = ["ec2:CreateFleet", "ec2:RunInstances"]
    resources = local.ingredients
  }

  statement {
    sid       = "UseItsLaunchTemplates"
    actions   = ["ec2:CreateFleet", "ec2:RunInstances"]
    resources = ["${local.ec2}:*:launch-template/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/${local.owned}"
      values   = ["owned"]
    }
  }

  statement {
    sid       = "MakeTagged"
    actions   = ["ec2:CreateFleet", "ec2:CreateLaunchTemplate", "ec2:RunInstances"]
    resources = local.made

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.owned}"
      values   = ["owned"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks:eks-cluster-name"
      values   = [var.cluster_name]
    }

    condition {
      test     = "StringLike"
      variable = "aws:RequestTag/karpenter.sh/nodepool"
      values   = ["*"]
    }
  }

  statement {
    sid       = "TagWhatItMakes"
    actions   = ["ec2:CreateTags"]
    resources = local.made

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.owned}"
      values   = ["owned"]
    }

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateFleet", "CreateLaunchTemplate", "RunInstances"]
    }
  }

  statement {
    sid       = "NameItsInstances"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.ec2}:*:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/${local.owned}"
      values   = ["owned"]
    }

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "aws:TagKeys"
      values   = ["Name", "eks:eks-cluster-name", "karpenter.sh/nodeclaim"]
    }
  }

  # A storage node carries no karpenter.sh/nodepool: Karpenter cannot end it.
  statement {
    sid       = "EndItsOwn"
    actions   = ["ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"]
    resources = ["${local.ec2}:*:instance/*", "${local.ec2}:*:launch-template/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/${local.owned}"
      values   = ["owned"]
    }

    condition {
      test     = "StringLike"
      variable = "aws:ResourceTag/karpenter.sh/nodepool"
      values   = ["*"]
    }
  }

  statement {
    sid = "ReadTheCatalogue"
    actions = [
      "ec2:DescribeCapacityReservations", "ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeInstanceStatus",
      "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstanceTypes", "ec2:DescribeLaunchTemplates",
      "ec2:DescribeSecurityGroups", "ec2:DescribeSpotPriceHistory", "ec2:DescribeSubnets",
    ]
    # wildcard: EC2's Describe actions know no resources.
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [data.aws_region.current.name]
    }
  }

  statement {
    sid     = "ReadPrices"
    actions = ["pricing:GetProducts"]
    # wildcard: the price list knows no resources.
    resources = ["*"]
  }

  statement {
    sid       = "ReadPublishedImages"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${data.aws_partition.current.partition}:ssm:${data.aws_region.current.name}::parameter/aws/service/*"]
  }

  statement {
    sid       = "HearOfInterruptions"
    actions   = ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
    resources = [aws_sqs_queue.interruption.arn]
  }

  statement {
    sid       = "HandOverTheNodeRole"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.node.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }

  statement {
    sid       = "ReadTheProfile"
    actions   = ["iam:GetInstanceProfile"]
    resources = [aws_iam_instance_profile.node.arn]
  }

  # Karpenter looks for profiles of node classes that are gone; it may look, and changes none.
  statement {
    sid     = "ListProfiles"
    actions = ["iam:ListInstanceProfiles"]
    # wildcard: IAM lists all or nothing.
    resources = ["*"]
  }

  statement {
    sid       = "FindTheCluster"
    actions   = ["eks:DescribeCluster"]
    resources = ["arn:${data.aws_partition.current.partition}:eks:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:cluster/${var.cluster_name}"]
  }

  statement {
    sid       = "EncryptDisks"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = [var.ebs_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${data.aws_region.current.name}.amazonaws.com"]
    }
  }

  statement {
    sid       = "LetDisksUseTheKey"
    actions   = ["kms:CreateGrant"]
    resources = [var.ebs_key_arn]

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}
