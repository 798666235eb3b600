# The add-ons whose pods need a node. At the first apply the only nodes are the storage nodes, so
# CoreDNS and the EBS controller tolerate their taint: on-demand hosts in three zones that nobody
# consolidates are where the cluster's DNS should be anyway.

locals {
  on_storage_nodes = [{
    key      = "fileflux.io/storage"
    operator = "Equal"
    value    = "zfs"
    effect   = "NoSchedule"
  }]

  one_a_zone = [{
    maxSkew           = 1
    topologyKey       = "topology.kubernetes.io/zone"
    whenUnsatisfiable = "ScheduleAnyway"
    labelSelector     = { matchLabels = { "k8s-app" = "kube-dns" } }
  }]

  addons = {
    "coredns" = {
      replicaCount              = 3
      tolerations               = local.on_storage_nodes
      topologySpreadConstraints = local.one_a_zone
    }
    "aws-ebs-csi-driver" = {
      controller = { tolerations = local.on_storage_nodes }
      node       = { tolerateAllTaints = true }
    }
    # The chart's pods read their environment from Secrets that the driver keeps in step.
    "aws-secrets-store-csi-driver-provider" = {
      "secrets-store-csi-driver" = {
        enableSecretRotation = true
        rotationPollInterval = "3600s"
        syncSecret           = { enabled = true }
      }
    }
  }
}

data "aws_eks_addon_version" "this" {
  for_each = local.addons

  addon_name         = each.key
  kubernetes_version = var.kubernetes_version
}

resource "aws_eks_addon" "this" {
  for_each = local.addons

  cluster_name                = var.cluster_name
  addon_name                  = each.key
  addon_version               = lookup(var.addon_versions, each.key, data.aws_eks_addon_version.this[each.key].version)
  configuration_values        = jsonencode(each.value)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  tags = { Name = "${var.name}-${each.key}" }

  lifecycle {
    precondition {
      condition     = length(var.node_ids) > 0
      error_message = "An add-on with Deployments never becomes active without a node: node_ids is empty."
    }
  }

  depends_on = [aws_eks_pod_identity_association.ebs]
}

data "aws_partition" "current" {}

data "aws_iam_policy_document" "trust_ebs" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks-cluster-arn"
      values   = [var.cluster_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-namespace"
      values   = ["kube-system"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-service-account"
      values   = ["ebs-csi-controller-sa"]
    }
  }
}

resource "aws_iam_role" "ebs" {
  name               = "${var.name}-ebs-csi"
  description        = "Makes and attaches the volumes of claims in ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.trust_ebs.json

  tags = { Name = "${var.name}-ebs-csi" }
}

# It touches only volumes with the driver's tag: never the pools' disks.
resource "aws_iam_role_policy_attachment" "ebs" {
  role       = aws_iam_role.ebs.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
}

data "aws_iam_policy_document" "ebs_key" {
  statement {
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = [var.ebs_key_arn]
  }

  statement {
    actions   = ["kms:CreateGrant"]
    resources = [var.ebs_key_arn]

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}

resource "aws_iam_role_policy" "ebs_key" {
  name   = "ebs-key"
  role   = aws_iam_role.ebs.id
  policy = data.aws_iam_policy_document.ebs_key.json
}

resource "aws_eks_pod_identity_association" "ebs" {
  cluster_name    = var.cluster_name
  namespace       = "kube-system"
  service_account = "ebs-csi-controller-sa"
  role_arn        = aws_iam_role.ebs.arn

  tags = { Name = "${var.name}-ebs-csi" }

  depends_on = [aws_iam_role_policy_attachment.ebs, aws_iam_role_policy.ebs_key]
}
