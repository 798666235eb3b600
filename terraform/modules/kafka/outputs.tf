output "bootstrap_brokers" {
  description = "KAFKA_BOOTSTRAP_SERVERS of services: SCRAM over TLS."
  value       = aws_msk_cluster.this.bootstrap_brokers_sasl_scram
}

output "cluster_arn" {
  description = "The cluster."
  value       = aws_msk_cluster.this.arn
}

output "log_group_name" {
  description = "Where brokers write."
  value       = aws_cloudwatch_log_group.brokers.name
}
