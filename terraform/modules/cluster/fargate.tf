# Karpenter alone runs on Fargate: what makes nodes must not need a node. CoreDNS runs on the storage
# nodes (modules/addons), so Karpenter asks the VPC's resolver (dnsPolicy: Default in its values).

data "aws_iam_policy_document" "trust_fargate" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["eks-fargate-pods.amazonaws.com"]
    }

    # No other cluster's profile may borrow the role.
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${replace(aws_eks_cluster.this.arn, ":cluster/", ":fargateprofile/")}/*"]
    }
  }
}

resource "aws_iam_role" "fargate" {
  name               = "${var.name}-fargate"
  description        = "Pulls the image of Karpenter and registers its Fargate node"
  assume_role_policy = data.aws_iam_policy_document.trust_fargate.json

  tags = { Name = "${var.name}-fargate" }
}

resource "aws_iam_role_policy_attachment" "fargate" {
  role       = aws_iam_role.fargate.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonEKSFargatePodExecutionRolePolicy"
}

resource "aws_eks_fargate_profile" "karpenter" {
  cluster_name           = aws_eks_cluster.this.name
  fargate_profile_name   = "karpenter"
  pod_execution_role_arn = aws_iam_role.fargate.arn
  subnet_ids             = var.subnet_ids

  selector {
    namespace = "karpenter"
    labels    = { "app.kubernetes.io/name" = "karpenter" }
  }

  tags = { Name = "${var.name}-karpenter" }

  depends_on = [aws_iam_role_policy_attachment.fargate]
}
