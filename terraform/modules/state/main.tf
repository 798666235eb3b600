# Where the environments' states lie. Locking is S3's own (use_lockfile): a conditional write of
# KEY.tflock, so no DynamoDB table.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

resource "aws_kms_key" "state" {
  description             = "${var.name}: states of the infrastructure"
  policy                  = data.aws_iam_policy_document.key.json
  enable_key_rotation     = true
  deletion_window_in_days = 30

  tags = { Name = "${var.name}-state" }
}

resource "aws_kms_alias" "state" {
  name          = "alias/${var.name}-state"
  target_key_id = aws_kms_key.state.key_id
}

# The account's IAM policies decide: who applies this creates the roles of everybody else.
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_111:In a key's policy the resource is the key itself, whatever is written.
  #checkov:skip=CKV_AWS_356:In a key's policy the resource is the key itself, whatever is written.
  #checkov:skip=CKV_AWS_109:In a key's policy the resource is the key itself, whatever is written. IAM decides who may, within the account.
  statement {
    sid = "IamDecides"
    # wildcard: the first key of an account has no administrators to name yet.
    actions = ["kms:*"]
    # wildcard: in a key's policy this is the key itself.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }
}

resource "aws_s3_bucket" "state" {
  #checkov:skip=CKV_AWS_18:CloudTrail's data events record reads and writes of states, with the caller's identity; an access log would need a second bucket.
  #checkov:skip=CKV2_AWS_62:Nothing acts on a new state.
  #checkov:skip=CKV_AWS_144:Versions bring a state back, and `import` makes it again from what exists: no copy in another region.

  bucket        = var.bucket_name
  force_destroy = var.deletable

  tags = { Name = var.bucket_name }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.state.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket = aws_s3_bucket.state.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    id     = "forget-replaced-states"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  # Rules for versions that are set before there are versions are refused now and then.
  depends_on = [aws_s3_bucket_versioning.state]
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid    = "TlsOnly"
    effect = "Deny"
    # wildcard: this denies, whatever it is.
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.id
  policy = data.aws_iam_policy_document.bucket.json

  depends_on = [aws_s3_bucket_public_access_block.state]
}
