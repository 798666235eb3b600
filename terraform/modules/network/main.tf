# One VPC over three zones. Public subnets hold load balancers and NAT gateways and nothing else;
# everything that runs lives in private ones.

data "aws_region" "current" {}
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  region    = data.aws_region.current.name
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  # A zone's place decides its ranges, so a zone that is replaced by another keeps them.
  place_of_zone = { for place, zone in var.zones : zone => place }
  nat_zones     = slice(var.zones, 0, var.nat_gateways)
  nat_of_zone   = { for place, zone in var.zones : zone => var.zones[min(place, var.nat_gateways - 1)] }
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true # Interface endpoints answer to the services' own names.

  tags = { Name = var.name }
}

# Whoever forgets to name a security group gets this one: it lets nothing in or out.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-closed" }
}

resource "aws_subnet" "public" {
  for_each = local.place_of_zone

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(var.cidr, 4, each.value)
  map_public_ip_on_launch = false

  tags = {
    Name                     = "${var.name}-public-${each.key}"
    "kubernetes.io/role/elb" = "1"
  }
}

resource "aws_subnet" "private" {
  for_each = local.place_of_zone

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  # The first quarter is the public subnets'.
  cidr_block              = cidrsubnet(var.cidr, 2, each.value + 1)
  map_public_ip_on_launch = false

  tags = {
    Name                              = "${var.name}-private-${each.key}"
    "kubernetes.io/role/internal-elb" = "1"
    "karpenter.sh/discovery"          = var.cluster_name
  }
}
