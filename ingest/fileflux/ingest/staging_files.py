"""Staging in one directory per host: the page cache, or a tmpfs, with names.

    ROOT/<incarnation>/lock             flocked as long as the incarnation lives
    ROOT/<incarnation>/<bundle>.bundle  renamed into place when it is whole
    ROOT/<incarnation>/<seal>.seal      note of an accepted asynchronous upload

Nothing is fsynced but what an asynchronous upload was accepted for: a power cut before the answer
may lose what nobody was promised.
"""

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fileflux.core.checksum import Buffer
from fileflux.core.ids import BundleId, Incarnation
from fileflux.core.telemetry import get_logger
from fileflux.ingest.staging import Budget, StagedFile, total_size
from fileflux.ingest.staging_disk import INLINE_BYTES_MAX, guarded, in_thread, unlink, write_file
from fileflux.ingest.staging_folder import LOCK, Folder, try_lock
from fileflux.ingest.staging_stream import StreamedFile

log = get_logger(__name__)


class FileStaging(Folder):
    """The living incarnation's staging. Make it with `open_staging`."""

    is_durable = True

    def __init__(
        self,
        path: Path,
        incarnation: Incarnation,
        *,
        lock_fd: int,
        budget_bytes: int,
        base_url: str,
    ) -> None:
        super().__init__(path, incarnation, base_url)
        self._lock_fd = lock_fd
        self._budget = Budget(budget_bytes)
        self._sizes: dict[BundleId, int] = {}
        self._stuck: set[BundleId] = set()

    @property
    def used_bytes(self) -> int:
        return self._budget.used_bytes

    @property
    def budget_bytes(self) -> int:
        return self._budget.budget_bytes

    async def create(
        self, bundle_id: BundleId, parts: Sequence[Buffer], *, sync: bool = False
    ) -> None:
        size = total_size(parts)
        self._budget.take(size)
        self._sizes[bundle_id] = size
        path = self._bundle(bundle_id)
        if size <= INLINE_BYTES_MAX and not sync:
            try:
                guarded(lambda: write_file(path, parts, sync=False))
            except BaseException:
                self._forget(bundle_id)
                raise
        else:
            await in_thread(
                lambda: write_file(path, parts, sync=sync),
                undo=lambda: self._forget(bundle_id),
            )

    def begin(self, bundle_id: BundleId) -> StagedFile:
        return StreamedFile(self._budget, self._sizes, bundle_id, self._bundle(bundle_id))

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None:
        """One that the disk will not delete stays counted; the next call tries it again."""
        leaving, self._stuck = self._stuck.union(bundle_ids), set()
        if sum(self._sizes.get(bundle_id, 0) for bundle_id in leaving) <= INLINE_BYTES_MAX:
            self._gone(leaving, self._unlink_each(leaving))
            return
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(None, self._unlink_each, leaving)
        # Also when nobody waits any more: the thread deletes them all the same.
        running.add_done_callback(lambda ended: self._gone(leaving, ended.result()))
        await asyncio.shield(running)

    def _unlink_each(self, bundle_ids: Collection[BundleId]) -> dict[BundleId, OSError]:
        """Return those that are still there, and why."""
        refused = {}
        for bundle_id in bundle_ids:
            try:
                unlink(self._bundle(bundle_id))
            except OSError as error:
                refused[bundle_id] = error
        return refused

    def _gone(self, bundle_ids: Collection[BundleId], refused: Mapping[BundleId, OSError]) -> None:
        for bundle_id in bundle_ids:
            if bundle_id not in refused:
                self._budget.give_back(self._sizes.pop(bundle_id, 0))
        if refused:
            self._stuck.update(refused)
            problem = str(next(iter(refused.values())))
            log.warning("staged bundles cannot be deleted", count=len(refused), problem=problem)

    def close(self) -> None:
        """Let go of the lock. What is left is the next living worker's to settle; an empty
        directory goes with us.
        """
        if all(path.name == LOCK for path in self._path.iterdir()):
            unlink(f"{self._prefix}{LOCK}")
            self._path.rmdir()
        os.close(self._lock_fd)

    def _forget(self, bundle_id: BundleId) -> None:
        unlink(self._bundle(bundle_id))
        self._budget.give_back(self._sizes.pop(bundle_id, 0))


def open_staging(
    root: Path, incarnation: Incarnation, *, budget_bytes: int, base_url: str
) -> FileStaging:
    """Make this incarnation's directory, locked before anybody can see it. Raises OSError."""
    root.mkdir(parents=True, exist_ok=True)
    draft = root / f".{incarnation.hex()}"
    draft.mkdir()
    lock_fd = try_lock(draft)
    assert lock_fd is not None, "nobody else knows this name"
    path = root / incarnation.hex()
    draft.rename(path)
    return FileStaging(
        path, incarnation, lock_fd=lock_fd, budget_bytes=budget_bytes, base_url=base_url
    )
