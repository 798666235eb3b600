# Every rule of rules.py is broken here, once for each comment. Never applied.

terraform {
  # breaks: states_are_locked_and_encrypted
  backend "s3" {
    encrypt = true
  }
}

provider "aws" {
  # breaks: roots_tag_all_that_they_make
  default_tags {
    tags = { Project = "fileflux" }
  }
}

variable "silent" {
  # breaks: variables_are_described_and_checked
  type = string
}

output "silent" {
  # breaks: outputs_are_described
  value = var.silent
}

resource "aws_vpc" "nameless" {
  # breaks: resources_are_tagged
  cidr_block = "10.0.0.0/16"
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  # breaks: only_https_is_open_to_everybody
  cidr_ipv4 = "0.0.0.0/0"
  from_port = 22
  to_port   = 22
  tags      = { Name = "ssh" }
}

resource "aws_security_group" "all" {
  # breaks: only_https_is_open_to_everybody
  ingress {
    ipv6_cidr_blocks = ["::/0"]
    from_port        = 0
    to_port          = 65535
  }
  tags = { Name = "all" }
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  cidr_ipv4 = "0.0.0.0/0"
  from_port = 443
  to_port   = 443
  tags      = { Name = "https" }
}

data "aws_iam_policy_document" "unexplained" {
  statement {
    # breaks: wildcards_are_explained
    actions = [
      "s3:GetObject",
      "s3:*",
    ]
    # breaks: wildcards_are_explained
    resources = ["*"]
  }

  statement {
    # wildcard: an explanation that is long enough
    resources = ["*"]
    actions   = ["s3:GetObject"]
  }
}

resource "aws_iam_role_policy" "text" {
  # breaks: policies_are_documents
  policy = jsonencode({ Statement = [{ Action = "*" }] })
}

resource "aws_cloudwatch_log_group" "plain" {
  # breaks: data_at_rest_is_encrypted
  name = "plain"
  tags = { Name = "plain" }
}

resource "aws_kms_key" "eternal" {
  # breaks: data_at_rest_is_encrypted
  tags = { Name = "eternal" }
}

resource "aws_instance" "plain" {
  # breaks: data_at_rest_is_encrypted
  root_block_device {
    volume_size = 8
  }
  tags = { Name = "plain" }
}

resource "aws_s3_bucket" "plain" {
  # breaks: data_at_rest_is_encrypted
  bucket = "plain"
  tags   = { Name = "plain" }
}

resource "aws_secretsmanager_secret_version" "in_state" {
  # breaks: secrets_stay_out_of_the_state
  secret_string = var.silent
}

resource "random_password" "in_state" {
  # breaks: secrets_stay_out_of_the_state
  length = 8
  tags   = { Name = "none" }
}

data "aws_secretsmanager_random_password" "in_state" {
  # breaks: secrets_stay_out_of_the_state
  password_length = 8
}
