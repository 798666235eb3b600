# prod: a NAT gateway a zone, mirrored terabytes on each storage node, protected from a slip.

module "fileflux" {
  source = "../../modules/fileflux"

  environment         = "prod"
  cidr                = "10.40.0.0/16"
  zones               = var.zones
  domain_name         = var.domain_name
  administrator_arns  = var.administrator_arns
  alarm_emails        = var.alarm_emails
  public_access_cidrs = var.public_access_cidrs
  ssh_cidr            = var.ssh_cidr
  ssh_public_key      = var.ssh_public_key
  kafka               = var.kafka

  nat_gateways          = 3
  nodes_per_zone        = 2
  storage_instance_type = "m6i.2xlarge"
  data_volumes          = { count = 2, size_gib = 1000, iops = 6000, throughput = 250 }
  storage_image_id      = var.storage_image_id
  packer_manifest       = "${path.module}/../../../packer/manifest.json"

  protected            = true
  recovery_window_days = 30
  log_retention_days   = 365
  monthly_limit_usd    = 5000
}
