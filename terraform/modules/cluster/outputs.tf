output "cluster_name" {
  description = "The cluster's name."
  value       = aws_eks_cluster.this.name
}

output "cluster_arn" {
  description = "Its ARN, which roles for Pod Identity trust."
  value       = aws_eks_cluster.this.arn
}

output "cluster_endpoint" {
  description = "The API's address."
  value       = aws_eks_cluster.this.endpoint
}

output "certificate_authority_data" {
  description = "The API's certificate authority, in base64."
  value       = aws_eks_cluster.this.certificate_authority[0].data
}

output "kubernetes_version" {
  description = "The version that runs."
  value       = aws_eks_cluster.this.version
}

output "cluster_security_group_id" {
  description = "The group of the control plane, the nodes and Fargate: all its members reach each other."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "oidc_provider_arn" {
  description = "The identity provider of service accounts, for IRSA."
  value       = aws_iam_openid_connect_provider.this.arn
}

output "oidc_issuer" {
  description = "Its address without https://, as conditions name it."
  value       = trimprefix(aws_eks_cluster.this.identity[0].oidc[0].issuer, "https://")
}

output "cluster_dns_ip" {
  description = "Where kubelets tell pods to ask for names."
  value       = cidrhost(var.service_cidr, 10)
}
