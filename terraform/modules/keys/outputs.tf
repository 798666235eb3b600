output "ebs_key_arn" {
  description = "The key of EBS volumes."
  value       = aws_kms_key.this["ebs"].arn
}

output "secrets_key_arn" {
  description = "The key of Secrets Manager's entries."
  value       = aws_kms_key.this["secrets"].arn
}

output "logs_key_arn" {
  description = "The key of log groups and the alarms' topic."
  value       = aws_kms_key.this["logs"].arn
}

output "cluster_key_arn" {
  description = "The key of the cluster's envelope encryption."
  value       = aws_kms_key.this["cluster"].arn
}

output "key_arns" {
  description = "All four by name: ebs, secrets, logs, cluster."
  value       = { for name, key in aws_kms_key.this : name => key.arn }
}
