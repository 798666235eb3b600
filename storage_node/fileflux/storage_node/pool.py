"""The pool behind a node: its figures, whoever provides them.

`statvfs` says what the dataset can still take, on every file system; the `zfs` backend adds what
only ZFS knows. Blocking calls run in threads under a deadline.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

ST_RDONLY: Final = os.ST_RDONLY
ONLINE: Final = "ONLINE"
HEALTH_CODES: Final = {
    "ONLINE": 0,
    "DEGRADED": 1,
    "FAULTED": 2,
    "OFFLINE": 3,
    "UNAVAIL": 4,
    "REMOVED": 5,
    "SUSPENDED": 6,
}
"""The exporter's numbers; anything else is 7."""
UNKNOWN_HEALTH_CODE: Final = 7


@dataclass(frozen=True, slots=True)
class Space:
    """What the dataset can hold and still take, in bytes."""

    total_bytes: int
    free_bytes: int
    is_read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemFigures:
    name: str
    used_bytes: int
    available_bytes: int
    referenced_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCondition:
    """What `zpool status` tells beside the figures. `scrubbed_s`: when the last scrub ended, in
    seconds since 1970; None: never. Errors are those of all disks since the last clear."""

    scrubbed_s: float | None
    read_errors: int
    write_errors: int
    checksum_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFigures:
    """One look at the pool. None: this ZFS does not tell."""

    name: str
    size_bytes: int
    allocated_bytes: int
    free_bytes: int
    capacity_percent: float
    fragmentation_percent: float | None
    health: str
    filesystems: tuple[FilesystemFigures, ...]
    condition: PoolCondition | None = None

    @property
    def health_code(self) -> int:
        return HEALTH_CODES.get(self.health, UNKNOWN_HEALTH_CODE)


class PoolBackend(Protocol):
    """Asks for the figures."""

    async def figures(self) -> PoolFigures:
        """Return the pool's figures; raise OSError when they cannot be had in time."""


class DirectoryBackend:
    """A data directory on any file system: the file system is the pool."""

    def __init__(self, directory: Path, *, name: str = "directory") -> None:
        self._directory = directory
        self._name = name

    async def figures(self) -> PoolFigures:
        raw = await asyncio.to_thread(os.statvfs, self._directory)
        size, free = raw.f_blocks * raw.f_frsize, raw.f_bavail * raw.f_frsize
        used = (raw.f_blocks - raw.f_bfree) * raw.f_frsize
        filesystem = FilesystemFigures(
            name=str(self._directory),
            used_bytes=used,
            available_bytes=free,
            referenced_bytes=used,
        )
        return PoolFigures(
            name=self._name,
            size_bytes=size,
            allocated_bytes=used,
            free_bytes=free,
            capacity_percent=100 * used / size if size else 100.0,
            fragmentation_percent=None,
            health=ONLINE,
            filesystems=(filesystem,),
        )


def space_of(directory: Path) -> Space:
    """Return the dataset's space. Blocking."""
    raw = os.statvfs(directory)
    return Space(
        total_bytes=raw.f_blocks * raw.f_frsize,
        free_bytes=raw.f_bavail * raw.f_frsize,
        is_read_only=bool(raw.f_flag & ST_RDONLY),
    )
