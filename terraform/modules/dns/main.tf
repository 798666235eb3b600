# AWS's side of names: the certificate of the load balancer, and the entry that holds ExternalDNS's
# token. Cloudflare's side is ../cloudflare, so that all this works without Cloudflare's provider.

resource "aws_acm_certificate" "this" {
  domain_name               = var.domain_name
  subject_alternative_names = var.alternative_names
  validation_method         = "DNS"
  key_algorithm             = "EC_prime256v1"

  tags = { Name = "${var.name}-${var.domain_name}" }

  lifecycle {
    # The load balancer keeps the old one until the new one is there.
    create_before_destroy = true
  }
}

# A person puts the token in: {"CLOUDFLARE_API_TOKEN": "..."}, with Zone.DNS:Edit of one zone only.
resource "aws_secretsmanager_secret" "cloudflare" {
  #checkov:skip=CKV2_AWS_57:Cloudflare makes this token; a person puts it in.

  name                    = "fileflux/${var.environment}/cloudflare"
  description             = "CLOUDFLARE_API_TOKEN of ExternalDNS: Zone.DNS:Edit of one zone"
  kms_key_id              = var.key_arn
  recovery_window_in_days = var.recovery_window_days

  tags = { Name = "fileflux/${var.environment}/cloudflare" }
}
