"""Open a node's dataset: claim it, bring index and extents together, count the epoch up."""

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import Invalid, NodeFull
from fileflux.core.ids import NodeId
from fileflux.storage_node.ballast import Ballast
from fileflux.storage_node.disk_threads import DiskThreads, Work
from fileflux.storage_node.durable_files import NO_ROOM
from fileflux.storage_node.extent_file import Disk, DiskFailed, OsDisk
from fileflux.storage_node.extent_store import ExtentStore
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.identity import Dataset, claim_dataset, settle_epoch
from fileflux.storage_node.index_database import IndexUnusable
from fileflux.storage_node.recovery import Recovered, recover
from fileflux.storage_node.settings import NodeSettings

ROOM_ATTEMPTS: Final = 20
ROOM_PAUSE_S: Final = 0.5
WENT_BACK: Final = "the epoch went backwards: bundles may be missing"


@dataclass(frozen=True, slots=True)
class OpenNode:
    """A dataset in use. Closing it releases the lock last."""

    dataset: Dataset
    store: ExtentStore
    threads: DiskThreads
    fence: Fence

    @property
    def node_id(self) -> NodeId:
        return self.dataset.node_id

    @property
    def epoch(self) -> int:
        return self.store.epoch

    async def close(self) -> None:
        await self.store.close()
        self.threads.close()
        self.dataset.release()


async def open_node(settings: NodeSettings, clock: Clock, *, disk: Disk | None = None) -> OpenNode:
    """Return the node ready to write and read. Raise Invalid when it cannot be."""
    disk = disk or OsDisk()
    ballast = Ballast(settings.data_dir, settings.ballast_bytes)
    opening = partial(_open, settings, clock, disk, ballast)
    try:
        dataset, recovered = await asyncio.to_thread(opening)
    except (OSError, DiskFailed, NodeFull, IndexUnusable) as error:
        raise Invalid(f"{settings.data_dir} cannot be used: {error}") from error
    fence = Fence()
    threads = DiskThreads(fence, deadline_s=settings.disk_deadline_s)
    if recovered.epoch_went_back:
        settle = partial(threads.run, Work.INDEX, partial(settle_epoch, dataset.root))
        fence.wait_for_inventory(WENT_BACK, settle=settle)
    store = ExtentStore(
        dataset,
        recovered,
        threads=threads,
        fence=fence,
        disk=disk,
        clock=clock,
        ballast=ballast,
        reserve_bytes=settings.reserve_bytes,
        cache_bytes=settings.index_cache_bytes,
        extent_bytes_max=settings.extent_bytes_max,
    )
    await store.take_ballast()
    return OpenNode(dataset, store, threads, fence)


def _open(
    settings: NodeSettings, clock: Clock, disk: Disk, ballast: Ballast
) -> tuple[Dataset, Recovered]:
    dataset = claim_dataset(settings.data_dir)
    try:
        return dataset, _recover_with_room(dataset, disk, clock, ballast)
    except BaseException:
        dataset.release()
        raise


def _recover_with_room(dataset: Dataset, disk: Disk, clock: Clock, ballast: Ballast) -> Recovered:
    """Recover; on a full dataset once more without the ballast."""
    try:
        return recover(dataset, disk, clock.now_us)
    except (OSError, NodeFull) as error:
        if not _is_for_want_of_room(error) or not ballast.throw_off():
            raise
    # ZFS gives room back with the next transaction group.
    for _ in range(ROOM_ATTEMPTS - 1):
        try:
            return recover(dataset, disk, clock.now_us)
        except (OSError, NodeFull) as error:
            if not _is_for_want_of_room(error):
                raise
            time.sleep(ROOM_PAUSE_S)
    return recover(dataset, disk, clock.now_us)


def _is_for_want_of_room(error: Exception) -> bool:
    return isinstance(error, NodeFull) or getattr(error, "errno", None) in NO_ROOM
