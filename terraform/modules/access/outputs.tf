output "role_arns" {
  description = "Service account to the role that its pods have."
  value       = { for account, role in aws_iam_role.this : account => role.arn }
}
