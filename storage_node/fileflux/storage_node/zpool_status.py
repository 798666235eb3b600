"""`zpool status`, which is made for people: the last scrub and the errors of the disks.

OpenZFS 2 and zfs-fuse 0.7 write the same lines, but for the words around the date.
"""

import re
from datetime import datetime
from typing import Final

from fileflux.storage_node.pool import PoolCondition

SCAN: Final = re.compile(r"scru\w+ (?:repaired|completed).*? on (\w{3} \w{3} +\d+ [\d:]{8} \d{4})")
DATE: Final = "%a %b %d %H:%M:%S %Y"
HEADER: Final = re.compile(r"^\s*NAME\s+STATE\s+READ\s+WRITE\s+CKSUM\s*$")
ROW: Final = re.compile(r"^\t(\s*)(\S+)\s+([A-Z]+)\s+(\S+)\s+(\S+)\s+(\S+)")
SUFFIXES: Final = {"K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}


def parse_status(text: str) -> PoolCondition:
    """Return what it tells; counts above 999 are rounded by ZFS (`1.2K`).

    The pool's own row counts what no redundancy mended, the disks' rows what each met: the sum is
    that of the rows that have no rows below them.
    """
    match = SCAN.search(text)
    read, write, checksum = (sum(column) for column in zip(*_disks(text), strict=True))
    return PoolCondition(
        scrubbed_s=_seconds(match[1]) if match else None,
        read_errors=read,
        write_errors=write,
        checksum_errors=checksum,
    )


def _seconds(date: str) -> float | None:
    """ZFS writes local time without its zone, as this process has it."""
    try:
        return datetime.strptime(date, DATE).astimezone().timestamp()
    except ValueError:
        return None


def _disks(text: str) -> list[tuple[int, int, int]]:
    rows: list[tuple[int, tuple[int, int, int]]] = []
    inside = False
    for line in text.splitlines():
        inside = inside or HEADER.match(line) is not None
        match = ROW.match(line) if inside else None
        if match and match[2] != "NAME":
            rows.append((len(match[1]), (_count(match[4]), _count(match[5]), _count(match[6]))))
    following = [*(depth for depth, _ in rows[1:]), 0][: len(rows)]
    return [
        counts for (depth, counts), after in zip(rows, following, strict=True) if after <= depth
    ] or [(0, 0, 0)]


def _count(text: str) -> int:
    """`0`, `17`, `1.20K`; what is no number counts as none."""
    factor = SUFFIXES.get(text[-1:].upper(), 1)
    try:
        return round(float(text.rstrip("KMBGTkmbgt")) * factor)
    except ValueError:
        return 0
