output "validated_certificate_arn" {
  description = "The certificate, once ACM has issued it."
  value       = aws_acm_certificate_validation.this.certificate_arn
}
