"""Bundles in extents on disk: append, one sync for all that wait, then the index.

The index is written in the background, a second behind at most: what it lacks after a crash is read
from the extents, so a bundle costs one fdatasync and nothing else. Rows that the database has not
got yet are held in memory and looked up first.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from fileflux.core.clock import Clock
from fileflux.core.errors import BundleCorrupt, NodeFenced, NodeFull, NoSuchBundle
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import BundleId
from fileflux.core.node_messages import DropItem, InventoryItem
from fileflux.core.telemetry import (
    get_logger,
)
from fileflux.storage_node.appender import Appender
from fileflux.storage_node.ballast import Ballast
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.disk_threads import DiskThreads, Work
from fileflux.storage_node.extent_file import Disk, DiskFailed
from fileflux.storage_node.extent_format import EXTENT_SIZE_MAX
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.identity import Dataset
from fileflux.storage_node.index_database import (
    IndexBatch,
    IndexDatabase,
    IndexUnusable,
    Location,
)
from fileflux.storage_node.positions import FIELDS, StoredPosition
from fileflux.storage_node.readers import BundleReaders, ExtentBundle
from fileflux.storage_node.recovery import DISTRUST_FILE, Recovered

log = get_logger(__name__)
Result = TypeVar("Result")

CHECKPOINT_INTERVAL_S: Final = 1.0
FRESH_ROWS_MAX: Final = 100_000
"""Rows that only memory has. When the database cannot take them for so long, writing stops."""


class ExtentStore:
    """A `BundleStore`. Has an owner, who calls `run_checkpoints` and closes it."""

    def __init__(
        self,
        dataset: Dataset,
        recovered: Recovered,
        *,
        threads: DiskThreads,
        fence: Fence,
        disk: Disk,
        clock: Clock,
        ballast: Ballast,
        reserve_bytes: int,
        cache_bytes: int,
        extent_bytes_max: int = EXTENT_SIZE_MAX,
    ) -> None:
        self.epoch = recovered.epoch
        self._dataset = dataset
        self._database: IndexDatabase = recovered.database
        self._appender = Appender(
            dataset,
            recovered,
            self._locate,
            disk=disk,
            clock=clock,
            reserve_bytes=reserve_bytes,
            extent_bytes_max=extent_bytes_max,
        )
        self._threads = threads
        self._fence = fence
        self._clock = clock
        self._ballast = ballast
        self._has_ballast = False
        self._fresh: dict[BundleId, Location] = {}
        self._fresh_ends: dict[int, int] = {}
        self._position = _stored_position(recovered.database)
        self._saved_position = self._position
        self._checkpointing = asyncio.Lock()
        self._is_closed = False
        self._readers = BundleReaders(dataset.extents, threads, self._locate, cache_bytes)

    # --- writing ------------------------------------------------------------------------------

    async def write(self, bundles: Sequence[IncomingBundle]) -> None:
        self._fence.check()
        if self._is_closed:
            raise NodeFenced("the node ends")
        if len(self._fresh) > FRESH_ROWS_MAX:
            raise NodeFull("the index cannot be written")
        if not self._has_ballast:
            raise NodeFull("the room that starting needs is not there")
        written = await self._run(Work.APPEND, partial(self._appender.append, list(bundles)))
        for bundle, at in written:
            self._fresh[bundle.bundle_id] = at
            self._fresh_ends[at.extent] = at.offset + at.length
            self._readers.remember(bundle.view, at)
        failpoint("node.after_index")

    # --- reading ------------------------------------------------------------------------------

    async def find(self, bundle_id: BundleId) -> InventoryItem | None:
        at = self._fresh.get(bundle_id)
        if at is None:
            at = await self._run(Work.READ, partial(self._database.find, bundle_id))
        return None if at is None else InventoryItem(bundle_id, at.size, at.crc)

    async def open(self, bundle_id: BundleId) -> ExtentBundle:
        cached = self._readers.cached(bundle_id)
        if cached is not None:
            return cached
        return await self._run(Work.READ, partial(self._readers.load, bundle_id))

    async def inventory(self, after: BundleId | None, limit: int) -> list[InventoryItem]:
        await self.checkpoint()
        page = await self._run(Work.READ, partial(self._database.page, after, limit))
        return [InventoryItem(bundle_id, at.size, at.crc) for bundle_id, at in page]

    def _locate(self, bundle_id: BundleId) -> Location | None:
        return self._fresh.get(bundle_id) or self._database.find(bundle_id)

    # --- the index ----------------------------------------------------------------------------

    async def drop(self, items: Sequence[DropItem]) -> None:
        present = {}
        for item in items:
            try:
                view = (await self.open(item.bundle_id)).view
            except (NoSuchBundle, BundleCorrupt) as error:
                log.warning("not dropped", bundle_id=item.bundle_id.hex(), reason=str(error))
                continue
            present[item.bundle_id] = frozenset(place.number for place in view.chunks())
        await self.checkpoint()
        await self._run(Work.INDEX, partial(self._database.drop, items, present))
        for bundle_id in present:
            self._readers.forget(bundle_id)

    def position(self) -> StoredPosition | None:
        return self._position

    def remember(self, position: StoredPosition) -> None:
        self._position = position

    async def take_ballast(self) -> None:
        """Keep the room that a start needs, if it is there. Without it nothing is written."""
        room = self._appender
        call = partial(self._ballast.take_back, room.free_bytes, room.reserve_bytes)
        try:
            self._has_ballast = await self._run(Work.INDEX, call)
        except OSError as error:
            log.warning("the ballast cannot be made", reason=str(error))

    async def run_checkpoints(self) -> None:
        """Write the index once a second, for ever."""
        while True:
            await self._clock.sleep(CHECKPOINT_INTERVAL_S)
            try:
                await self.checkpoint()
                if not self._has_ballast:
                    await self.take_ballast()
            except NodeFull as error:
                log.warning("the index waits for room", reason=str(error))
            except NodeFenced:
                return

    async def checkpoint(self) -> None:
        """Write what only memory knows, durably. Raise NodeFull or NodeFenced."""
        async with self._checkpointing:
            rows, ends, position = dict(self._fresh), dict(self._fresh_ends), self._position
            if not rows and position == self._saved_position:
                return
            facts = {} if position is None else _position_facts(position)
            batch = IndexBatch(rows=rows, seen_ends=ends, facts=facts)
            await self._run(Work.INDEX, partial(self._database.store, batch))
            self._saved_position = position
            for bundle_id, at in rows.items():
                if self._fresh.get(bundle_id) is at:
                    del self._fresh[bundle_id]
            for extent, end in ends.items():
                if self._fresh_ends[extent] == end:
                    del self._fresh_ends[extent]

    async def close(self) -> None:
        """Write the index if the disk still can; close the files after what is being written."""
        try:
            if self._fence.reason is None:
                await self.checkpoint()
        except (NodeFull, NodeFenced) as error:
            log.warning("the index is left behind", reason=str(error))
        self._is_closed = True
        self._readers.close()
        if not self._fence.disk_failed.is_set():
            with contextlib.suppress(NodeFenced):
                await self._threads.run(Work.APPEND, self._appender.close)
        if not self._fence.disk_failed.is_set():
            self._database.close()

    async def _run(self, work: Work, call: Callable[[], Result]) -> Result:
        """Run in a disk thread; what says that disk or index cannot be trusted fences the node."""
        try:
            return await self._threads.run(work, call)
        except DiskFailed as error:
            self._fence.fail_disk(str(error))
            raise NodeFenced(str(error)) from error
        except IndexUnusable as error:
            # The next process makes the index anew; this one stops before it says wrong things.
            _leave_marker(self._dataset)
            self._fence.fail_disk(f"the index is damaged: {error}")
            raise NodeFenced("the index is damaged") from error


def _leave_marker(dataset: Dataset) -> None:
    try:
        os.close(os.open(dataset.root / DISTRUST_FILE, os.O_CREAT | os.O_WRONLY, 0o644))
    except OSError:
        log.exception("the index cannot be marked as damaged")


def _stored_position(database: IndexDatabase) -> StoredPosition | None:
    values = [database.fact(f"position_{field}") for field in FIELDS]
    numbers = [value for value in values if isinstance(value, int)]
    return StoredPosition(*numbers) if len(numbers) == len(FIELDS) else None


def _position_facts(position: StoredPosition) -> dict[str, int | str]:
    return {f"position_{field}": getattr(position, field) for field in FIELDS}
