#!/bin/bash
# What a storage node needs beside Canonical's image: OpenZFS, tools for its disks, security updates.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# cloud-init and unattended-upgrades may hold the lock for minutes after the first boot.
apt-get -o DPkg::Lock::Timeout=300 update -q
apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends \
    zfsutils-linux nvme-cli unattended-upgrades jq

# Ubuntu's kernel for AWS brings the module; one that is built on the node would wait for headers.
modprobe zfs || echo "10-packages: no zfs module here; the smoke test decides" >&2

# Session Manager's agent is a snap in Ubuntu's images.
if command -v snap >/dev/null && ! snap list amazon-ssm-agent >/dev/null 2>&1; then
    snap install amazon-ssm-agent --classic
fi
