output "controller_role_arn" {
  description = "What Karpenter's service account is annotated with (eks.amazonaws.com/role-arn)."
  value       = aws_iam_role.controller.arn
}

output "node_role_arn" {
  description = "The role of the nodes it makes."
  value       = aws_iam_role.node.arn
}

output "node_instance_profile_name" {
  description = "What EC2NodeClass names as instanceProfile."
  value       = aws_iam_instance_profile.node.name
}

output "interruption_queue_name" {
  description = "settings.interruptionQueue of Karpenter's chart."
  value       = aws_sqs_queue.interruption.name
}
