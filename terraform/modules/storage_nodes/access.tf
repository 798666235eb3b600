# Who a storage node is: a worker that joins the cluster, pulls images and is reached by SSM. Pods on
# it have identities of their own, and reach neither this role nor its credentials.

data "aws_partition" "current" {}

data "aws_iam_policy_document" "trust_ec2" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "node" {
  name               = "${var.name}-storage-node"
  description        = "Storage nodes of ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.trust_ec2.json

  tags = merge(local.tags, { Name = "${var.name}-storage-node" })
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore"])

  role       = aws_iam_role.node.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.key}"
}

resource "aws_iam_instance_profile" "node" {
  name = "${var.name}-storage-node"
  role = aws_iam_role.node.name

  tags = merge(local.tags, { Name = "${var.name}-storage-node" })
}

resource "aws_eks_access_entry" "node" {
  cluster_name  = var.cluster_name
  principal_arn = aws_iam_role.node.arn
  type          = "EC2_LINUX"

  tags = merge(local.tags, { Name = "${var.name}-storage-node" })
}

# Only where the bastion has SSH; otherwise people and Ansible come by SSM and no port is open.
resource "aws_security_group" "ssh" {
  count = var.ssh_from_bastion ? 1 : 0

  name        = "${var.name}-storage-ssh"
  description = "SSH from the bastion to storage nodes"
  vpc_id      = var.vpc_id

  tags = merge(local.tags, { Name = "${var.name}-storage-ssh" })
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  #checkov:skip=CKV_AWS_24:The source is the bastion's security group, not a range; the check reads none as all.
  count = var.ssh_from_bastion ? 1 : 0

  security_group_id            = aws_security_group.ssh[0].id
  referenced_security_group_id = var.bastion_security_group_id
  description                  = "Ansible through the bastion (ProxyJump)"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22

  tags = merge(local.tags, { Name = "${var.name}-storage-ssh" })
}
