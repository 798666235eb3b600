output "bucket_name" {
  description = "-backend-config=bucket=..."
  value       = module.state.bucket_name
}

output "key_arn" {
  description = "-backend-config=kms_key_id=..."
  value       = module.state.key_arn
}

output "region" {
  description = "-backend-config=region=..."
  value       = var.region
}
