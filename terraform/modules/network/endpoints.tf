# AWS services inside the VPC. Each endpoint carries calls of this account only: credentials that
# an intruder brings from another account lead nowhere from in here.

data "aws_iam_policy_document" "endpoint" {
  #checkov:skip=CKV_AWS_49:An endpoint's policy says who may pass; what they may do is their role's policy.
  #checkov:skip=CKV_AWS_1:The same; the condition lets only principals of this account pass.
  statement {
    sid = "ThisAccount"
    # wildcard: what a caller may do is its own role's policy; the endpoint decides who may pass.
    actions = ["*"]
    # wildcard: the same; the condition names the account.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [local.account]
    }
  }
}

# A pod that assumes its role by a web identity has no account before it has done so.
data "aws_iam_policy_document" "sts_endpoint" {
  #checkov:skip=CKV_AWS_283:Whoever brings a web identity has no principal yet; the role's trust policy decides.
  source_policy_documents = [data.aws_iam_policy_document.endpoint.json]

  statement {
    sid       = "WebIdentityOfThisAccount"
    actions   = ["sts:AssumeRoleWithWebIdentity"]
    resources = ["arn:${local.partition}:iam::${local.account}:role/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }
}

# Layers of images lie in other people's buckets: ECR's are fetched by URLs that ECR signs, those of
# registry.k8s.io by nobody in particular (prometheus-community/helm-charts, issue 2421, is what a
# policy that forgets it looks like).
data "aws_iam_policy_document" "s3_endpoint" {
  #checkov:skip=CKV_AWS_283:Layers of images, read only, from the buckets of ECR and of registries that are named.
  source_policy_documents = [data.aws_iam_policy_document.endpoint.json]

  statement {
    sid     = "ImageLayers"
    actions = ["s3:GetObject"]
    resources = concat(
      ["arn:${local.partition}:s3:::prod-${local.region}-starport-layer-bucket/*"],
      [for bucket in var.public_buckets : "arn:${local.partition}:s3:::${bucket}/*"],
    )

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for table in aws_route_table.private : table.id]
  policy            = data.aws_iam_policy_document.s3_endpoint.json

  tags = { Name = "${var.name}-s3" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = var.interface_endpoints

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.endpoints.id]
  policy              = each.key == "sts" ? data.aws_iam_policy_document.sts_endpoint.json : data.aws_iam_policy_document.endpoint.json

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "Interface endpoints: HTTPS from inside the VPC, nothing out."
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints_https" {
  security_group_id = aws_security_group.endpoints.id
  description       = "HTTPS from hosts and pods"
  cidr_ipv4         = aws_vpc.this.cidr_block
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443

  tags = { Name = "${var.name}-endpoints-https" }
}
