#!/bin/bash
# Nothing of this build stays in the image: no key, no identity, no log, no history.
set -euo pipefail

readonly ROOT="${IMAGE_ROOT:-}"

rm -rf "$ROOT"/tmp/fileflux-files "$ROOT"/var/lib/apt/lists/* "$ROOT"/var/cache/apt/archives/*.deb
rm -f "$ROOT"/etc/ssh/ssh_host_*
# Packer takes its own key out of authorized_keys last (ssh_clear_authorized_keys).
find "$ROOT/root" "$ROOT/home" -maxdepth 2 -name '*_history' -type f -delete
find "$ROOT/var/log" -type f -exec truncate --size=0 {} +
rm -rf "$ROOT"/var/lib/cloud/instance "$ROOT"/var/lib/cloud/instances/*
# An empty machine-id is filled at the first boot; a copied one would be every node's.
: > "$ROOT/etc/machine-id"
rm -f "$ROOT"/var/lib/dbus/machine-id "$ROOT"/etc/zfs/zpool.cache
# Without a hostid ZFS writes no owner into a pool: the disks of a machine that died are imported by the
# next one unforced. A volume of EBS is attached to one machine at a time, which is what guards it.
rm -f "$ROOT"/etc/hostid
