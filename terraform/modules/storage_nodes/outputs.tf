output "instance_ids" {
  description = "Node (zone-index) to instance."
  value       = { for key, node in aws_instance.node : key => node.id }
}

output "private_ips" {
  description = "Node to address, for Ansible's ProxyJump."
  value       = { for key, node in aws_instance.node : key => node.private_ip }
}

output "data_volume_ids" {
  description = "Node/disk to volume: pools are made of these by their ids."
  value       = { for key, disk in aws_ebs_volume.data : key => disk.id }
}

output "node_role_arn" {
  description = "The nodes' role."
  value       = aws_iam_role.node.arn
}
