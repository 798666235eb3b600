"""Files that survive a power cut under the name they were given. Blocking: run in a disk thread.

On ZFS an fsync of the directory does nothing, and a file that was synced before its rename keeps
its temporary name through a crash; on ext4 the directory's fsync is what counts. So: write, fsync,
rename, fsync the file again, fsync the directory.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from fileflux.core.checksum import Buffer
from fileflux.core.model import KIB

IOV_MAX: Final = 1_024
DRAFT_SUFFIX: Final = ".tmp"
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
"""Errors that say "full" and nothing about the disk's health."""
PROBE_FILE: Final = "room"
PROBE_BYTES: Final = 64 * KIB

Write = Callable[[int, Sequence[Buffer], int], int]
"""pwritev: (file, buffers, offset) → bytes written, perhaps fewer than there are."""


def make_durable_file(path: Path, content: bytes) -> None:
    """Make or replace `path`, whole or not at all. Raise OSError."""
    draft = path.with_name(path.name + DRAFT_SUFFIX)
    fd = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, [content], 0)
        os.fsync(fd)
        draft.replace(path)
        os.fsync(fd)
    except OSError:
        # A full disk is where it fails, and there the draft would keep the last room.
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    sync_directory(path.parent)


def make_durable_directory(path: Path) -> None:
    """Make `path` and what it lies in, if they are not there: each is an entry in its parent."""
    if path.is_dir():
        return
    make_durable_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def has_room(directory: Path) -> bool:
    """Return whether a little can still be written: only that tells a quota that is used up."""
    probe = directory / PROBE_FILE
    try:
        make_durable_file(probe, os.urandom(PROBE_BYTES))
    except OSError as error:
        return error.errno not in NO_ROOM
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return True


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, buffers: Sequence[Buffer], offset: int, write: Write = os.pwritev) -> int:
    """Write every byte, however short the single writes; return the offset behind the last one."""
    left = [memoryview(buffer) for buffer in buffers if len(buffer)]
    while left:
        count = write(fd, left[:IOV_MAX], offset)
        if count <= 0:
            raise OSError("a write made no progress")
        offset += count
        while left and count >= len(left[0]):
            count -= len(left[0])
            left.pop(0)
        if count:
            left[0] = left[0][count:]
    return offset
