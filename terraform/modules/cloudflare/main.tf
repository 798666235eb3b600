# Cloudflare's side of names: the records that prove to ACM that they are ours, and the wait until
# ACM believes it. They stay, since ACM renews by them. The services' own records are ExternalDNS's.

locals {
  # *.example.com and example.com have one record in common; Cloudflare refuses it twice.
  records = { for domain, one in var.validation_records : trimprefix(domain, "*.") => one... }
}

resource "cloudflare_dns_record" "validation" {
  for_each = local.records

  zone_id = var.zone_id
  name    = trimsuffix(each.value[0].name, ".")
  type    = each.value[0].type
  content = trimsuffix(each.value[0].value, ".")
  ttl     = 60
  proxied = false # ACM must see the record itself.
  comment = "Proves ${each.key} to AWS Certificate Manager"
}

resource "aws_acm_certificate_validation" "this" {
  certificate_arn         = var.certificate_arn
  validation_record_fqdns = [for one in cloudflare_dns_record.validation : one.name]
}
