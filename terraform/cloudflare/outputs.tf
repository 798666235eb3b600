output "validated_certificate_arn" {
  description = "The certificate, once ACM has issued it."
  value       = module.cloudflare.validated_certificate_arn
}
