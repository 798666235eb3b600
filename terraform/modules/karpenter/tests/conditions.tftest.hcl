# Karpenter makes and ends what it tagged, with one role, and hears of interruptions.

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
  name              = "fileflux-dev"
  cluster_name      = "fileflux-dev"
  oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC"
  oidc_issuer       = "oidc.eks.eu-central-1.amazonaws.com/id/ABC"
  ebs_key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
}

run "only_its_service_account_takes_the_role" {
  assert {
    condition = { for one in data.aws_iam_policy_document.trust_controller.statement[0].condition : one.variable => one.values[0] } == {
      "oidc.eks.eu-central-1.amazonaws.com/id/ABC:aud" = "sts.amazonaws.com"
      "oidc.eks.eu-central-1.amazonaws.com/id/ABC:sub" = "system:serviceaccount:karpenter:karpenter"
    }
    error_message = "audience and subject"
  }
}

run "what_it_ends_carries_its_tags" {
  assert {
    condition = alltrue([for one in data.aws_iam_policy_document.controller.statement : length(one.condition) == 2
    if contains(one.actions, "ec2:TerminateInstances")])
    error_message = "the cluster's tag and a NodePool's: a storage node has none"
  }
  assert {
    condition     = [for one in data.aws_iam_policy_document.controller.statement : one.sid if contains(one.resources, "*")] == ["ReadTheCatalogue", "ReadPrices", "ListProfiles"]
    error_message = "everything is only read"
  }
}

run "it_passes_one_role_and_makes_no_profile" {
  assert {
    condition = [for one in data.aws_iam_policy_document.controller.statement : one.resources
    if contains(one.actions, "iam:PassRole")] == [toset([aws_iam_role.node.arn])]
    error_message = "the nodes' role"
  }
  assert {
    condition     = !anytrue(flatten([for one in data.aws_iam_policy_document.controller.statement : [for action in one.actions : startswith(action, "iam:Create") || startswith(action, "iam:Add")]]))
    error_message = "profiles are made by this module"
  }
}

run "nodes_have_no_rights_of_pods" {
  assert {
    condition     = toset(keys(aws_iam_role_policy_attachment.node)) == toset(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore"])
    error_message = "join, pull, be reached"
  }
}

run "four_kinds_of_news_reach_the_queue" {
  assert {
    condition     = toset(keys(aws_cloudwatch_event_target.interruption)) == toset(["health", "spot", "rebalance", "state"]) && aws_sqs_queue.interruption.sqs_managed_sse_enabled
    error_message = "each rule has a target, and the queue is encrypted"
  }
}

run "an_issuer_with_https_is_refused" {
  command = plan
  variables {
    oidc_issuer = "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC"
  }
  expect_failures = [var.oidc_issuer]
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

run "a_bucket_as_identity_provider_is_refused" {
  command = plan
  variables {
    oidc_provider_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.oidc_provider_arn]
}

run "a_bucket_as_disk_key_is_refused" {
  command = plan
  variables {
    ebs_key_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.ebs_key_arn]
}
