"""What other workers of a host see of its staging directory: bundles, and what the dead left."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from fileflux.core.errors import NoSuchBundle, Unavailable
from fileflux.core.ids import BundleId, Incarnation, SealId
from fileflux.core.telemetry import get_logger
from fileflux.ingest.staging import Inheritance, StagedReader
from fileflux.ingest.staging_disk import INLINE_BYTES_MAX, in_thread, unlink, unlink_all
from fileflux.ingest.staging_folder import BUNDLE, LOCK, NOTE, Folder, parse_name, try_lock

log = get_logger(__name__)


class FileHost:
    """The directory of a host, with every incarnation in it."""

    def __init__(self, root: Path, *, base_url: str) -> None:
        self._root = root
        self._base_url = base_url

    async def open(self, incarnation: Incarnation, bundle_id: BundleId) -> StagedReader:
        path = f"{self._root}/{incarnation.hex()}/{bundle_id.hex()}{BUNDLE}"
        try:
            return _FileReader(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            raise NoSuchBundle(f"bundle {bundle_id.hex()} is not staged") from None

    async def adopt(self) -> Inheritance | None:
        return await asyncio.to_thread(self._adopt)

    def _adopt(self) -> "FileInheritance | None":
        for path in sorted(self._root.iterdir()):
            incarnation = parse_name(path.name)
            if incarnation is None:
                continue
            lock_fd = try_lock(path)
            if lock_fd is not None:
                made = Incarnation(incarnation)
                return FileInheritance(path, made, lock_fd=lock_fd, base_url=self._base_url)
        return None


class _FileReader:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    async def read(self, start: int, length: int) -> bytes:
        if length <= INLINE_BYTES_MAX:
            return os.pread(self._fd, length, start)
        return await in_thread(lambda: os.pread(self._fd, length, start))

    def close(self) -> None:
        os.close(self._fd)


class FileInheritance(Folder):
    """A dead incarnation's directory, locked by us."""

    def __init__(
        self, path: Path, incarnation: Incarnation, *, lock_fd: int, base_url: str
    ) -> None:
        super().__init__(path, incarnation, base_url)
        self._lock_fd = lock_fd

    @property
    def bundle_ids(self) -> Sequence[BundleId]:
        return [BundleId(raw) for raw in self._ids(BUNDLE)]

    async def read_notes(self) -> dict[SealId, bytes]:
        ids = [SealId(raw) for raw in self._ids(NOTE)]
        return {seal_id: await self._read_note(seal_id) for seal_id in ids}

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None:
        await asyncio.to_thread(unlink_all, [self._bundle(each) for each in bundle_ids])

    async def hold(self) -> None:
        """The lock holds it."""

    async def discard(self) -> None:
        await asyncio.to_thread(self._discard)

    async def _read_note(self, seal_id: SealId) -> bytes:
        """Return nothing of a note that the disk cannot read: the others were promised as much."""
        try:
            return await in_thread(Path(self._note(seal_id)).read_bytes)
        except Unavailable as error:
            log.warning("a note cannot be read", seal_id=seal_id.hex(), problem=str(error))
            return b""

    def _ids(self, suffix: str) -> list[bytes]:
        names = [path.name for path in self._path.iterdir() if path.name.endswith(suffix)]
        return [raw for name in sorted(names) if (raw := parse_name(name[: -len(suffix)]))]

    def _discard(self) -> None:
        for path in self._path.iterdir():
            if path.name != LOCK:
                path.unlink(missing_ok=True)
        # The lock goes last: until then nobody else may take what is left.
        unlink(f"{self._prefix}{LOCK}")
        self._path.rmdir()
        os.close(self._lock_fd)
