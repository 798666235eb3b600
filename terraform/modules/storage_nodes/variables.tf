variable "name" {
  description = "Prefix of every name: fileflux-ENVIRONMENT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name is 3 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "environment" {
  description = "dev or prod: the tag that Ansible's inventory asks for."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,15}$", var.environment))
    error_message = "environment is 2 to 16 lower-case letters and digits."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string

  validation {
    condition     = can(regex("^vpc-", var.vpc_id))
    error_message = "vpc_id is a VPC's id."
  }
}

variable "subnets_by_zone" {
  description = "Zone to private subnet: nodes are spread over all of them."
  type        = map(string)

  validation {
    condition     = length(var.subnets_by_zone) == 3
    error_message = "subnets_by_zone names three zones: an object's replicas lie in three."
  }
}

variable "nodes_per_zone" {
  description = "Storage nodes in each zone."
  type        = number
  default     = 1

  validation {
    condition     = var.nodes_per_zone >= 1 && var.nodes_per_zone <= 50 && floor(var.nodes_per_zone) == var.nodes_per_zone
    error_message = "nodes_per_zone is 1 to 50."
  }
}

variable "instance_type" {
  description = "Nitro, x86-64, with memory for ZFS's cache."
  type        = string
  default     = "m6i.xlarge"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type)) && !startswith(var.instance_type, "t")
    error_message = "instance_type looks like m6i.xlarge; burstable types (t3, ...) stall a pool when their credits end."
  }
}

variable "image_id" {
  description = "Our Ubuntu 22.04 image with OpenZFS, from packer/."
  type        = string

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.image_id))
    error_message = "image_id is an AMI's id. Build one first: packer/README.md."
  }
}

variable "root_volume_gib" {
  description = "The system's disk: images of containers and logs."
  type        = number
  default     = 50

  validation {
    condition     = var.root_volume_gib >= 20
    error_message = "root_volume_gib is at least 20."
  }
}

variable "data_volumes" {
  description = "Each node's data disks: how many, GiB of each, EBS type, IO/s and MiB/s of gp3. Two or more are mirrored by zfs_pool."
  type = object({
    count      = number
    size_gib   = number
    type       = optional(string, "gp3")
    iops       = optional(number, 3000)
    throughput = optional(number, 125)
  })

  validation {
    condition     = var.data_volumes.count >= 1 && var.data_volumes.count <= 11 && floor(var.data_volumes.count) == var.data_volumes.count
    error_message = "data_volumes.count is 1 to 11: so many names EC2 recommends for data disks."
  }

  validation {
    condition     = var.data_volumes.size_gib >= 10 && var.data_volumes.size_gib <= 16384
    error_message = "data_volumes.size_gib is 10 to 16384, the most of gp3 that every region takes."
  }

  validation {
    condition     = var.data_volumes.type == "gp3" && var.data_volumes.iops >= 3000 && var.data_volumes.throughput >= 125
    error_message = "data_volumes are gp3 with at least 3000 IO/s and 125 MiB/s."
  }
}

variable "ebs_key_arn" {
  description = "The KMS key of all disks."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.ebs_key_arn))
    error_message = "ebs_key_arn is the ARN of a KMS key."
  }
}

variable "cluster_name" {
  description = "The cluster to join."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name is the name of an EKS cluster."
  }
}

variable "cluster_endpoint" {
  description = "Its API's address."
  type        = string

  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+$", var.cluster_endpoint))
    error_message = "cluster_endpoint begins with https://."
  }
}

variable "certificate_authority_data" {
  description = "Its certificate authority, in base64."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9+/=]+$", var.certificate_authority_data))
    error_message = "certificate_authority_data is base64."
  }
}

variable "cluster_dns_ip" {
  description = "Where pods ask for names."
  type        = string

  validation {
    condition     = can(cidrnetmask("${var.cluster_dns_ip}/32"))
    error_message = "cluster_dns_ip is an IPv4 address."
  }
}

variable "cluster_security_group_id" {
  description = "The group whose members reach each other and the control plane."
  type        = string

  validation {
    condition     = can(regex("^sg-", var.cluster_security_group_id))
    error_message = "cluster_security_group_id is a security group's id."
  }
}

# A switch of its own: whether a rule exists must be known before the group's id is.
variable "ssh_from_bastion" {
  description = "Whether the bastion reaches port 22 of the nodes; false with SSM alone."
  type        = bool
  default     = false
}

variable "bastion_security_group_id" {
  description = "The bastion's group."
  type        = string
  default     = null

  validation {
    condition     = var.bastion_security_group_id == null ? !var.ssh_from_bastion : can(regex("^sg-", var.bastion_security_group_id))
    error_message = "bastion_security_group_id is a security group's id; ssh_from_bastion needs it."
  }
}

variable "protected" {
  description = "Whether EC2 refuses to terminate the nodes."
  type        = bool
  default     = true
}
