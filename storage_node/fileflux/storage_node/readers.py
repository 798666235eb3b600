"""Find and read bundles: a bounded cache of verified tables, and open files by extent.

What the page cache has is read where we are; what the disk must bring is read in a thread, so that
a slow disk never stops the loop.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from fileflux.core.bundle_view import BundleIndexView, read_index
from fileflux.core.errors import BundleCorrupt, FormatInvalid, NoSuchBundle
from fileflux.core.ids import BundleId
from fileflux.core.model import KIB
from fileflux.storage_node.disk_threads import DiskThreads, Work
from fileflux.storage_node.extent_file import extent_path
from fileflux.storage_node.index_database import Location

OPEN_FILES_MAX: Final = 256
INLINE_BYTES_MAX: Final = 128 * KIB
"""Up to here a read is tried on the loop, if the page cache has it: a copy of some 10 µs."""


class _OpenFile:
    """Closed when nobody reads it any more: a number that is used again would be another file."""

    __slots__ = ("fd",)

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class ExtentFiles:
    """Read-only files of extents, the latest used kept open. Safe to use from threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._open: OrderedDict[int, _OpenFile] = OrderedDict()
        self._can_read_cached = True

    def read(self, extent: int, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; fewer at the file's end. Blocking."""
        file = self._file(extent)
        return os.pread(file.fd, length, offset)

    def read_cached(self, extent: int, offset: int, length: int) -> bytes | None:
        """Return the bytes if the page cache has all of them, else None. Never waits."""
        file = self._open.get(extent)
        if file is None or not self._can_read_cached:
            return None
        memory = bytearray(length)
        try:
            count = os.preadv(file.fd, [memory], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError:
            # ZFS and FUSE do not know how.
            self._can_read_cached = False
            return None
        return bytes(memory) if count == length else None

    def close(self) -> None:
        with self._lock:
            self._open.clear()

    def _file(self, extent: int) -> _OpenFile:
        with self._lock:
            file = self._open.get(extent)
            if file is None:
                file = self._open[extent] = _OpenFile(extent_path(self._directory, extent))
                if len(self._open) > OPEN_FILES_MAX:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(extent)
            return file


class ExtentBundle:
    """A held bundle with its verified tables."""

    __slots__ = ("_files", "_threads", "at", "view")

    def __init__(
        self, view: BundleIndexView, at: Location, files: ExtentFiles, threads: DiskThreads
    ) -> None:
        self.view = view
        self.at = at
        self._files = files
        self._threads = threads

    async def read(self, offset: int, length: int) -> bytes:
        where = (self.at.extent, self.at.offset + offset, length)
        piece = self._files.read_cached(*where) if length <= INLINE_BYTES_MAX else None
        if piece is None:
            piece = await self._threads.run(Work.READ, partial(self._files.read, *where))
        if len(piece) != length:
            raise BundleCorrupt(f"bundle {self.view.header.bundle_id.hex()} ends early")
        return piece


class BundleReaders:
    """The cache. `locate` is called in disk threads."""

    def __init__(
        self,
        directory: Path,
        threads: DiskThreads,
        locate: Callable[[BundleId], Location | None],
        cache_bytes: int,
    ) -> None:
        self._files = ExtentFiles(directory)
        self._threads = threads
        self._locate = locate
        self._cache_bytes = cache_bytes
        self._cached: OrderedDict[BundleId, ExtentBundle] = OrderedDict()
        self._used_bytes = 0
        self._lock = threading.Lock()

    def cached(self, bundle_id: BundleId) -> ExtentBundle | None:
        with self._lock:
            bundle = self._cached.get(bundle_id)
            if bundle is not None:
                self._cached.move_to_end(bundle_id)
            return bundle

    def load(self, bundle_id: BundleId) -> ExtentBundle:
        """Find and verify the bundle's tables. Blocking; raise NoSuchBundle or BundleCorrupt."""
        at = self._locate(bundle_id)
        if at is None:
            raise NoSuchBundle(f"bundle {bundle_id.hex()} is not held")
        try:
            view = read_index(
                lambda offset, length: self._files.read(at.extent, at.offset + offset, length)
            )
        except FormatInvalid as error:
            raise BundleCorrupt(f"bundle {bundle_id.hex()} is not where it was") from error
        if view.header.bundle_id != bundle_id or view.header.size != at.length:
            raise BundleCorrupt(f"bundle {bundle_id.hex()} is not where it was")
        return self.remember(view, at)

    def remember(self, view: BundleIndexView, at: Location) -> ExtentBundle:
        """Cache a view, without its meta."""
        bundle = ExtentBundle(view.without_meta(), at, self._files, self._threads)
        with self._lock:
            self._drop(view.header.bundle_id)
            self._cached[view.header.bundle_id] = bundle
            self._used_bytes += bundle.view.memory_bytes
            while self._used_bytes > self._cache_bytes and self._cached:
                self._drop(next(iter(self._cached)))
        return bundle

    def forget(self, bundle_id: BundleId) -> None:
        with self._lock:
            self._drop(bundle_id)

    def close(self) -> None:
        self._files.close()

    def _drop(self, bundle_id: BundleId) -> None:
        bundle = self._cached.pop(bundle_id, None)
        if bundle is not None:
            self._used_bytes -= bundle.view.memory_bytes
