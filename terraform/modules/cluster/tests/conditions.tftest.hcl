# Private, encrypted, entered by entries; Fargate carries Karpenter alone.

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
  name                      = "fileflux-dev"
  subnet_ids                = ["subnet-a", "subnet-b", "subnet-c"]
  cluster_key_arn           = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
  administrator_arns        = ["arn:aws:iam::123456789012:role/platform"]
  bastion_security_group_id = "sg-0123456789"
  log_group_name            = "/aws/eks/fileflux-dev/cluster"
}

run "the_api_is_private_encrypted_and_logged" {
  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "private"
  }
  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == var.cluster_key_arn
    error_message = "Secrets are encrypted by our key"
  }
  assert {
    condition     = length(aws_eks_cluster.this.enabled_cluster_log_types) == 5
    error_message = "all of the control plane's logs"
  }
  assert {
    condition     = aws_eks_cluster.this.version == "1.36" && aws_eks_cluster.this.upgrade_policy[0].support_type == "STANDARD"
    error_message = "a version in standard support, and no bill for extended"
  }
}

run "its_maker_is_no_administrator" {
  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API" && !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "only entries let in"
  }
  assert {
    condition     = keys(aws_eks_access_entry.administrator) == ["arn:aws:iam::123456789012:role/platform"] && length(aws_eks_access_entry.viewer) == 0
    error_message = "those that are named"
  }
}

run "listed_ranges_reach_the_api" {
  variables {
    public_access_cidrs = ["203.0.113.0/24"]
  }
  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "the range, and nothing else"
  }
}

run "fargate_carries_karpenter_alone" {
  assert {
    condition     = one(aws_eks_fargate_profile.karpenter.selector).namespace == "karpenter" && one(aws_eks_fargate_profile.karpenter.selector).labels["app.kubernetes.io/name"] == "karpenter"
    error_message = "one namespace, one label"
  }
}

run "a_node_finds_its_daemons_and_policies_are_enforced" {
  assert {
    condition     = toset(keys(aws_eks_addon.daemon)) == toset(["vpc-cni", "kube-proxy", "eks-pod-identity-agent"])
    error_message = "what a node needs to become ready"
  }
  assert {
    condition     = jsondecode(aws_eks_addon.daemon["vpc-cni"].configuration_values).enableNetworkPolicy == "true"
    error_message = "network policies are enforced"
  }
  assert {
    condition     = aws_eks_addon.daemon["kube-proxy"].addon_version == "v1.0.0-eksbuild.1"
    error_message = "EKS's default for the version"
  }
}

run "an_addon_can_be_pinned" {
  variables {
    addon_versions = { "vpc-cni" = "v1.20.4-eksbuild.1" }
  }
  assert {
    condition     = aws_eks_addon.daemon["vpc-cni"].addon_version == "v1.20.4-eksbuild.1"
    error_message = "as asked for"
  }
}

run "without_a_bastion_no_rule" {
  variables {
    bastion_may_enter         = false
    bastion_security_group_id = null
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.bastion) == 0
    error_message = "nobody to let in"
  }
}

run "the_dns_address_is_the_tenth" {
  assert {
    condition     = output.cluster_dns_ip == "172.20.0.10" && output.oidc_issuer == "oidc.eks.eu-central-1.amazonaws.com/id/ABC"
    error_message = "as EKS counts, and without https"
  }
}

run "the_whole_internet_is_refused" {
  command = plan
  variables {
    public_access_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.public_access_cidrs]
}

run "a_version_out_of_support_is_refused" {
  command = plan
  variables {
    kubernetes_version = "1.34"
  }
  expect_failures = [var.kubernetes_version]
}

run "nobody_as_administrator_is_refused" {
  command = plan
  variables {
    administrator_arns = []
  }
  expect_failures = [var.administrator_arns]
}

run "a_session_as_administrator_is_refused" {
  command = plan
  variables {
    administrator_arns = ["arn:aws:sts::123456789012:assumed-role/platform/me"]
  }
  expect_failures = [var.administrator_arns]
}

run "a_cluster_without_audit_log_is_refused" {
  command = plan
  variables {
    enabled_log_types = ["api"]
  }
  expect_failures = [var.enabled_log_types]
}

run "two_zones_are_refused" {
  command = plan
  variables {
    subnet_ids = ["subnet-a", "subnet-b"]
  }
  expect_failures = [var.subnet_ids]
}

run "a_rule_for_no_bastion_is_refused" {
  command = plan
  variables {
    bastion_security_group_id = null
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

run "a_bucket_as_key_is_refused" {
  command = plan
  variables {
    cluster_key_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.cluster_key_arn]
}

run "a_viewer_without_arn_is_refused" {
  command = plan
  variables {
    viewer_arns = ["me"]
  }
  expect_failures = [var.viewer_arns]
}

run "services_without_a_range_are_refused" {
  command = plan
  variables {
    service_cidr = "172.20.0.0"
  }
  expect_failures = [var.service_cidr]
}

run "an_addon_at_latest_is_refused" {
  command = plan
  variables {
    addon_versions = { coredns = "latest" }
  }
  expect_failures = [var.addon_versions]
}

run "a_log_group_of_our_own_is_refused" {
  command = plan
  variables {
    log_group_name = "/fileflux/dev/cluster"
  }
  expect_failures = [var.log_group_name]
}

run "another_clusters_log_group_is_refused" {
  command = plan
  variables {
    log_group_name = "/aws/eks/fileflux-prod/cluster"
  }
  expect_failures = [aws_eks_cluster.this]
}
