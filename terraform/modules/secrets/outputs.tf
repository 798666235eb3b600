output "secret_arns" {
  description = "Entry (database, kafka, keys, root, audit-key) to ARN, for the policies of those who read it."
  value       = { for entry, secret in aws_secretsmanager_secret.this : entry => secret.arn }
}

output "secret_names" {
  description = "Entry to name, for the chart's SecretProviderClass."
  value       = { for entry, secret in aws_secretsmanager_secret.this : entry => secret.name }
}
