output "bucket_names" {
  description = "Purpose (archive, staging, backups) to bucket."
  value       = { for purpose, bucket in aws_s3_bucket.this : purpose => bucket.bucket }
}

output "bucket_arns" {
  description = "Purpose to ARN, for the policies of those who use it."
  value       = { for purpose, bucket in aws_s3_bucket.this : purpose => bucket.arn }
}

output "key_arn" {
  description = "The key that encrypts their objects."
  value       = aws_kms_key.this.arn
}
