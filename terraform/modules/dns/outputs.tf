output "certificate_arn" {
  description = "The certificate, pending until its records exist."
  value       = aws_acm_certificate.this.arn
}

output "validation_records" {
  description = "The records that prove the names are ours, by domain name: name, type, value."
  # A wildcard and its parent are proven by one record.
  value = {
    for one in aws_acm_certificate.this.domain_validation_options : one.domain_name => {
      name  = one.resource_record_name
      type  = one.resource_record_type
      value = one.resource_record_value
    }
  }
}

output "cloudflare_secret_arn" {
  description = "The entry of ExternalDNS's token, for the policy of who reads it."
  value       = aws_secretsmanager_secret.cloudflare.arn
}

output "cloudflare_secret_name" {
  description = "Its name, for the SecretProviderClass."
  value       = aws_secretsmanager_secret.cloudflare.name
}
