output "instance_id" {
  description = "Target of `aws ssm start-session`."
  value       = aws_instance.this.id
}

output "security_group_id" {
  description = "The group that others let in."
  value       = aws_security_group.this.id
}

output "public_ip" {
  description = "For ProxyJump; empty with SSM alone."
  value       = local.ssh ? aws_instance.this.public_ip : ""
}
