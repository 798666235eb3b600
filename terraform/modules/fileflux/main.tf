# One environment: every module, and what flows between them. environments/dev and environments/prod
# call this with their sizes, so that what is tried in dev is what prod gets.
#
# Order at the first apply: network and keys; the cluster with its DaemonSet add-ons; the storage
# nodes, which join by themselves; then CoreDNS and the EBS controller, which run on those. Karpenter
# (Fargate) and everything in the cluster come after, from Helm and Argo CD.

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  name = "fileflux-${var.environment}"

  # What packer/ built last, in this region: "eu-central-1:ami-...,us-east-1:ami-...".
  manifest = try(jsondecode(file(var.packer_manifest)), { builds = [], last_run_uuid = "" })
  built = flatten([for build in local.manifest.builds : [
    for artifact in split(",", build.artifact_id) : trimprefix(artifact, "${data.aws_region.current.name}:")
    if build.packer_run_uuid == local.manifest.last_run_uuid && startswith(artifact, "${data.aws_region.current.name}:")
  ]])
  storage_image_id = var.storage_image_id != "" ? var.storage_image_id : try(local.built[0], "")

  msk = var.kafka == "msk"
}

module "keys" {
  source = "../keys"

  name               = local.name
  administrator_arns = var.key_administrator_arns
}

module "network" {
  source = "../network"

  name         = local.name
  cluster_name = local.name
  cidr         = var.cidr
  zones        = var.zones
  nat_gateways = var.nat_gateways
  logs_key_arn = module.keys.logs_key_arn
}

module "logs" {
  source = "../logs"

  name           = local.name
  environment    = var.environment
  cluster_name   = local.name
  key_arn        = module.keys.logs_key_arn
  retention_days = var.log_retention_days
  alarm_emails   = var.alarm_emails
}

module "secrets" {
  source = "../secrets"

  environment          = var.environment
  key_arn              = module.keys.secrets_key_arn
  secret_versions      = var.secret_versions
  recovery_window_days = var.recovery_window_days
}

module "dns" {
  source = "../dns"

  name                 = local.name
  environment          = var.environment
  domain_name          = var.domain_name
  alternative_names    = ["*.${var.domain_name}"] # buckets as host names
  key_arn              = module.keys.secrets_key_arn
  recovery_window_days = var.recovery_window_days
}

module "budget" {
  source = "../budget"

  name              = local.name
  environment       = var.environment
  monthly_limit_usd = var.monthly_limit_usd
  emails            = var.alarm_emails
}

module "buckets" {
  source = "../buckets"

  name = local.name
}

module "bastion" {
  source = "../bastion"

  name              = local.name
  environment       = var.environment
  vpc_id            = module.network.vpc_id
  vpc_cidr          = module.network.vpc_cidr
  private_subnet_id = module.network.private_subnet_ids[0]
  public_subnet_id  = module.network.public_subnet_ids[0]
  ebs_key_arn       = module.keys.ebs_key_arn
  ssh_cidr          = var.ssh_cidr
  ssh_public_key    = var.ssh_public_key
}

module "cluster" {
  source = "../cluster"

  name                      = local.name
  kubernetes_version        = var.kubernetes_version
  subnet_ids                = module.network.private_subnet_ids
  cluster_key_arn           = module.keys.cluster_key_arn
  public_access_cidrs       = var.public_access_cidrs
  administrator_arns        = var.administrator_arns
  viewer_arns               = var.viewer_arns
  bastion_security_group_id = module.bastion.security_group_id
  addon_versions            = var.addon_versions
  log_group_name            = module.logs.group_names["cluster"]
}

module "storage_nodes" {
  source = "../storage_nodes"

  name                       = local.name
  environment                = var.environment
  vpc_id                     = module.network.vpc_id
  subnets_by_zone            = module.network.private_subnets_by_zone
  nodes_per_zone             = var.nodes_per_zone
  instance_type              = var.storage_instance_type
  image_id                   = local.storage_image_id
  data_volumes               = var.data_volumes
  ebs_key_arn                = module.keys.ebs_key_arn
  cluster_name               = module.cluster.cluster_name
  cluster_endpoint           = module.cluster.cluster_endpoint
  certificate_authority_data = module.cluster.certificate_authority_data
  cluster_dns_ip             = module.cluster.cluster_dns_ip
  cluster_security_group_id  = module.cluster.cluster_security_group_id
  ssh_from_bastion           = var.ssh_cidr != ""
  bastion_security_group_id  = var.ssh_cidr != "" ? module.bastion.security_group_id : null
  protected                  = var.protected
}

module "addons" {
  source = "../addons"

  name               = local.name
  cluster_name       = module.cluster.cluster_name
  cluster_arn        = module.cluster.cluster_arn
  kubernetes_version = module.cluster.kubernetes_version
  addon_versions     = var.addon_versions
  ebs_key_arn        = module.keys.ebs_key_arn
  node_ids           = values(module.storage_nodes.instance_ids)
}

module "access" {
  source = "../access"

  name                  = local.name
  cluster_name          = module.cluster.cluster_name
  cluster_arn           = module.cluster.cluster_arn
  secret_arns           = module.secrets.secret_arns
  secrets_key_arn       = module.keys.secrets_key_arn
  cloudflare_secret_arn = module.dns.cloudflare_secret_arn
  bucket_arns           = module.buckets.bucket_arns
  buckets_key_arn       = module.buckets.key_arn
  log_group_arns        = module.logs.group_arns
}

module "karpenter" {
  source = "../karpenter"

  name              = local.name
  cluster_name      = module.cluster.cluster_name
  oidc_provider_arn = module.cluster.oidc_provider_arn
  oidc_issuer       = module.cluster.oidc_issuer
  ebs_key_arn       = module.keys.ebs_key_arn
}

module "kafka" {
  source = "../kafka"
  count  = local.msk ? 1 : 0

  name                     = local.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.cluster.cluster_security_group_id
  kafka_secret_arn         = module.secrets.secret_arns["kafka"]
  secret_version           = lookup(var.secret_versions, "kafka", 1)
  recovery_window_days     = var.recovery_window_days

  # The password is read from the entry's first version.
  depends_on = [module.secrets]
}
