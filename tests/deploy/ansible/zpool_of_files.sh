#!/bin/sh
# Stands before zfs-fuse's zpool in tests: disks are files here, and zfs-fuse sees a file's new size
# only when it opens it again. So `online -e` takes the side out and in; a kernel's disk needs no such thing.
real=/run/zfs/zpool
if [ "$1 $2" = "online -e" ]; then
    # The other side may still take in what it missed: refused until then.
    tries=100
    until $real offline "$3" "$4"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || exit 1
        sleep 0.1
    done
fi
exec $real "$@"
