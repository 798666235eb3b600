output "group_names" {
  description = "application, host, cluster to the group's name, for Fluent Bit and EKS."
  value       = { for group, made in aws_cloudwatch_log_group.this : group => made.name }
}

output "group_arns" {
  description = "The same to ARN, for the policies of those who write."
  value       = { for group, made in aws_cloudwatch_log_group.this : group => made.arn }
}

output "alarm_topic_arn" {
  description = "The topic that alarms go to."
  value       = aws_sns_topic.alarms.arn
}
