# S3 beside FileFlux: `archive` keeps the audit stream's segments, `staging` carries uploads between
# ingest hosts when ingest stages on S3, `backups` holds the database's. Encrypted by a key of their
# own, over TLS only, never public.

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

data "aws_partition" "current" {}

locals {
  purposes = toset(["archive", "staging", "backups"])
}

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
}

resource "aws_kms_key" "this" {
  description             = "Objects in the buckets of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json

  tags = { Name = "${var.name}-buckets" }
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-buckets"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_21:Staged bundles are written once and live for minutes; archive and backups have versions.
  #checkov:skip=CKV_AWS_144:Another region's copy is the operator's decision; disaster-recovery.md says what a lost region costs.
  #checkov:skip=CKV_AWS_18:Who reads is in CloudTrail's data events, which belong to the account, not to this module.
  #checkov:skip=CKV2_AWS_62:Nobody acts on objects that arrive here.
  for_each = local.purposes

  # A bucket's name is one in the world: the account and region make it ours.
  bucket = "${var.name}-${each.key}-${data.aws_caller_identity.current.account_id}-${data.aws_region.current.name}"

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.purposes

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.purposes

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.purposes

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}

# Staged bundles live for minutes and are written once: versions of them would only be paid for.
resource "aws_s3_bucket_versioning" "this" {
  for_each = local.purposes

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = each.key == "staging" ? "Suspended" : "Enabled"
  }
}

data "aws_iam_policy_document" "bucket" {
  for_each = local.purposes

  statement {
    sid    = "TlsOnly"
    effect = "Deny"
    # wildcard: a Deny is of everything.
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this[each.key].arn, "${aws_s3_bucket.this[each.key].arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.purposes

  bucket = aws_s3_bucket.this[each.key].id
  policy = data.aws_iam_policy_document.bucket[each.key].json

  depends_on = [aws_s3_bucket_public_access_block.this]
}
