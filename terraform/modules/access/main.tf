# Who a pod is to AWS. Each workload has a role of its own by EKS Pod Identity, assumed only by its
# service account in its namespace of this cluster. A node's role reads no secret and no bucket.

data "aws_region" "current" {}

locals {
  # Component to the entries of Secrets Manager that it reads: what docs/reference/settings.md calls
  # a secret of that service, and no more.
  component_secrets = {
    ingest       = ["database", "kafka", "keys", "root"]
    placement    = ["database", "kafka"]
    materializer = ["database", "kafka"]
    sequencer    = ["audit-key", "database", "kafka"]
    archiver     = ["database", "kafka"]
    webhooks     = ["database", "kafka", "keys"]
    storage-node = ["kafka", "keys"]
    migrate      = ["database"]
  }

  # Component to the buckets it uses, and how: staged bundles are deleted when they settled, the
  # archive is never. The sequencer archives unless an archiver does.
  component_buckets = {
    ingest    = { staging = "delete", archive = "read" }
    sequencer = { archive = "write" }
    archiver  = { archive = "write" }
  }

  reading = ["s3:GetObject"]
  writing = concat(local.reading, ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"])
  modes   = { read = local.reading, write = local.writing, delete = concat(local.writing, ["s3:DeleteObject"]) }

  # Service account to its namespace and what it may do.
  workloads = merge(
    { for component, entries in local.component_secrets : "fileflux-${component}" => {
      namespace = "fileflux"
      secrets   = [for entry in entries : var.secret_arns[entry]]
      buckets   = lookup(local.component_buckets, component, {})
      logs      = false
    } },
    {
      cockroachdb  = { namespace = "fileflux", secrets = [], buckets = { backups = "write" }, logs = false }
      fluent-bit   = { namespace = "logging", secrets = [], buckets = {}, logs = true }
      external-dns = { namespace = "external-dns", secrets = [var.cloudflare_secret_arn], buckets = {}, logs = false }
    },
  )
}

data "aws_iam_policy_document" "trust" {
  for_each = local.workloads

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
      values   = [each.value.namespace]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-service-account"
      values   = [each.key]
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.workloads

  name               = "${var.name}-${each.key}"
  description        = "Pods of the service account ${each.value.namespace}/${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_eks_pod_identity_association" "this" {
  for_each = local.workloads

  cluster_name    = var.cluster_name
  namespace       = each.value.namespace
  service_account = each.key
  role_arn        = aws_iam_role.this[each.key].arn

  tags = { Name = "${var.name}-${each.key}" }

  # A pod that starts with half a policy fails; the policy is there before the identity.
  depends_on = [aws_iam_role_policy.this]
}

resource "aws_iam_role_policy" "this" {
  for_each = local.workloads

  name   = "its-own"
  role   = aws_iam_role.this[each.key].id
  policy = data.aws_iam_policy_document.this[each.key].json
}
