# DNS and disks run on the storage nodes, after there are some.

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
  name               = "fileflux-dev"
  cluster_name       = "fileflux-dev"
  cluster_arn        = "arn:aws:eks:eu-central-1:123456789012:cluster/fileflux-dev"
  kubernetes_version = "1.36"
  ebs_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
  node_ids           = ["i-0", "i-1", "i-2"]
}

run "dns_and_the_disk_controller_tolerate_storage_nodes" {
  assert {
    condition     = jsondecode(aws_eks_addon.this["coredns"].configuration_values).tolerations[0].key == "fileflux.io/storage"
    error_message = "CoreDNS"
  }
  assert {
    condition     = jsondecode(aws_eks_addon.this["aws-ebs-csi-driver"].configuration_values).controller.tolerations[0].value == "zfs"
    error_message = "the EBS controller"
  }
}

run "secrets_are_kept_in_step" {
  assert {
    condition     = jsondecode(aws_eks_addon.this["aws-secrets-store-csi-driver-provider"].configuration_values)["secrets-store-csi-driver"].syncSecret.enabled
    error_message = "the chart's pods read Kubernetes Secrets"
  }
}

run "the_disk_controller_has_a_role_of_its_own" {
  assert {
    condition     = aws_eks_pod_identity_association.ebs.service_account == "ebs-csi-controller-sa" && aws_eks_pod_identity_association.ebs.namespace == "kube-system"
    error_message = "by Pod Identity"
  }
}

run "no_nodes_are_refused" {
  command = plan
  variables {
    node_ids = []
  }
  expect_failures = [aws_eks_addon.this]
}

run "a_version_that_is_none_is_refused" {
  command = plan
  variables {
    addon_versions = { coredns = "latest" }
  }
  expect_failures = [var.addon_versions]
}

run "a_name_with_capitals_is_refused" {
  command = plan
  variables {
    name = "Fileflux_Dev"
  }
  expect_failures = [var.name]
}

run "a_cluster_name_that_is_none_is_refused" {
  command = plan
  variables {
    cluster_name = "-"
  }
  expect_failures = [var.cluster_name]
}

run "a_bucket_as_cluster_is_refused" {
  command = plan
  variables {
    cluster_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.cluster_arn]
}

run "a_version_that_is_no_number_is_refused" {
  command = plan
  variables {
    kubernetes_version = "latest"
  }
  expect_failures = [var.kubernetes_version]
}

run "a_bucket_as_disk_key_is_refused" {
  command = plan
  variables {
    ebs_key_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.ebs_key_arn]
}

run "a_node_that_is_no_instance_is_refused" {
  command = plan
  variables {
    node_ids = ["node"]
  }
  expect_failures = [var.node_ids]
}
