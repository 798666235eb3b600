# Hosts in three zones, and disks that outlive them. Planned only: what is applied could not be
# destroyed after the test, because prevent_destroy holds the disks.

mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_eks_addon_version" {
    defaults = { version = "v1.0.0-eksbuild.1" }
  }
  mock_data "aws_ssm_parameter" {
    defaults = { value = "ami-0123456789abcdef0" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a" }
  }
  mock_resource "aws_eks_cluster" {
    defaults = {
      arn      = "arn:aws:eks:eu-central-1:123456789012:cluster/fileflux-dev"
      endpoint = "https://ABC.gr7.eu-central-1.eks.amazonaws.com"
      identity = [{ oidc = [{ issuer = "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC" }] }]

      certificate_authority = [{ data = "LS0tLS1C" }]
    }
  }
}

variables {
  name                       = "fileflux-dev"
  environment                = "dev"
  vpc_id                     = "vpc-1"
  subnets_by_zone            = { "eu-central-1a" = "subnet-a", "eu-central-1b" = "subnet-b", "eu-central-1c" = "subnet-c" }
  image_id                   = "ami-0123456789abcdef0"
  data_volumes               = { count = 2, size_gib = 100 }
  ebs_key_arn                = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
  cluster_name               = "fileflux-dev"
  cluster_endpoint           = "https://ABC.gr7.eu-central-1.eks.amazonaws.com"
  certificate_authority_data = "LS0tLS1C"
  cluster_dns_ip             = "172.20.0.10"
  cluster_security_group_id  = "sg-0123456789"
}

run "a_node_in_each_zone_with_its_disks_beside_it" {
  command = plan
  assert {
    condition     = { for key, one in aws_instance.node : key => one.subnet_id } == { "eu-central-1a-0" = "subnet-a", "eu-central-1b-0" = "subnet-b", "eu-central-1c-0" = "subnet-c" }
    error_message = "one a zone"
  }
  assert {
    condition     = length(aws_ebs_volume.data) == 6 && alltrue([for key, one in aws_ebs_volume.data : one.availability_zone == substr(key, 0, 13)])
    error_message = "two disks each, in the node's zone"
  }
  assert {
    condition     = length(distinct([for key, one in aws_volume_attachment.data : "${split("/", key)[0]} ${one.device_name}"])) == 6
    error_message = "no two disks at one name"
  }
}

run "disks_are_encrypted_snapshotted_and_found_by_their_tags" {
  command = plan
  assert {
    condition     = alltrue([for one in aws_ebs_volume.data : one.encrypted && one.kms_key_id == var.ebs_key_arn && one.final_snapshot])
    error_message = "encrypted, and a snapshot before an end"
  }
  assert {
    condition     = alltrue([for one in aws_ebs_volume.data : one.tags["fileflux:pool"] == "fileflux" && one.tags["Role"] == "storage-node"])
    error_message = "the tags that Ansible asks for"
  }
}

run "the_hosts_credentials_are_one_hop_away" {
  command = plan
  assert {
    condition     = alltrue([for one in aws_instance.node : one.metadata_options[0].http_tokens == "required" && one.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "IMDSv2, no pod"
  }
  assert {
    condition     = alltrue([for one in aws_instance.node : one.root_block_device[0].encrypted && one.disable_api_termination])
    error_message = "encrypted and protected"
  }
}

run "user_data_joins_the_cluster_with_label_and_taint" {
  command = plan
  assert {
    condition     = strcontains(base64decode(aws_instance.node["eu-central-1a-0"].user_data_base64), "--node-labels=fileflux.io/storage=zfs --register-with-taints=fileflux.io/storage=zfs:NoSchedule")
    error_message = "label and taint"
  }
  assert {
    condition     = strcontains(base64decode(aws_instance.node["eu-central-1a-0"].user_data_base64), "--apiserver-endpoint 'https://ABC.gr7.eu-central-1.eks.amazonaws.com'")
    error_message = "endpoint"
  }
  assert {
    condition     = aws_eks_access_entry.node.type == "EC2_LINUX"
    error_message = "the entry that lets its kubelet in"
  }
}

run "with_ssm_no_port_is_open" {
  command = plan
  assert {
    condition     = length(aws_security_group.ssh) == 0 && alltrue([for one in aws_instance.node : one.vpc_security_group_ids == toset(["sg-0123456789"])])
    error_message = "the cluster's group alone"
  }
}

run "with_ssh_the_bastion_alone_enters" {
  command = plan
  variables {
    ssh_from_bastion          = true
    bastion_security_group_id = "sg-bastion"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.ssh[0].referenced_security_group_id == "sg-bastion" && aws_vpc_security_group_ingress_rule.ssh[0].to_port == 22
    error_message = "from the bastion's group"
  }
}

run "a_third_node_leaves_the_first_two_names" {
  command = plan
  variables {
    nodes_per_zone = 3
  }
  assert {
    condition     = length(aws_instance.node) == 9 && contains(keys(aws_instance.node), "eu-central-1a-0") && contains(keys(aws_instance.node), "eu-central-1c-2")
    error_message = "names do not move"
  }
}

run "a_pool_on_a_burstable_host_is_refused" {
  command = plan
  variables {
    instance_type = "t3.large"
  }
  expect_failures = [var.instance_type]
}

run "no_image_is_refused" {
  command = plan
  variables {
    image_id = ""
  }
  expect_failures = [var.image_id]
}

run "twelve_disks_are_refused" {
  command = plan
  variables {
    data_volumes = { count = 12, size_gib = 100 }
  }
  expect_failures = [var.data_volumes]
}

run "two_zones_are_refused" {
  command = plan
  variables {
    subnets_by_zone = { "eu-central-1a" = "subnet-a", "eu-central-1b" = "subnet-b" }
  }
  expect_failures = [var.subnets_by_zone]
}

run "ssh_without_a_bastion_is_refused" {
  command = plan
  variables {
    ssh_from_bastion = true
  }
  expect_failures = [var.bastion_security_group_id]
}

run "a_name_with_capitals_is_refused" {
  command = plan
  variables {
    name = "Fileflux_Dev"
  }
  expect_failures = [var.name]
}

run "an_environment_that_is_none_is_refused" {
  command = plan
  variables {
    environment = "Prod!"
  }
  expect_failures = [var.environment]
}

run "a_vpc_without_id_is_refused" {
  command = plan
  variables {
    vpc_id = "fileflux"
  }
  expect_failures = [var.vpc_id]
}

run "no_nodes_are_refused" {
  command = plan
  variables {
    nodes_per_zone = 0
  }
  expect_failures = [var.nodes_per_zone]
}

run "a_root_disk_too_small_is_refused" {
  command = plan
  variables {
    root_volume_gib = 8
  }
  expect_failures = [var.root_volume_gib]
}

run "a_bucket_as_disk_key_is_refused" {
  command = plan
  variables {
    ebs_key_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.ebs_key_arn]
}

run "a_cluster_name_that_is_none_is_refused" {
  command = plan
  variables {
    cluster_name = "-"
  }
  expect_failures = [var.cluster_name]
}

run "an_api_without_tls_is_refused" {
  command = plan
  variables {
    cluster_endpoint = "http://api"
  }
  expect_failures = [var.cluster_endpoint]
}

run "an_authority_that_is_not_base64_is_refused" {
  command = plan
  variables {
    certificate_authority_data = "not base64!"
  }
  expect_failures = [var.certificate_authority_data]
}

run "a_dns_server_without_address_is_refused" {
  command = plan
  variables {
    cluster_dns_ip = "dns"
  }
  expect_failures = [var.cluster_dns_ip]
}

run "a_group_without_id_is_refused" {
  command = plan
  variables {
    cluster_security_group_id = "nodes"
  }
  expect_failures = [var.cluster_security_group_id]
}
