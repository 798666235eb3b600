"""Open a node's dataset: claim it, bring index and extents together, count the epoch up."""

import asyncio
from dataclasses import dataclass
from functools import partial

from fileflux.core.clock import Clock
from fileflux.core.errors import Invalid
from fileflux.core.ids import NodeId
from fileflux.storage_node.disk_threads import DiskThreads
from fileflux.storage_node.extent_file import Disk, DiskFailed, OsDisk
from fileflux.storage_node.extent_store import ExtentStore
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.identity import Dataset, claim_dataset
from fileflux.storage_node.recovery import Recovered, recover
from fileflux.storage_node.settings import NodeSettings


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
    try:
        dataset, recovered = await asyncio.to_thread(partial(_open, settings, clock, disk))
    except (OSError, DiskFailed) as error:
        raise Invalid(f"{settings.data_dir} cannot be used: {error}") from error
    fence = Fence()
    if recovered.epoch_went_back:
        fence.wait_for_inventory("the epoch went backwards: bundles may be missing")
    threads = DiskThreads(fence, deadline_s=settings.disk_deadline_s)
    store = ExtentStore(
        dataset,
        recovered,
        threads=threads,
        fence=fence,
        disk=disk,
        clock=clock,
        reserve_bytes=settings.reserve_bytes,
        cache_bytes=settings.index_cache_bytes,
        extent_bytes_max=settings.extent_bytes_max,
    )
    return OpenNode(dataset, store, threads, fence)


def _open(settings: NodeSettings, clock: Clock, disk: Disk) -> tuple[Dataset, Recovered]:
    dataset = claim_dataset(settings.data_dir)
    try:
        return dataset, recover(dataset, disk, clock.now_us)
    except BaseException:
        dataset.release()
        raise
