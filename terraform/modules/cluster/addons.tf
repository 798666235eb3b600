# The add-ons that a node needs to become ready. They are DaemonSets: without nodes they are active
# at once. Those that need a node to run on are in modules/addons.

locals {
  daemon_addons = {
    # Network policies are enforced by the CNI itself: the chart's default-deny would be ink without.
    "vpc-cni"                = jsonencode({ enableNetworkPolicy = "true" })
    "kube-proxy"             = null
    "eks-pod-identity-agent" = null
  }
}

data "aws_eks_addon_version" "daemon" {
  for_each = local.daemon_addons

  addon_name         = each.key
  kubernetes_version = aws_eks_cluster.this.version
}

resource "aws_eks_addon" "daemon" {
  for_each = local.daemon_addons

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = lookup(var.addon_versions, each.key, data.aws_eks_addon_version.daemon[each.key].version)
  configuration_values        = each.value
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  tags = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_eks_pod_identity_association.cni]
}

data "aws_iam_policy_document" "trust_cni" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks-cluster-arn"
      values   = [aws_eks_cluster.this.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-namespace"
      values   = ["kube-system"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-service-account"
      values   = ["aws-node"]
    }
  }
}

# Network interfaces are the CNI's right, not that of every pod on a node.
resource "aws_iam_role" "cni" {
  name               = "${var.name}-vpc-cni"
  description        = "Gives pods of ${var.name} addresses of the VPC"
  assume_role_policy = data.aws_iam_policy_document.trust_cni.json

  tags = { Name = "${var.name}-vpc-cni" }
}

resource "aws_iam_role_policy_attachment" "cni" {
  role       = aws_iam_role.cni.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonEKS_CNI_Policy"
}

resource "aws_eks_pod_identity_association" "cni" {
  cluster_name    = aws_eks_cluster.this.name
  namespace       = "kube-system"
  service_account = "aws-node"
  role_arn        = aws_iam_role.cni.arn

  tags = { Name = "${var.name}-vpc-cni" }

  depends_on = [aws_iam_role_policy_attachment.cni]
}
