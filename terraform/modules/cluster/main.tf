# The Kubernetes API: private unless ranges are named, its Secrets encrypted by our key, entered by
# IAM access entries. Nobody is an administrator because they made it.

data "aws_partition" "current" {}

data "aws_iam_policy_document" "trust_eks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["eks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "cluster" {
  name               = "${var.name}-cluster"
  description        = "What the control plane of ${var.name} does in this account"
  assume_role_policy = data.aws_iam_policy_document.trust_eks.json

  tags = { Name = "${var.name}-cluster" }
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonEKSClusterPolicy"
}

data "aws_iam_policy_document" "envelope" {
  statement {
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"]
    resources = [var.cluster_key_arn]
  }
}

resource "aws_iam_role_policy" "envelope" {
  name   = "envelope-encryption"
  role   = aws_iam_role.cluster.id
  policy = data.aws_iam_policy_document.envelope.json
}

resource "aws_eks_cluster" "this" {
  #checkov:skip=CKV_AWS_38:Public access is off unless ranges are listed, and the variable refuses 0.0.0.0/0.
  #checkov:skip=CKV_AWS_39:Public access is off unless ranges are listed in public_access_cidrs.
  name                          = var.name
  version                       = var.kubernetes_version
  role_arn                      = aws_iam_role.cluster.arn
  enabled_cluster_log_types     = var.enabled_log_types
  bootstrap_self_managed_addons = false # all of them are add-ons here, with versions that are known

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = var.cluster_key_arn
    }
  }

  kubernetes_network_config {
    service_ipv4_cidr = var.service_cidr
  }

  # At the end of standard support EKS upgrades by itself instead of billing six times as much.
  upgrade_policy {
    support_type = "STANDARD"
  }

  vpc_config {
    subnet_ids              = var.subnet_ids
    endpoint_private_access = true
    endpoint_public_access  = length(var.public_access_cidrs) > 0
    public_access_cidrs     = length(var.public_access_cidrs) > 0 ? var.public_access_cidrs : null
  }

  tags = { Name = var.name }

  lifecycle {
    # It also makes the group come first, else EKS would make one without key and retention.
    precondition {
      condition     = var.log_group_name == "/aws/eks/${var.name}/cluster"
      error_message = "EKS writes to /aws/eks/NAME/cluster and nowhere else: log_group_name must be that group."
    }
  }

  # Deleted after the cluster: it needs them to take its network interfaces away.
  depends_on = [aws_iam_role_policy_attachment.cluster, aws_iam_role_policy.envelope]
}

# People come through the bastion's tunnel. Nodes and Fargate are in this group already.
resource "aws_vpc_security_group_ingress_rule" "bastion" {
  count = var.bastion_may_enter ? 1 : 0

  security_group_id            = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
  referenced_security_group_id = var.bastion_security_group_id
  description                  = "Kubernetes API for people, through the bastion"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443

  tags = { Name = "${var.name}-api-from-bastion" }
}

# Who a service account is, for those that cannot have Pod Identity: on Fargate there is no agent.
resource "aws_iam_openid_connect_provider" "this" {
  url            = aws_eks_cluster.this.identity[0].oidc[0].issuer
  client_id_list = ["sts.amazonaws.com"]

  tags = { Name = var.name }
}
