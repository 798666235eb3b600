output "bucket_name" {
  description = "The bucket, for the environments' backend."
  value       = aws_s3_bucket.state.bucket
}

output "bucket_arn" {
  description = "Its ARN, for the policies of who plans and applies."
  value       = aws_s3_bucket.state.arn
}

output "key_arn" {
  description = "The key that encrypts it, for the environments' backend."
  value       = aws_kms_key.state.arn
}
