"""A directory per incarnation: its names, and the lock that says that its owner lives."""

import fcntl
import os
from pathlib import Path
from typing import Final

from fileflux.core.ids import BundleId, Incarnation, SealId, parse_id
from fileflux.ingest.staging import staging_url
from fileflux.ingest.staging_disk import in_thread, unlink, write_file

LOCK: Final = "lock"
BUNDLE: Final = ".bundle"
NOTE: Final = ".seal"


class Folder:
    """One incarnation's directory: what a living owner and an heir have in common."""

    def __init__(self, path: Path, incarnation: Incarnation, base_url: str) -> None:
        self.incarnation = incarnation
        self._path = path
        self._prefix = f"{path}/"
        self._base_url = base_url

    async def source_url(self, bundle_id: BundleId) -> str:
        return staging_url(self._base_url, self.incarnation, bundle_id)

    async def keep_note(self, seal_id: SealId, record: bytes) -> None:
        await in_thread(lambda: write_file(self._note(seal_id), [record], sync=True))

    async def drop_note(self, seal_id: SealId) -> None:
        await in_thread(lambda: unlink(self._note(seal_id)))

    def _bundle(self, bundle_id: BundleId) -> str:
        return f"{self._prefix}{bundle_id.hex()}{BUNDLE}"

    def _note(self, seal_id: SealId) -> str:
        return f"{self._prefix}{seal_id.hex()}{NOTE}"


def try_lock(folder: Path) -> int | None:
    """Return the locked file; None when another process holds it, or has just removed it."""
    path = folder / LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino == path.stat().st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass  # Somebody's, or gone since we opened it.
    os.close(fd)
    return None


def parse_name(name: str) -> bytes | None:
    try:
        return parse_id(name)
    except ValueError:
        return None
