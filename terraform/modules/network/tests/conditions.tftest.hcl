# Three zones, one NAT gateway or three, endpoints, and what is refused.

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
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:flow" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/flow" }
  }
}

variables {
  name         = "fileflux-dev"
  cluster_name = "fileflux-dev"
  zones        = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  logs_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
}

run "three_nat_gateways_by_default" {
  assert {
    condition     = length(aws_nat_gateway.this) == 3
    error_message = "three zones have a NAT gateway each"
  }
  assert {
    condition     = length(aws_subnet.public) == 3 && length(aws_subnet.private) == 3
    error_message = "three public and three private subnets"
  }
  assert {
    condition     = alltrue([for one in aws_subnet.public : !one.map_public_ip_on_launch])
    error_message = "nothing gets a public address by being started"
  }
  assert {
    condition     = aws_subnet.private["eu-central-1b"].cidr_block == "10.40.128.0/18"
    error_message = "private ranges are quarters after the first"
  }
  assert {
    condition     = aws_subnet.public["eu-central-1c"].cidr_block == "10.40.32.0/20"
    error_message = "public ranges are sixteenths of the first quarter"
  }
  assert {
    condition     = length(aws_vpc_endpoint.interface) == 12 && aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway"
    error_message = "endpoints"
  }
  assert {
    condition     = alltrue([for zone, one in aws_route.private_out : one.nat_gateway_id == aws_nat_gateway.this[zone].id])
    error_message = "each zone goes out by its own gateway"
  }
  assert {
    condition     = alltrue([for one in aws_subnet.private : one.tags["karpenter.sh/discovery"] == "fileflux-dev"])
    error_message = "Karpenter finds the private subnets"
  }
  assert {
    condition     = output.private_subnet_ids == [for zone in var.zones : aws_subnet.private[zone].id]
    error_message = "lists are in the zones' order"
  }
}

run "one_nat_gateway_serves_all_zones" {
  variables {
    nat_gateways = 1
  }
  assert {
    condition     = keys(aws_nat_gateway.this) == ["eu-central-1a"]
    error_message = "one gateway, in the first zone"
  }
  assert {
    condition     = length(aws_route.private_out) == 3 && alltrue([for one in aws_route.private_out : one.nat_gateway_id == aws_nat_gateway.this["eu-central-1a"].id])
    error_message = "all zones go out by it"
  }
  assert {
    condition     = length(output.nat_public_ips) == 1
    error_message = "one address to the world"
  }
}

run "flow_logs_are_complete_and_encrypted" {
  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL"
    error_message = "refused traffic is what one looks for"
  }
  assert {
    condition     = aws_cloudwatch_log_group.flow.kms_key_id == "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a" && aws_cloudwatch_log_group.flow.retention_in_days == 365
    error_message = "encrypted, kept a year"
  }
}

run "no_interface_endpoints_if_none_are_wanted" {
  variables {
    interface_endpoints = []
  }
  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0
    error_message = "none were asked for"
  }
}

run "two_nat_gateways_are_refused" {
  command = plan
  variables {
    nat_gateways = 2
  }
  expect_failures = [var.nat_gateways]
}

run "two_zones_are_refused" {
  command = plan
  variables {
    zones = ["eu-central-1a", "eu-central-1b"]
  }
  expect_failures = [var.zones]
}

run "a_zone_named_twice_is_refused" {
  command = plan
  variables {
    zones = ["eu-central-1a", "eu-central-1a", "eu-central-1b"]
  }
  expect_failures = [var.zones]
}

run "a_small_range_is_refused" {
  command = plan
  variables {
    cidr = "10.40.0.0/24"
  }
  expect_failures = [var.cidr]
}

run "no_range_at_all_is_refused" {
  command = plan
  variables {
    cidr = "everything"
  }
  expect_failures = [var.cidr]
}

run "an_endpoint_of_s3_for_money_is_refused" {
  command = plan
  variables {
    interface_endpoints = ["s3"]
  }
  expect_failures = [var.interface_endpoints]
}

run "a_name_that_aws_refuses_is_refused" {
  command = plan
  variables {
    name = "FileFlux dev"
  }
  expect_failures = [var.name]
}

run "a_key_that_is_none_is_refused" {
  command = plan
  variables {
    logs_key_arn = "alias/logs"
  }
  expect_failures = [var.logs_key_arn]
}

run "a_retention_that_cloudwatch_lacks_is_refused" {
  command = plan
  variables {
    flow_log_retention_days = 42
  }
  expect_failures = [var.flow_log_retention_days]
}

run "a_cluster_without_a_name_is_refused" {
  command = plan
  variables {
    cluster_name = ""
  }
  expect_failures = [var.cluster_name]
}

run "image_layers_are_read_from_named_buckets_only" {
  assert {
    condition = toset(one(data.aws_iam_policy_document.s3_endpoint.statement).resources) == toset([
      "arn:aws:s3:::prod-eu-central-1-starport-layer-bucket/*",
      "arn:aws:s3:::prod-registry-k8s-io-*/*",
    ])
    error_message = "ECR's bucket and those of registry.k8s.io"
  }
}

run "all_buckets_as_public_ones_are_refused" {
  command = plan
  variables {
    public_buckets = ["*"]
  }
  expect_failures = [var.public_buckets]
}
