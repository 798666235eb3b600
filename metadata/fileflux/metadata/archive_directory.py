"""An archive in a directory: a disk or a mounted share that FileFlux does not live on.

An object is written under a name that no reader looks at, synced, and then given its own name by a
link, which fails where there is one already. Then the directory is synced: what was said to be
archived is there after a power cut.
"""

import asyncio
import os
import secrets
import time
from bisect import bisect_left, bisect_right
from contextlib import suppress
from pathlib import Path
from typing import Final

from fileflux.core.failpoints import failpoint
from fileflux.metadata.archive import (
    AlreadyArchived,
    ArchiveUnavailable,
    NotArchived,
    Probe,
)

PART: Final = ".part"
ABANDONED_AFTER_S: Final = 24 * 3600.0
"""A part that is older belongs to a writer that was killed."""
SETTLED_AFTER_NS: Final = 10_000_000_000
"""A folder that changed later than this may change again within its time stamp's resolution."""


class DirectoryArchive:
    """The port `Archive`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[str, tuple[int, list[str]]] = {}

    async def put(self, name: str, body: bytes) -> None:
        await asyncio.to_thread(self._put, name, body)

    async def get(self, name: str) -> bytes:
        return await asyncio.to_thread(self._get, name)

    async def names(self, prefix: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        return await asyncio.to_thread(self._names, prefix, after, limit)

    async def leave_probe(self) -> Probe | None:
        return None  # No directory is an S3 endpoint.

    def _put(self, name: str, body: bytes) -> None:
        path = self._root / name
        try:
            _make_directory(path.parent)
            _drop_abandoned(path.parent)
            part = path.parent / f".{path.name}.{secrets.token_hex(8)}{PART}"
            try:
                _write_synced(part, body)
                failpoint("archive.before_link")
                os.link(part, path)
            finally:
                part.unlink(missing_ok=True)
            _sync_directory(path.parent)
        except FileExistsError:
            _sync_directory(path.parent)  # Whoever linked it may not have come to that.
            raise AlreadyArchived(f"{name} is in the archive") from None
        except OSError as error:
            raise ArchiveUnavailable(f"{name} cannot be archived: {error}") from error

    def _get(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            raise NotArchived(f"{name} is not in the archive") from None
        except OSError as error:
            raise ArchiveUnavailable(f"{name} cannot be read: {error}") from error

    def _names(self, prefix: str, after: str, limit: int) -> list[str]:
        folder, _, _ = prefix.rpartition("/")
        names = self._listing(folder)
        start = max(bisect_left(names, prefix), bisect_right(names, after))
        found = names[start : start + limit]
        return [name for name in found if name.startswith(prefix)]

    def _listing(self, folder: str) -> list[str]:
        """Return a folder's names in order; read again only if the folder may have changed."""
        path = self._root / folder
        try:
            changed_ns = path.stat().st_mtime_ns
            known_ns, names = self._listed.get(folder, (0, []))
            if changed_ns == known_ns:
                return names
            inside = [one.name for one in path.iterdir() if not one.name.endswith(PART)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ArchiveUnavailable(f"the archive cannot be listed: {error}") from error
        names = sorted(f"{folder}/{name}" for name in inside)
        if time.time_ns() - changed_ns > SETTLED_AFTER_NS:
            self._listed[folder] = changed_ns, names
        return names


def _write_synced(path: Path, body: bytes) -> None:
    with path.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _make_directory(path: Path) -> None:
    """Make a directory and those above it, each synced into its own, for nobody else to read."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)  # Every event lies there in clear.
    _sync_directory(path.parent)


def _drop_abandoned(directory: Path) -> None:
    limit = time.time() - ABANDONED_AFTER_S
    for part in directory.glob(f".*{PART}"):
        with suppress(FileNotFoundError):
            if part.stat().st_mtime < limit:
                part.unlink()


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
