#!/bin/bash
# The node's user, limits, units and settings. Run again, it changes nothing.
set -euo pipefail

readonly FILES="${FILEFLUX_FILES:-/tmp/fileflux-files}"
readonly NODE_UID=10001 # The user of FileFlux's images: files of the pool are theirs.

if ! getent passwd fileflux >/dev/null; then
    groupadd --gid "$NODE_UID" fileflux
    useradd --uid "$NODE_UID" --gid "$NODE_UID" --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin fileflux
fi
if [[ "$(id --user fileflux)" != "$NODE_UID" ]]; then
    echo "20-node: the user fileflux has another id than $NODE_UID, which owns the pool's files" >&2
    exit 1
fi

install -d -m 0755 /etc/fileflux
install -d -m 0700 /etc/fileflux/credentials
install -D -m 0755 "$FILES/fileflux-pool-init" /usr/local/sbin/fileflux-pool-init
[[ -e /etc/fileflux/pool.conf ]] || install -D -m 0644 "$FILES/pool.conf" /etc/fileflux/pool.conf
install -D -m 0644 "$FILES/90-fileflux.sysctl.conf" /etc/sysctl.d/90-fileflux.conf
install -D -m 0644 "$FILES/fileflux.limits.conf" /etc/security/limits.d/fileflux.conf
install -D -m 0644 "$FILES/zfs.modprobe.conf" /etc/modprobe.d/fileflux-zfs.conf
install -D -m 0644 "$FILES/52fileflux-upgrades" /etc/apt/apt.conf.d/52fileflux-upgrades
for unit in fileflux-pool-init.service fileflux-node.service fileflux-scrub.service fileflux-scrub.timer; do
    install -D -m 0644 "$FILES/$unit" "/etc/systemd/system/$unit"
done

# Whichever of them the base image has; a drop-in for a unit that is not there does nothing.
for kubelet in kubelet.service snap.kubelet-eks.daemon.service; do
    install -D -m 0644 "$FILES/kubelet-pool.conf" "/etc/systemd/system/$kubelet.d/fileflux-pool.conf"
done

systemctl daemon-reload
systemctl enable fileflux-pool-init.service fileflux-scrub.timer unattended-upgrades.service
# In Kubernetes the node is a pod; outside it, whoever installs FileFlux enables this.
systemctl disable fileflux-node.service
