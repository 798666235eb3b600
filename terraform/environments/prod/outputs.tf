output "fileflux" {
  description = "What Helm, Ansible and Packer read; `tofu output -json | python tools/helm_values_from_outputs.py` makes values of it."
  value       = module.fileflux.fileflux
}
