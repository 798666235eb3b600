#!/bin/bash
# What a finished image must be; each check says so. Ends with 1 when any fails. IMAGE_ROOT:
# a mounted image instead of the running system.
set -uo pipefail

readonly ROOT="${IMAGE_ROOT:-}"
failed=0

check() {
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "ok      $what"
    else
        echo "FAILED  $what"
        failed=$((failed + 1))
    fi
}
is_empty() { [[ -z "$("$@")" ]]; }
inside() { if [[ -n "$ROOT" ]]; then chroot "$ROOT" "$@"; else "$@"; fi; }
has_user() { [[ "$(inside id --user fileflux)" == 10001 ]]; }
is_size_zero() { [[ -f "$1" && ! -s "$1" ]]; }

check "the user fileflux has the id of the images" has_user
check "zpool and zfs are there" inside sh -c 'command -v zpool && command -v zfs'
check "the pool's first creation is enabled" test -L "$ROOT/etc/systemd/system/multi-user.target.wants/fileflux-pool-init.service"
check "the scrub timer is enabled" test -L "$ROOT/etc/systemd/system/timers.target.wants/fileflux-scrub.timer"
check "pool.conf can be read" bash -n "$ROOT/etc/fileflux/pool.conf"
check "pool-init can be executed" test -x "$ROOT/usr/local/sbin/fileflux-pool-init"
check "credentials are root's alone" test "$(stat --format=%a "$ROOT/etc/fileflux/credentials" 2>/dev/null)" = 700
check "no credential was left" is_empty find "$ROOT/etc/fileflux/credentials" -type f
check "no host key was left" is_empty find "$ROOT/etc/ssh" -name 'ssh_host_*'
check "no shell remembers" is_empty find "$ROOT/root" "$ROOT/home" -maxdepth 2 -name '*_history' -size +0
check "the machine has no identity yet" is_size_zero "$ROOT/etc/machine-id"
check "no pool will be called another machine's" test ! -e "$ROOT/etc/hostid"
check "no pool of the build is remembered" test ! -e "$ROOT/etc/zfs/zpool.cache"
# While it is built, the system writes logs and Packer needs its key.
if [[ -n "$ROOT" ]]; then
    check "nobody's key is authorized" is_empty find "$ROOT/root" "$ROOT/home" -name authorized_keys -type f -size +0
    check "no log was left" is_empty find "$ROOT/var/log" -type f -size +0
fi

echo "$failed checks failed"
((failed == 0))
