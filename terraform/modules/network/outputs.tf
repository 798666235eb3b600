output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "vpc_cidr" {
  description = "Its IPv4 range: what is inside."
  value       = aws_vpc.this.cidr_block
}

output "zones" {
  description = "The three zones, in the order of all lists here."
  value       = var.zones
}

output "public_subnet_ids" {
  description = "Subnets of load balancers, one a zone."
  value       = [for zone in var.zones : aws_subnet.public[zone].id]
}

output "private_subnet_ids" {
  description = "Subnets of hosts and pods, one a zone."
  value       = [for zone in var.zones : aws_subnet.private[zone].id]
}

output "public_subnets_by_zone" {
  description = "Zone to public subnet."
  value       = { for zone in var.zones : zone => aws_subnet.public[zone].id }
}

output "private_subnets_by_zone" {
  description = "Zone to private subnet: a storage node stays where its volumes are."
  value       = { for zone in var.zones : zone => aws_subnet.private[zone].id }
}

output "private_route_table_ids" {
  description = "Route tables of the private subnets, one a zone."
  value       = [for zone in var.zones : aws_route_table.private[zone].id]
}

output "nat_public_ips" {
  description = "The addresses that the world sees when something inside calls out."
  value       = [for zone in local.nat_zones : aws_eip.nat[zone].public_ip]
}

output "endpoints_security_group_id" {
  description = "The security group of the interface endpoints."
  value       = aws_security_group.endpoints.id
}

output "flow_log_group_name" {
  description = "Where the flow logs are."
  value       = aws_cloudwatch_log_group.flow.name
}
