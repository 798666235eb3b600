# MSK: SCRAM over TLS and nothing else; two of three brokers confirm.

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
  name                     = "fileflux-dev"
  vpc_id                   = "vpc-1"
  subnet_ids               = ["subnet-a", "subnet-b", "subnet-c"]
  client_security_group_id = "sg-0123456789"
  kafka_secret_arn         = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/kafka-a"
}

run "only_scram_over_tls_connects" {
  assert {
    condition     = aws_msk_cluster.this.client_authentication[0].sasl[0].scram && !aws_msk_cluster.this.client_authentication[0].unauthenticated
    error_message = "SCRAM"
  }
  assert {
    condition     = aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].client_broker == "TLS" && aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].in_cluster
    error_message = "TLS, between brokers too"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.clients.from_port == 9096 && aws_vpc_security_group_ingress_rule.clients.to_port == 9096 && aws_vpc_security_group_ingress_rule.clients.referenced_security_group_id == "sg-0123456789"
    error_message = "one port, from the nodes"
  }
}

run "two_of_three_brokers_confirm_and_no_topic_appears" {
  assert {
    condition     = aws_msk_cluster.this.number_of_broker_nodes == 3 && strcontains(aws_msk_configuration.this.server_properties, "min.insync.replicas=2") && strcontains(aws_msk_configuration.this.server_properties, "auto.create.topics.enable=false")
    error_message = "as Strimzi's Kafka does"
  }
}

run "the_secret_is_one_that_msk_reads" {
  assert {
    condition     = startswith(aws_secretsmanager_secret.scram.name, "AmazonMSK_") && aws_secretsmanager_secret.scram.kms_key_id == aws_kms_key.this.arn
    error_message = "by its name and a customer's key"
  }
}

run "a_broker_that_is_none_is_refused" {
  command = plan
  variables {
    instance_type = "m7g.large"
  }
  expect_failures = [var.instance_type]
}

run "two_zones_are_refused" {
  command = plan
  variables {
    subnet_ids = ["subnet-a", "subnet-b"]
  }
  expect_failures = [var.subnet_ids]
}

run "a_name_with_capitals_is_refused" {
  command = plan
  variables {
    name = "Fileflux_Dev"
  }
  expect_failures = [var.name]
}

run "a_kafka_that_is_no_version_is_refused" {
  command = plan
  variables {
    kafka_version = "newest"
  }
  expect_failures = [var.kafka_version]
}

run "a_vpc_without_id_is_refused" {
  command = plan
  variables {
    vpc_id = "fileflux"
  }
  expect_failures = [var.vpc_id]
}

run "clients_without_a_group_are_refused" {
  command = plan
  variables {
    client_security_group_id = "nodes"
  }
  expect_failures = [var.client_security_group_id]
}

run "a_disk_too_small_is_refused" {
  command = plan
  variables {
    volume_gib = 1
  }
  expect_failures = [var.volume_gib]
}

run "a_bucket_as_secret_is_refused" {
  command = plan
  variables {
    kafka_secret_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.kafka_secret_arn]
}

run "a_version_zero_is_refused" {
  command = plan
  variables {
    secret_version = 0
  }
  expect_failures = [var.secret_version]
}

run "a_window_of_three_days_is_refused" {
  command = plan
  variables {
    recovery_window_days = 3
  }
  expect_failures = [var.recovery_window_days]
}

run "a_retention_that_cloudwatch_does_not_know_is_refused" {
  command = plan
  variables {
    log_retention_days = 33
  }
  expect_failures = [var.log_retention_days]
}
