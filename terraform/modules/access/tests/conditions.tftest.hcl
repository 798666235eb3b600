# Each pod is somebody, and may do only what its component does.

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
  name         = "fileflux-dev"
  cluster_name = "fileflux-dev"
  cluster_arn  = "arn:aws:eks:eu-central-1:123456789012:cluster/fileflux-dev"
  secret_arns = {
    database  = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/database-a"
    kafka     = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/kafka-a"
    keys      = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/keys-a"
    root      = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/root-a"
    audit-key = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/audit-key-a"
  }
  secrets_key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555a"
  cloudflare_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/cloudflare-a"
  bucket_arns           = { archive = "arn:aws:s3:::archive", staging = "arn:aws:s3:::staging", backups = "arn:aws:s3:::backups" }
  buckets_key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-55555555555b"
  log_group_arns        = { application = "arn:aws:logs:eu-central-1:123456789012:log-group:a:*", host = "arn:aws:logs:eu-central-1:123456789012:log-group:h:*" }
}

run "every_component_has_an_identity_of_its_own" {
  assert {
    condition = toset(keys(aws_eks_pod_identity_association.this)) == toset([
      "fileflux-ingest", "fileflux-placement", "fileflux-materializer", "fileflux-sequencer", "fileflux-archiver",
      "fileflux-webhooks", "fileflux-storage-node", "fileflux-migrate", "cockroachdb", "fluent-bit", "external-dns",
    ])
    error_message = "the service accounts of the charts"
  }
  assert {
    condition     = alltrue([for account, one in aws_eks_pod_identity_association.this : one.service_account == account])
    error_message = "by its name"
  }
}

run "a_role_trusts_its_service_account_of_this_cluster_alone" {
  assert {
    condition = { for one in data.aws_iam_policy_document.trust["fileflux-webhooks"].statement[0].condition : one.variable => one.values } == {
      "aws:RequestTag/eks-cluster-arn"            = tolist([var.cluster_arn])
      "aws:RequestTag/kubernetes-namespace"       = tolist(["fileflux"])
      "aws:RequestTag/kubernetes-service-account" = tolist(["fileflux-webhooks"])
    }
    error_message = "cluster, namespace and account"
  }
}

run "only_ingest_reads_root_and_only_the_sequencer_the_signing_key" {
  assert {
    condition = [for account, one in data.aws_iam_policy_document.this : account
    if anytrue([for statement in one.statement : contains(statement.resources, var.secret_arns["root"])])] == ["fileflux-ingest"]
    error_message = "root's credentials"
  }
  assert {
    condition = [for account, one in data.aws_iam_policy_document.this : account
    if anytrue([for statement in one.statement : contains(statement.resources, var.secret_arns["audit-key"])])] == ["fileflux-sequencer"]
    error_message = "the key that signs checkpoints"
  }
  assert {
    condition = [for account, one in data.aws_iam_policy_document.this : account
    if anytrue([for statement in one.statement : contains(statement.resources, var.cloudflare_secret_arn)])] == ["external-dns"]
    error_message = "Cloudflare's token"
  }
}

run "only_ingest_deletes_objects" {
  assert {
    condition = [for account, one in data.aws_iam_policy_document.this : account
    if anytrue([for statement in one.statement : contains(statement.actions, "s3:DeleteObject")])] == ["fileflux-ingest"]
    error_message = "archive and backups only grow"
  }
}

run "writers_of_the_archive_and_of_backups_are_few" {
  assert {
    condition = { for account, one in data.aws_iam_policy_document.this : account => sort(flatten([for statement in one.statement : statement.resources if contains(statement.actions, "s3:PutObject")]))
      if anytrue([for statement in one.statement : contains(statement.actions, "s3:PutObject")]) } == {
      "fileflux-ingest"    = tolist(["arn:aws:s3:::staging/*"])
      "fileflux-sequencer" = tolist(["arn:aws:s3:::archive/*"])
      "fileflux-archiver"  = tolist(["arn:aws:s3:::archive/*"])
      cockroachdb          = tolist(["arn:aws:s3:::backups/*"])
    }
    error_message = "who writes where"
  }
}

run "a_missing_secret_is_refused" {
  command = plan
  variables {
    secret_arns = { database = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/database-a" }
  }
  expect_failures = [var.secret_arns]
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

run "a_bucket_as_secrets_key_is_refused" {
  command = plan
  variables {
    secrets_key_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.secrets_key_arn]
}

run "a_bucket_as_token_is_refused" {
  command = plan
  variables {
    cloudflare_secret_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.cloudflare_secret_arn]
}

run "no_buckets_are_refused" {
  command = plan
  variables {
    bucket_arns = {}
  }
  expect_failures = [var.bucket_arns]
}

run "a_bucket_as_buckets_key_is_refused" {
  command = plan
  variables {
    buckets_key_arn = "arn:aws:s3:::bucket"
  }
  expect_failures = [var.buckets_key_arn]
}

run "no_log_groups_are_refused" {
  command = plan
  variables {
    log_group_arns = {}
  }
  expect_failures = [var.log_group_arns]
}
