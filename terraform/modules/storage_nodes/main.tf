# Hosts with ZFS pools, as workers that join the cluster by themselves. Plain instances, not a group:
# a pool has one home. A group that replaces an instance would start an empty one in its place, and
# the pool's disks would lie detached. A host that fails is recovered by EC2 as the same instance.

locals {
  # "eu-central-1a-0" to its zone: two nodes of a zone keep their names when a third comes.
  nodes = merge([for zone in keys(var.subnets_by_zone) : {
    for index in range(var.nodes_per_zone) : "${zone}-${index}" => { zone = zone, subnet = var.subnets_by_zone[zone] }
  }]...)

  disks = merge([for key, node in local.nodes : {
    for index in range(var.data_volumes.count) : "${key}/${index}" => { node = key, zone = node.zone, index = index }
  }]...)

  tags = { Project = "fileflux", Environment = var.environment, Role = "storage-node" }
}

resource "aws_instance" "node" {
  for_each = local.nodes

  ami                     = var.image_id
  instance_type           = var.instance_type
  subnet_id               = each.value.subnet
  vpc_security_group_ids  = compact([var.cluster_security_group_id, var.ssh_from_bastion ? aws_security_group.ssh[0].id : null])
  iam_instance_profile    = aws_iam_instance_profile.node.name
  ebs_optimized           = true
  monitoring              = true
  disable_api_termination = var.protected

  user_data_base64 = base64encode(templatefile("${path.module}/user_data.sh.tftpl", {
    cluster_name = var.cluster_name
    endpoint     = var.cluster_endpoint
    authority    = var.certificate_authority_data
    dns          = var.cluster_dns_ip
    disks        = var.data_volumes.count
  }))

  # One hop: a pod's packet dies on the way to the host's credentials.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  # A broken host is moved to another as the same instance: same disks, same address.
  maintenance_options {
    auto_recovery = "default"
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = var.root_volume_gib
    encrypted             = true
    kms_key_id            = var.ebs_key_arn
    delete_on_termination = true

    tags = merge(local.tags, { Name = "${var.name}-storage-${each.key}-root" })
  }

  tags = merge(local.tags, {
    Name                                        = "${var.name}-storage-${each.key}"
    "kubernetes.io/cluster/${var.cluster_name}" = "owned"
  })

  lifecycle {
    # A new image must not replace every node at once. One node at a time, drained:
    # `tofu apply -replace='module.fileflux.module.storage_nodes.aws_instance.node["ZONE-INDEX"]'`.
    ignore_changes = [ami, user_data_base64]
  }

  depends_on = [aws_eks_access_entry.node, aws_iam_role_policy_attachment.node]
}

# Outlives its instance: the pool is on it.
resource "aws_ebs_volume" "data" {
  for_each = local.disks

  availability_zone = each.value.zone
  type              = var.data_volumes.type
  size              = var.data_volumes.size_gib
  iops              = var.data_volumes.iops
  throughput        = var.data_volumes.throughput
  encrypted         = true
  kms_key_id        = var.ebs_key_arn
  final_snapshot    = true

  tags = merge(local.tags, {
    Name            = "${var.name}-storage-${each.value.node}-data-${each.value.index}"
    "fileflux:pool" = "fileflux"
    "fileflux:node" = aws_instance.node[each.value.node].id
  })

  lifecycle {
    prevent_destroy = true
    # Ansible's expand_pool grows volumes while the pool is in use; a plan must not shrink its memory.
    ignore_changes = [size, iops, throughput]
  }
}

resource "aws_volume_attachment" "data" {
  for_each = local.disks

  # Nitro hosts show disks by volume id; the name is only EC2's.
  device_name                    = "/dev/sd${substr("fghijklmnop", each.value.index, 1)}"
  instance_id                    = aws_instance.node[each.value.node].id
  volume_id                      = aws_ebs_volume.data[each.key].id
  stop_instance_before_detaching = true
}
