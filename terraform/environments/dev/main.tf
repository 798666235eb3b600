# dev: the same parts as prod, one of each where prod has three, and nothing that is hard to delete.

module "fileflux" {
  source = "../../modules/fileflux"

  environment         = "dev"
  cidr                = "10.41.0.0/16"
  zones               = var.zones
  domain_name         = var.domain_name
  administrator_arns  = var.administrator_arns
  alarm_emails        = var.alarm_emails
  public_access_cidrs = var.public_access_cidrs
  ssh_cidr            = var.ssh_cidr
  ssh_public_key      = var.ssh_public_key
  kafka               = var.kafka

  nat_gateways          = 1
  nodes_per_zone        = 1
  storage_instance_type = "m6i.large"
  data_volumes          = { count = 2, size_gib = 50 } # a mirror, as in prod
  storage_image_id      = var.storage_image_id
  packer_manifest       = "${path.module}/../../../packer/manifest.json"

  protected            = false
  recovery_window_days = 0
  log_retention_days   = 14
  monthly_limit_usd    = 1200
}
