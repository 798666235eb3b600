"""One extent: append, fsync, cut back, seal. Blocking, and used by one thread at a time.

What has not been synced is not there: `durable_end` is the only length that anybody is told.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from fileflux.core.checksum import Buffer
from fileflux.storage_node.durable_files import NO_ROOM, make_durable_file, write_all
from fileflux.storage_node.extent_format import (
    HEADER_SIZE_BYTES,
    ExtentHeader,
    encode_footer,
    encode_header,
)

EXTENT_SUFFIX: Final = ".ffx"
CLOSED_FD: Final = -1


class DiskFailed(Exception):
    """The disk refused what it must not refuse: nothing it says is believed any more."""


class Disk(Protocol):
    """The calls that a disk may fail: what a fault test replaces."""

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int, /) -> int: ...

    def fdatasync(self, fd: int, /) -> None: ...

    def ftruncate(self, fd: int, length: int, /) -> None: ...

    def free_bytes(self, path: Path, /) -> int: ...


class OsDisk:
    """The operating system's."""

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int, /) -> int:
        return os.pwritev(fd, buffers, offset)

    def fdatasync(self, fd: int, /) -> None:
        os.fdatasync(fd)

    def ftruncate(self, fd: int, length: int, /) -> None:
        os.ftruncate(fd, length)

    def free_bytes(self, path: Path, /) -> int:
        figures = os.statvfs(path)
        return figures.f_bavail * figures.f_frsize


def extent_path(directory: Path, number: int) -> Path:
    return directory / f"{number:010d}{EXTENT_SUFFIX}"


def extent_numbers(directory: Path) -> list[int]:
    """Return the numbers of all extents, ascending. Temporary files are no extents.

    Raise OSError. A pattern would take a directory that cannot be listed for an empty one.
    """
    stems = [path.stem for path in directory.iterdir() if path.suffix == EXTENT_SUFFIX]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


@dataclass(slots=True)
class ExtentFile:
    """The open extent. `durable_end`: up to where it survives a power cut.

    `has_leftover`: behind that are bytes of a failed append that could not be taken away.
    """

    number: int
    path: Path
    fd: int
    durable_end: int
    disk: Disk
    written_end: int = 0
    has_leftover: bool = False

    @classmethod
    def create(cls, directory: Path, header: ExtentHeader, disk: Disk) -> "ExtentFile":
        """Make a new extent under its final name, durably. Raise OSError.

        Raise DiskFailed when there is one with records: then we do not know what is here.
        """
        path = extent_path(directory, header.number)
        if path.exists() and path.stat().st_size > HEADER_SIZE_BYTES:
            raise DiskFailed(f"{path} is there already")
        make_durable_file(path, encode_header(header))
        return cls.open(path, header.number, HEADER_SIZE_BYTES, disk)

    @classmethod
    def open(cls, path: Path, number: int, end: int, disk: Disk) -> "ExtentFile":
        """Go on appending at `end`, which a scan found to be durable and whole."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return cls(number, path, fd, end, disk, end)

    def close(self) -> None:
        """Close it. A number that is used again would be another file, so it is forgotten."""
        fd, self.fd = self.fd, CLOSED_FD
        os.close(fd)

    def append(self, buffers: Sequence[Buffer]) -> list[int]:
        """Write all buffers behind each other; return their offsets. Not durable yet.

        Raise OSError, with the file as it was before, or DiskFailed.
        """
        offsets = []
        end = self.written_end
        for buffer in buffers:
            offsets.append(end)
            end += len(buffer)
        try:
            write_all(self.fd, buffers, self.written_end, self.disk.pwritev)
        except OSError:
            self.cut_back()
            raise
        self.written_end = end
        return offsets

    def sync(self) -> None:
        """Make everything written durable. Raise DiskFailed, and take away what it covered.

        Never tried again: the kernel may have dropped the pages that it could not write, and the
        next sync would report success.
        """
        try:
            self.disk.fdatasync(self.fd)
        except OSError as error:
            with contextlib.suppress(DiskFailed):
                self.cut_back()
            raise DiskFailed(f"a sync failed: {error}") from error
        self.durable_end = self.written_end

    def cut_back(self) -> None:
        """Take away what was written and not synced. Raise DiskFailed.

        A full disk may have no room even for that; then the next append writes over it.
        """
        try:
            self.disk.ftruncate(self.fd, self.durable_end)
            self.has_leftover = False
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise DiskFailed(f"a file cannot be cut back: {error}") from error
            self.has_leftover = True
        self.written_end = self.durable_end

    def seal(self, table: Buffer) -> None:
        """Write the footer with these encoded rows, durably. Raise OSError or DiskFailed."""
        assert self.written_end == self.durable_end, "only a synced extent is sealed"
        if self.has_leftover:
            self.disk.ftruncate(self.fd, self.durable_end)
        self.append([encode_footer(table, self.durable_end)])
        self.sync()
