# What Karpenter needs of AWS: a role for its pods on Fargate (IRSA: no Pod Identity agent runs
# there), a role and instance profile for the nodes it makes, and a queue that tells it of
# interruptions two minutes ahead. Its chart and NodePools are in helm/karpenter.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_iam_policy_document" "trust_controller" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${var.oidc_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${var.oidc_issuer}:sub"
      values   = ["system:serviceaccount:karpenter:karpenter"]
    }
  }
}

resource "aws_iam_role" "controller" {
  name               = "${var.name}-karpenter"
  description        = "Karpenter's pods: makes and ends the instances it tagged"
  assume_role_policy = data.aws_iam_policy_document.trust_controller.json

  tags = { Name = "${var.name}-karpenter" }
}

resource "aws_iam_role_policy" "controller" {
  name   = "karpenter"
  role   = aws_iam_role.controller.id
  policy = data.aws_iam_policy_document.controller.json
}

data "aws_iam_policy_document" "trust_ec2" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

# Join the cluster, pull images, be reached by SSM: pods have identities of their own.
resource "aws_iam_role" "node" {
  name               = "${var.name}-stateless-node"
  description        = "Nodes that Karpenter makes for ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.trust_ec2.json

  tags = { Name = "${var.name}-stateless-node", Role = "stateless" }
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore"])

  role       = aws_iam_role.node.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.key}"
}

# Made here, so that Karpenter needs no right to make profiles and put roles into them.
resource "aws_iam_instance_profile" "node" {
  name = "${var.name}-stateless-node"
  role = aws_iam_role.node.name

  tags = { Name = "${var.name}-stateless-node" }
}

resource "aws_eks_access_entry" "node" {
  cluster_name  = var.cluster_name
  principal_arn = aws_iam_role.node.arn
  type          = "EC2_LINUX"

  tags = { Name = "${var.name}-stateless-node" }
}
