# The way in for people: a small host without inbound ports, reached by SSM. `ssh_cidr` adds SSH with
# one key from one range, for Ansible's ProxyJump where SSM's plugin cannot be had.

data "aws_partition" "current" {}

data "aws_ssm_parameter" "ubuntu" {
  name = "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"
}

locals {
  ssh  = var.ssh_cidr != ""
  tags = { Project = "fileflux", Environment = var.environment, Role = "bastion" }
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

# SSM's agent, nothing else: who tunnels through it brings their own identity.
resource "aws_iam_role" "this" {
  name               = "${var.name}-bastion"
  description        = "The bastion of ${var.name}: SSM's agent"
  assume_role_policy = data.aws_iam_policy_document.trust_ec2.json

  tags = merge(local.tags, { Name = "${var.name}-bastion" })
}

resource "aws_iam_role_policy_attachment" "ssm" {
  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "this" {
  name = "${var.name}-bastion"
  role = aws_iam_role.this.name

  tags = merge(local.tags, { Name = "${var.name}-bastion" })
}

resource "aws_security_group" "this" {
  name        = "${var.name}-bastion"
  description = "The bastion of ${var.name}"
  vpc_id      = var.vpc_id

  tags = merge(local.tags, { Name = "${var.name}-bastion" })
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  count = local.ssh ? 1 : 0

  security_group_id = aws_security_group.this.id
  description       = "SSH from the one range"
  cidr_ipv4         = var.ssh_cidr
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22

  tags = merge(local.tags, { Name = "${var.name}-bastion-ssh" })
}

# The Kubernetes API, SSM's endpoints, Ubuntu's security updates.
resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "HTTPS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443

  tags = merge(local.tags, { Name = "${var.name}-bastion-https" })
}

resource "aws_vpc_security_group_egress_rule" "http" {
  security_group_id = aws_security_group.this.id
  description       = "Ubuntu's package mirror speaks HTTP; packages are signed"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80

  tags = merge(local.tags, { Name = "${var.name}-bastion-http" })
}

resource "aws_vpc_security_group_egress_rule" "ssh" {
  count = local.ssh ? 1 : 0

  security_group_id = aws_security_group.this.id
  description       = "SSH to storage nodes"
  cidr_ipv4         = var.vpc_cidr
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22

  tags = merge(local.tags, { Name = "${var.name}-bastion-to-nodes" })
}

resource "aws_key_pair" "this" {
  count = local.ssh ? 1 : 0

  key_name   = "${var.name}-bastion"
  public_key = var.ssh_public_key

  tags = merge(local.tags, { Name = "${var.name}-bastion" })
}

resource "aws_instance" "this" {
  #checkov:skip=CKV_AWS_88:It has a public address only if ssh_cidr names who may use it.
  ami                         = var.image_id == "" ? nonsensitive(data.aws_ssm_parameter.ubuntu.value) : var.image_id
  instance_type               = var.instance_type
  subnet_id                   = local.ssh ? var.public_subnet_id : var.private_subnet_id
  associate_public_ip_address = local.ssh
  vpc_security_group_ids      = [aws_security_group.this.id]
  iam_instance_profile        = aws_iam_instance_profile.this.name
  key_name                    = local.ssh ? aws_key_pair.this[0].key_name : null
  ebs_optimized               = true
  monitoring                  = true

  # Canonical's images let no password in; this says so on any other image, too.
  user_data = <<-EOT
    #cloud-config
    ssh_pwauth: false
    disable_root: true
    package_update: true
    packages: [unattended-upgrades]
  EOT

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 10
    encrypted   = true
    kms_key_id  = var.ebs_key_arn

    tags = merge(local.tags, { Name = "${var.name}-bastion-root" })
  }

  tags = merge(local.tags, { Name = "${var.name}-bastion" })

  lifecycle {
    # A new Ubuntu every few weeks is no reason to cut people off; replace it when it suits.
    ignore_changes = [ami]

    precondition {
      condition     = !local.ssh || startswith(var.ssh_public_key, "ssh-ed25519 ") || startswith(var.ssh_public_key, "ssh-rsa ")
      error_message = "With ssh_cidr, ssh_public_key must be the text of an OpenSSH public key (ssh-ed25519 AAAA...)."
    }
  }

  depends_on = [aws_iam_role_policy_attachment.ssm]
}
