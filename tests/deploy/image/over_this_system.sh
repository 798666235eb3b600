# The node script of the image and its smoke test, over this system: each folder that they write to
# gets a layer in a tmpfs, which ends with the namespace. systemctl is noted and does what it would.
#   unshare --mount … bash over_this_system.sh FOLDER packer/
set -eu
layers=$1 packer=$2

mount -t tmpfs tmpfs "$layers"
for name in etc root home var/log usr/local/sbin; do
    layer="$layers/${name//\//-}"
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay overlay -o "lowerdir=/$name,upperdir=$layer/upper,workdir=$layer/work" "/$name"
done

mkdir "$layers/bin"
cat > "$layers/bin/systemctl" <<'SHIM'
#!/bin/bash
echo "systemctl $*"
[[ "$1" == enable ]] || exit 0
for unit in "${@:2}"; do
    if [[ "$unit" == *.timer ]]; then want=timers; else want=multi-user; fi
    mkdir -p "/etc/systemd/system/$want.target.wants"
    ln -sf "/etc/systemd/system/$unit" "/etc/systemd/system/$want.target.wants/$unit"
done
SHIM
chmod +x "$layers/bin/systemctl"
export PATH="$layers/bin:$PATH" FILEFLUX_FILES="$packer/files"

digests() {
    find /etc/fileflux /etc/systemd/system /etc/sysctl.d /usr/local/sbin -type f -exec sha256sum {} + | sort
}
bash "$packer/scripts/20-node.sh"
digests > "$layers/first"
bash "$packer/scripts/20-node.sh"
digests > "$layers/second"
cmp "$layers/first" "$layers/second"

# What 90-clean.sh does outside these layers is not for this machine.
rm -f /etc/ssh/ssh_host_* /etc/zfs/zpool.cache /etc/hostid
: > /etc/machine-id
find /root /home -maxdepth 2 -name '*_history' -type f -delete
bash "$packer/smoke/smoke.sh"
