# Who may enter. Nodes have entries in the modules that make their roles, Fargate's is made by EKS.

resource "aws_eks_access_entry" "administrator" {
  for_each = var.administrator_arns

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value

  tags = { Name = "${var.name}-administrator" }
}

resource "aws_eks_access_policy_association" "administrator" {
  for_each = var.administrator_arns

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.administrator[each.value].principal_arn
  policy_arn    = "arn:${data.aws_partition.current.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

resource "aws_eks_access_entry" "viewer" {
  for_each = var.viewer_arns

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value

  tags = { Name = "${var.name}-viewer" }
}

# AmazonEKSViewPolicy reads no Secrets.
resource "aws_eks_access_policy_association" "viewer" {
  for_each = var.viewer_arns

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.viewer[each.value].principal_arn
  policy_arn    = "arn:${data.aws_partition.current.partition}:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"

  access_scope {
    type = "cluster"
  }
}
