"""What this node says of itself, every second: room, health, epoch, load. True figures only.

Room comes from `statvfs` each time; the pool's health is asked for less often, since that starts a
process. A pool that does not answer is reported as such, and its node as read-only.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import BrokerUnavailable, NodeFenced
from fileflux.core.ids import NodeId
from fileflux.core.telemetry import NODE_FENCED, get_logger
from fileflux.events.codec import encode_events
from fileflux.events.ports import EventPublisher
from fileflux.events.schema import NodeHeartbeat
from fileflux.events.topics import NODES_HEARTBEATS
from fileflux.storage_node.disk_threads import DiskThreads, Work
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.pool import PoolBackend, PoolFigures, Space, space_of

log = get_logger(__name__)

UNKNOWN_HEALTH: Final = "UNAVAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What does not change while the process lives."""

    node_id: NodeId
    epoch: int
    url: str
    domain: str
    reserve_bytes: int
    software: str
    data_dir: Path


class PoolWatch:
    """The pool's latest figures; None when the last question had no answer."""

    def __init__(self, backend: PoolBackend, clock: Clock, *, interval_s: float) -> None:
        self._backend = backend
        self._clock = clock
        self._interval_s = interval_s
        self.latest: PoolFigures | None = None

    async def refresh(self) -> None:
        """Ask now."""
        try:
            self.latest = await self._backend.figures()
        except OSError as error:
            log.warning("the pool does not tell its figures", reason=str(error))
            self.latest = None

    async def run(self) -> None:
        """Ask again and again."""
        while True:
            await self._clock.sleep(self._interval_s)
            await self.refresh()


class Heartbeats:
    """Publishes them. A lost one does not matter: the next one comes in a second."""

    def __init__(
        self,
        facts: NodeFacts,
        publisher: EventPublisher,
        *,
        pool: PoolWatch,
        threads: DiskThreads,
        fence: Fence,
        load: Callable[[], int],
        clock: Clock,
        interval_s: float,
    ) -> None:
        self._facts = facts
        self._publisher = publisher
        self._pool = pool
        self._threads = threads
        self._fence = fence
        self._load = load
        self._clock = clock
        self._interval_s = interval_s

    async def run(self, stopping: asyncio.Event) -> None:
        """Send until `stopping`, and once more then: placement need not wait for a silence."""
        while not stopping.is_set():
            await self.send()
            try:
                async with asyncio.timeout(self._interval_s):
                    await stopping.wait()
            except TimeoutError:
                continue
        await self.send(is_last=True)

    async def send(self, *, is_last: bool = False) -> None:
        NODE_FENCED.set(self._fence.reason is not None)
        event = self._event(await self._space(), is_last=is_last)
        try:
            await self._publisher.publish(
                NODES_HEARTBEATS,
                encode_events([event]),
                partition=0,
                key=self._facts.node_id.encode(),
            )
        except BrokerUnavailable as error:
            log.info("a heartbeat was not published", reason=str(error))

    async def _space(self) -> Space:
        try:
            return await self._threads.run(Work.READ, lambda: space_of(self._facts.data_dir))
        except (OSError, NodeFenced) as error:
            log.warning("the dataset does not tell its room", reason=str(error))
            return Space(0, 0, is_read_only=True)

    def _event(self, space: Space, *, is_last: bool) -> NodeHeartbeat:
        figures = self._pool.latest
        is_doubtful = figures is None or self._fence.reason is not None
        return NodeHeartbeat(
            node_id=self._facts.node_id,
            epoch=self._facts.epoch,
            at_us=self._clock.now_us(),
            url=self._facts.url,
            domain=self._facts.domain,
            total_bytes=space.total_bytes,
            free_bytes=space.free_bytes,
            reserve_bytes=self._facts.reserve_bytes,
            health=UNKNOWN_HEALTH if figures is None else figures.health,
            read_only=space.is_read_only or is_doubtful or is_last,
            load=self._load(),
            software=self._facts.software,
        )
