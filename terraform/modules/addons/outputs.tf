output "addon_versions" {
  description = "Add-on to the version that is installed."
  value       = { for name, addon in aws_eks_addon.this : name => addon.addon_version }
}
