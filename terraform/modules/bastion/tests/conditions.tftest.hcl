# SSM alone, or SSH with one key from one range.

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
  environment       = "dev"
  vpc_id            = "vpc-1"
  vpc_cidr          = "10.40.0.0/16"
  private_subnet_id = "subnet-private"
  public_subnet_id  = "subnet-public"
  ebs_key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
}

run "with_ssm_it_is_private_and_nothing_comes_in" {
  assert {
    condition     = aws_instance.this.subnet_id == "subnet-private" && !aws_instance.this.associate_public_ip_address
    error_message = "no public address"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.ssh) == 0 && length(aws_key_pair.this) == 0 && output.public_ip == ""
    error_message = "no port, no key"
  }
  assert {
    condition     = aws_instance.this.metadata_options[0].http_tokens == "required" && aws_instance.this.root_block_device[0].encrypted
    error_message = "IMDSv2 and an encrypted disk"
  }
}

run "with_ssh_one_range_and_one_key" {
  variables {
    ssh_cidr       = "203.0.113.7/32"
    ssh_public_key = "ssh-ed25519 AAAA you@example.com"
  }
  assert {
    condition     = aws_instance.this.subnet_id == "subnet-public" && aws_vpc_security_group_ingress_rule.ssh[0].cidr_ipv4 == "203.0.113.7/32"
    error_message = "the range"
  }
  assert {
    condition     = strcontains(aws_instance.this.user_data, "ssh_pwauth: false")
    error_message = "no passwords"
  }
}

run "a_wide_range_is_refused" {
  command = plan
  variables {
    ssh_cidr       = "203.0.0.0/16"
    ssh_public_key = "ssh-ed25519 AAAA you@example.com"
  }
  expect_failures = [var.ssh_cidr]
}

run "ssh_without_a_key_is_refused" {
  command = plan
  variables {
    ssh_cidr = "203.0.113.7/32"
  }
  expect_failures = [aws_instance.this]
}

run "a_private_key_is_refused" {
  command = plan
  variables {
    ssh_public_key = "OPENSSH PRIVATE KEY"
  }
  expect_failures = [var.ssh_public_key]
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

run "a_vpc_without_range_is_refused" {
  command = plan
  variables {
    vpc_cidr = "all"
  }
  expect_failures = [var.vpc_cidr]
}

run "a_private_subnet_without_id_is_refused" {
  command = plan
  variables {
    private_subnet_id = "private"
  }
  expect_failures = [var.private_subnet_id]
}

run "a_public_subnet_without_id_is_refused" {
  command = plan
  variables {
    public_subnet_id = "public"
  }
  expect_failures = [var.public_subnet_id]
}

run "a_size_that_is_none_is_refused" {
  command = plan
  variables {
    instance_type = "micro"
  }
  expect_failures = [var.instance_type]
}

run "an_image_without_id_is_refused" {
  command = plan
  variables {
    image_id = "ubuntu"
  }
  expect_failures = [var.image_id]
}

run "a_bucket_as_disk_key_is_refused" {
  command = plan
  variables {
    ebs_key_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.ebs_key_arn]
}
