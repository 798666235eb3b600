# The image of a storage node: Canonical's Ubuntu 22.04 for EKS with OpenZFS, the pool's first creation
# and FileFlux's own user. `packer init packer && packer build -var region=REGION packer`.

packer {
  required_version = ">= 1.10"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3, < 2"
    }
  }
}

variable "region" {
  type        = string
  description = "The region in which the image is built and kept."
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region is a region's name, like eu-central-1."
  }
}

variable "kubernetes_version" {
  type        = string
  description = "The cluster's version: the base image brings this kubelet."
  default     = "1.36"
  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "The version is 1.NN."
  }
}

variable "kms_key_id" {
  type        = string
  description = "The key that encrypts the image's root volume (the output image_key_arn of Terraform). Empty: the account's default key for EBS."
  default     = ""
}

variable "instance_type" {
  type        = string
  description = "What builds the image; any x86_64 type."
  default     = "t3.large"
}

variable "subnet_id" {
  type        = string
  description = "Where it is built. It needs a way out, and nobody needs a way in. Empty: the default VPC."
  default     = ""
}

locals {
  # No colons: names of images take none.
  built = formatdate("YYYYMMDDhhmmss", timestamp())
  tags = {
    Project           = "fileflux"
    Role              = "storage-node"
    KubernetesVersion = var.kubernetes_version
  }
}

source "amazon-ebs" "storage-node" {
  region        = var.region
  instance_type = var.instance_type
  subnet_id     = var.subnet_id
  ami_name      = "fileflux-storage-node-ubuntu-22.04-zfs-${local.built}"
  encrypt_boot  = true
  kms_key_id    = var.kms_key_id
  imds_support  = "v2.0"
  tags          = local.tags
  run_tags      = local.tags

  source_ami_filter {
    owners      = ["099720109477"] # Canonical
    most_recent = true
    filters = {
      name                = "ubuntu-eks/k8s_${var.kubernetes_version}/images/hvm-ssd*/ubuntu-jammy-22.04-amd64-server-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  # Through Session Manager: no port is open to anybody, and the key pair lives for this build only.
  communicator                = "ssh"
  ssh_username                = "ubuntu"
  ssh_interface               = "session_manager"
  temporary_key_pair_type     = "ed25519"
  ssh_clear_authorized_keys   = true
  associate_public_ip_address = var.subnet_id == ""

  temporary_iam_instance_profile_policy_document {
    Version = "2012-10-17"
    Statement {
      Effect = "Allow"
      Action = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ]
      Resource = ["*"]
    }
  }
}

build {
  name    = "fileflux"
  sources = ["source.amazon-ebs.storage-node"]

  # The folder has to be there; with the slash its content is what is copied.
  provisioner "shell" {
    inline = ["mkdir -p /tmp/fileflux-files"]
  }

  provisioner "file" {
    source      = "${path.root}/files/"
    destination = "/tmp/fileflux-files"
  }

  provisioner "shell" {
    execute_command = "sudo env {{ .Vars }} bash '{{ .Path }}'"
    scripts = [
      "${path.root}/scripts/10-packages.sh",
      "${path.root}/scripts/20-node.sh",
    ]
  }

  # What was made is cleaned and looked at before it becomes an image, by one connection: the host's keys
  # are gone after the first of them.
  provisioner "shell" {
    execute_command = "sudo env {{ .Vars }} bash '{{ .Path }}'"
    scripts = [
      "${path.root}/scripts/90-clean.sh",
      "${path.root}/smoke/smoke.sh",
    ]
  }

  post-processor "manifest" {
    output     = "${path.root}/manifest.json"
    strip_path = true
    custom_data = {
      kubernetes_version = var.kubernetes_version
      region             = var.region
    }
  }
}
