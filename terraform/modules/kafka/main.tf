# Kafka as Amazon MSK, instead of Strimzi in the cluster: three brokers, SCRAM over TLS and nothing
# else, topics made by FileFlux alone. Kafka moves work and may be lost (ARCHITECTURE.md), so the
# brokers are small and their disks are not backed up.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:A key policy's resource is its own key, and IAM decides who in the account manages it.
  #checkov:skip=CKV_AWS_111:A key policy's resource is its own key, and IAM decides who in the account uses it.
  #checkov:skip=CKV_AWS_356:In a key policy "*" means this key.
  statement {
    sid = "IamDecides"
    # wildcard: the account's administrators manage the key; in a key policy * is this key alone.
    actions = ["kms:*"]
    # wildcard: in a key policy * is this key alone.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }

  statement {
    sid     = "LogsWrite"
    actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    # wildcard: in a key policy * is this key alone.
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${data.aws_region.current.name}.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:log-group:${local.log_group}"]
    }
  }
}

locals {
  log_group = "/aws/msk/${var.name}"
}

# MSK reads SCRAM's secret only if a customer's key encrypts it.
resource "aws_kms_key" "this" {
  description             = "Kafka of ${var.name}: disks, logs and SCRAM's secret"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json

  tags = { Name = "${var.name}-kafka" }
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-kafka"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_cloudwatch_log_group" "brokers" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn

  tags = { Name = local.log_group }
}

resource "aws_security_group" "brokers" {
  name        = "${var.name}-kafka"
  description = "Kafka brokers of ${var.name}"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-kafka" }
}

# SCRAM over TLS. No plain port and no ZooKeeper port is open.
resource "aws_vpc_security_group_ingress_rule" "clients" {
  security_group_id            = aws_security_group.brokers.id
  referenced_security_group_id = var.client_security_group_id
  description                  = "Kafka with SASL/SCRAM over TLS, from the cluster's nodes"
  ip_protocol                  = "tcp"
  from_port                    = 9096
  to_port                      = 9096

  tags = { Name = "${var.name}-kafka-clients" }
}

# FileFlux makes its topics itself, with settings that it checks at each start. Sizes and copies are
# those of helm/kafka; a test compares them.
resource "aws_msk_configuration" "this" {
  name           = var.name
  description    = "Two of three brokers confirm, no topic appears by a slip"
  kafka_versions = [var.kafka_version]

  server_properties = <<-EOT
    auto.create.topics.enable=false
    default.replication.factor=3
    min.insync.replicas=2
    unclean.leader.election.enable=false
    allow.everyone.if.no.acl.found=true
    message.max.bytes=16777216
    replica.fetch.max.bytes=16777216
  EOT

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_msk_cluster" "this" {
  cluster_name           = var.name
  kafka_version          = var.kafka_version
  number_of_broker_nodes = 3
  enhanced_monitoring    = "PER_TOPIC_PER_BROKER"

  broker_node_group_info {
    instance_type   = var.instance_type
    client_subnets  = var.subnet_ids
    security_groups = [aws_security_group.brokers.id]

    storage_info {
      ebs_storage_info {
        volume_size = var.volume_gib
      }
    }
  }

  client_authentication {
    unauthenticated = false

    sasl {
      iam   = false
      scram = true
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.this.arn
    revision = aws_msk_configuration.this.latest_revision
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = aws_kms_key.this.arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.brokers.name
      }
    }
  }

  open_monitoring {
    prometheus {
      jmx_exporter {
        enabled_in_broker = true
      }

      node_exporter {
        enabled_in_broker = true
      }
    }
  }

  tags = { Name = var.name }
}
