"""What `zpool` says about a pool, read once, and what must not be done to it.

OpenZFS 2.x and zfs-fuse 0.7 are understood; the second knows no `status -P` and no `expandsize`.
Modules in `library/` use this; nothing here changes a pool.
"""

import os
import re
from pathlib import Path

COMMANDS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
LABEL_BYTES = 4 * 2**20 + 2**19
"""What ZFS keeps of each disk for labels and boot block: 4.5 MiB (OpenZFS, vdev_impl.h)."""
NO_DATA_VDEVS = ("logs", "cache", "spares", "special", "dedup")
INTERIM = ("replacing", "spare")
REDUNDANT = re.compile(r"^(mirror|raidz[123]?)-\d+$")


class PoolProblem(Exception):
    """The sentence for the person: what is wrong, and what to do."""


class Zpool:
    """Runs `zpool`, `zdb` and `wipefs` by argument lists, with a plain locale."""

    def __init__(self, module, name):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", name):
            raise PoolProblem(f"{name!r} is no name of a pool")
        self.module = module
        self.name = name

    def run(self, *arguments):
        """Return (exit status, output, error output)."""
        environment = {"LC_ALL": "C", "PATH": COMMANDS}
        return self.module.run_command(list(arguments), environ_update=environment)

    def must(self, *arguments):
        status, output, errors = self.run(*arguments)
        if status:
            raise PoolProblem(f"{' '.join(arguments)}: {errors.strip() or output.strip()}")
        return output

    def topology(self):
        """Return the pool as a dictionary, or None when there is none. Raise PoolProblem."""
        status, output, errors = self.run("zpool", "status", "-P", self.name)
        if status and "invalid option" in errors:
            status, output, errors = self.run("zpool", "status", self.name)
        if status:
            if "no such pool" in errors or "no pools available" in errors + output:
                return None
            raise PoolProblem(f"zpool status: {errors.strip() or output.strip()}")
        return parse_status(output, self.name)

    def expandable_bytes(self, topology):
        """How much `zpool online -e` would add: what ZFS says, or what the labels say."""
        status, output, _ = self.run("zpool", "get", "-Hp", "-o", "value", "expandsize", self.name)
        if status == 0:
            text = output.strip()
            return int(text) if text.isdigit() else 0
        return sum(self._room(vdev["disks"]) for vdev in topology["vdevs"])

    def _room(self, disks):
        """Whole metaslabs that a top-level vdev could gain from its smallest disk."""
        paths = [disk["path"] for disk in disks]
        if not all(Path(path).exists() for path in paths):
            return 0
        label = self.must("zdb", "-l", paths[0])
        asize, shift = (
            int(re.search(rf"^\s*{key}[:=]\s*(\d+)", label, re.M).group(1))
            for key in ("asize", "metaslab_shift")
        )
        factor = len(paths) if re.search(r"type[:=]\s*'raidz'", label) else 1
        usable = (min(map(size_of, paths)) - LABEL_BYTES) * factor
        return max(0, (usable >> shift) - (asize >> shift)) << shift

    def what_holds(self, disk):
        """Say what is on a disk ("ext4", "zfs_member"), or "" for an empty one."""
        status, output, _ = self.run("wipefs", "--no-act", "--noheadings", "--output", "TYPE", disk)
        if status:
            raise PoolProblem(f"{disk} cannot be read: is it attached to this node?")
        return ", ".join(sorted(set(output.split())))


def size_of(path):
    """Bytes of a block device or a file."""
    with Path(path).open("rb") as disk:
        return disk.seek(0, os.SEEK_END)


def parse_status(text, name):
    """`zpool status` → health, scan, and the data vdevs with their disks in order."""
    fields = dict(re.findall(r"^ *(state|scan|scrub): (.*(?:\n\t? {4,}\S.*)*)", text, re.M))
    scan = fields.get("scan", fields.get("scrub", "none requested"))
    return {
        "name": name,
        "state": fields.get("state", "UNKNOWN"),
        "scan": " ".join(scan.split()),
        "is_resilvering": "resilver in progress" in scan,
        "is_scrubbing": "scrub in progress" in scan,
        "errors": "".join(re.findall(r"^errors: (.*)", text, re.M)),
        "vdevs": _data_vdevs(_config_lines(text), name),
    }


def _config_lines(text):
    """(depth, name, state, errors counted) of each line of the configuration."""
    match = re.search(r"^config:\n(.*?)(?=^errors:|\Z)", text, re.M | re.S)
    for line in (match.group(1) if match else "").splitlines():
        words = line.split()
        if not words or words[0] == "NAME":
            continue
        depth = (len(line) - len(line.lstrip("\t "))) // 2
        counts = sum(int(word) for word in words[2:5] if word.isdigit())
        yield depth, words[0], words[1] if len(words) > 1 else "", counts


def _data_vdevs(lines, pool):
    vdevs, base, in_data, side = [], None, False, None
    for depth, name, state, count in lines:
        if name == pool and base is None:
            base, in_data = depth, True
        elif base is None or depth <= base:
            in_data = False
        elif in_data and depth == base + 1:
            vdevs.append({"name": name, "state": state, "kind": kind_of(name), "disks": []})
            side = None
            if vdevs[-1]["kind"] == "disk":
                vdevs[-1]["disks"].append(_disk(name, state, count, 0))
        elif in_data and depth == base + 2:
            side = 0 if side is None else side + 1
            if not name.startswith(tuple(f"{word}-" for word in INTERIM)):
                vdevs[-1]["disks"].append(_disk(name, state, count, side))
        elif in_data:
            vdevs[-1]["disks"].append(_disk(name, state, count, side))
    return vdevs


def _disk(name, state, count, side):
    # Without -P names are given from /dev on; a lost disk has only its number.
    path = name if name.startswith("/") or name.isdigit() else f"/dev/{name}"
    path = re.sub(r"-part1$", "", path)
    return {"path": path, "state": state, "errors": count, "side": side}


def kind_of(name):
    """mirror, raidz1, raidz2, raidz3, or disk for one without redundancy."""
    match = REDUNDANT.match(name)
    if not match:
        return "disk"
    return "raidz1" if match.group(1) == "raidz" else match.group(1)


def spare_disks(kind, count):
    """How many disks of such a vdev may be lost without loss of data."""
    if kind == "mirror":
        return count - 1
    return int(kind[-1]) if kind.startswith("raidz") else 0


def sides(vdev):
    return len({disk["side"] for disk in vdev["disks"]})


def redundancy(topology):
    """The weakest vdev's: the pool is lost with its first lost vdev."""
    return min((spare_disks(vdev["kind"], sides(vdev)) for vdev in topology["vdevs"]), default=0)


def vdev_with(topology, disk):
    """The vdev that has a disk, or None. Symbolic links are the same disk."""
    wanted = {disk, os.path.realpath(disk)}
    for vdev in topology["vdevs"]:
        if any({one["path"], os.path.realpath(one["path"])} & wanted for one in vdev["disks"]):
            return vdev
    return None


def refuse_unhealthy(topology):
    """Raise PoolProblem unless every disk is there and nothing is being copied."""
    if topology["is_resilvering"]:
        raise PoolProblem(f"{topology['name']} is resilvering: wait until it is done")
    bad = [
        f"{disk['path']} {disk['state']}"
        for vdev in topology["vdevs"]
        for disk in vdev["disks"]
        if disk["state"] != "ONLINE"
    ]
    if topology["state"] != "ONLINE" or bad:
        what = "; ".join(bad) or topology["state"]
        raise PoolProblem(f"{topology['name']} is not whole ({what}): run replace_disk.yml first")


def refuse_weaker(topology, kind, count):
    """Raise PoolProblem when a new vdev would be the weakest, or of another kind."""
    kinds = {vdev["kind"] for vdev in topology["vdevs"]}
    if kinds != {kind}:
        raise PoolProblem(f"{topology['name']} has {', '.join(sorted(kinds))}: no {kind} is added")
    before, after = redundancy(topology), spare_disks(kind, count)
    if after < before:
        raise PoolProblem(
            f"{topology['name']} survives {before} lost disks in each vdev, with a {kind} of "
            f"{count} it would survive {after}: nothing is added"
        )
