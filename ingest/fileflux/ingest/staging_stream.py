"""A staged bundle that is written piece by piece, under a draft's name until it is whole."""

import contextlib
import os
from collections.abc import Iterator, Sequence

from fileflux.core.checksum import Buffer
from fileflux.core.ids import BundleId
from fileflux.ingest.staging import Budget, total_size
from fileflux.ingest.staging_disk import DRAFT, create, in_thread, publish, unlink_all, write_all


class StreamedFile:
    """Its owner calls one method at a time. What a thread still does after a time-out or a
    cancellation ends before the file is dropped: a descriptor in use is never closed.
    """

    def __init__(
        self, budget: Budget, sizes: dict[BundleId, int], bundle_id: BundleId, path: str
    ) -> None:
        self._budget = budget
        self._sizes = sizes
        self._bundle_id = bundle_id
        self._path = path
        self._draft = path + DRAFT
        self._fd = -1
        self._size = 0
        self._ended = False
        self._in_use = False

    async def append(self, parts: Sequence[Buffer]) -> None:
        self._take(total_size(parts))
        self._in_use = True  # From here on: a thread that is still to begin would come too late.
        await in_thread(lambda: self._append(parts), undo=self._drop)

    async def finish(self, *, header: bytes, tail: bytes, sync: bool = False) -> None:
        self._take(len(tail))
        self._in_use = True
        await in_thread(lambda: self._finish(header, tail, sync=sync), undo=self._drop)
        self._sizes[self._bundle_id] = self._size
        self._ended = True

    async def abandon(self) -> None:
        if not self._in_use:
            self._drop()

    def _take(self, size: int) -> None:
        assert not self._ended, "the file is finished or gone"
        self._budget.take(size)
        self._size += size

    def _drop(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._budget.give_back(self._size)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        unlink_all([self._draft, self._path])

    def _append(self, parts: Sequence[Buffer]) -> None:
        with self._using():
            if self._fd < 0:
                self._fd = create(self._draft)
            write_all(self._fd, parts)

    def _finish(self, header: bytes, tail: bytes, *, sync: bool) -> None:
        with self._using():
            write_all(self._fd, [tail])
            os.lseek(self._fd, 0, os.SEEK_SET)
            write_all(self._fd, [header])
            fd, self._fd = self._fd, -1
            publish(fd, self._draft, self._path, sync=sync)

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._in_use = False
