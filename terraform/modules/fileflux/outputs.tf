# What Helm, Ansible and Packer read: tools/helm_values_from_outputs.py makes values of it. No secret.
output "fileflux" {
  description = "Everything that Helm, Ansible and Packer need to know of the environment."

  value = {
    environment = var.environment
    region      = data.aws_region.current.name
    account_id  = data.aws_caller_identity.current.account_id
    domain_name = var.domain_name

    network = {
      vpc_id             = module.network.vpc_id
      vpc_cidr           = module.network.vpc_cidr
      private_subnet_ids = module.network.private_subnet_ids
      public_subnet_ids  = module.network.public_subnet_ids
    }

    cluster = {
      name               = module.cluster.cluster_name
      endpoint           = module.cluster.cluster_endpoint
      kubernetes_version = module.cluster.kubernetes_version
      security_group_id  = module.cluster.cluster_security_group_id
      dns_ip             = module.cluster.cluster_dns_ip
      authority          = module.cluster.certificate_authority_data
    }

    storage_nodes = {
      image_id        = local.storage_image_id
      instance_ids    = module.storage_nodes.instance_ids
      private_ips     = module.storage_nodes.private_ips
      data_volume_ids = module.storage_nodes.data_volume_ids
      ebs_key_arn     = module.keys.ebs_key_arn
    }

    karpenter = {
      controller_role_arn = module.karpenter.controller_role_arn
      instance_profile    = module.karpenter.node_instance_profile_name
      interruption_queue  = module.karpenter.interruption_queue_name
    }

    kafka = {
      kind              = var.kafka
      bootstrap_servers = local.msk ? module.kafka[0].bootstrap_brokers : ""
    }

    bastion = {
      instance_id = module.bastion.instance_id
      public_ip   = module.bastion.public_ip
    }

    buckets         = module.buckets.bucket_names
    secrets         = module.secrets.secret_names
    cloudflare      = module.dns.cloudflare_secret_name
    log_groups      = module.logs.group_names
    role_arns       = module.access.role_arns
    certificate_arn = module.dns.certificate_arn
    # terraform/cloudflare writes these, with Cloudflare's own provider and state.
    validation_records = module.dns.validation_records
  }
}
