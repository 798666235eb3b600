"""The latest placement map in memory, kept fresh from its topic.

Placement may be down for minutes and the broker too: the last map stays, by age alone it never
expires. Only its successor replaces it.
"""

import asyncio
from collections.abc import Collection
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import BrokerUnavailable, EventInvalid
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.model import SizeClass, StorageClass
from fileflux.core.telemetry import PLACEMENT_EPOCH, get_logger
from fileflux.events.codec import decode_events
from fileflux.events.ports import Broker, EventSource, Record
from fileflux.events.schema import MappedNode, PlacementDecided
from fileflux.events.topics import PLACEMENT_MAP
from fileflux.placement.map import EMPTY_MAP, Choice, PlacementMap, newer

log = get_logger(__name__)

LOOK_BACK_RECORDS: Final = 16
"""Read at the start: the newest epoch is among the last few, whoever led."""
PARTITION: Final = 0


class MapView:
    """Follows the map from `start()` to `close()`."""

    def __init__(self, broker: Broker, *, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._source: EventSource | None = None
        self._following: asyncio.Task[None] | None = None
        self._has_map = asyncio.Event()
        self._has_read = asyncio.Event()
        self._read_offset = 0
        self._read_at_s = clock.monotonic_s()
        self._map = EMPTY_MAP

    async def start(self) -> None:
        """Begin to follow; raise BrokerUnavailable. The first map may come later: `wait_ready`."""
        self._source = await self._broker.source([(PLACEMENT_MAP, PARTITION)])
        first, end = await self._source.bounds(PLACEMENT_MAP, PARTITION)
        self._read_offset = max(first, end - LOOK_BACK_RECORDS)
        await self._source.seek(PLACEMENT_MAP, PARTITION, self._read_offset)
        self._following = asyncio.create_task(self._follow(self._source), name="placement map")

    async def close(self) -> None:
        """Stop following. Idempotent; the last map stays."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        if self._source is not None:
            await self._source.close()

    async def wait_ready(self, *, timeout_s: float = 30.0) -> bool:
        """Return whether there is a map with nodes, waiting that long for the first one."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_map.wait()
        except TimeoutError:
            return False
        return True

    @property
    def current(self) -> PlacementMap:
        """The map with the highest epoch read so far; an empty one before the first."""
        return self._map

    @property
    def staleness_s(self) -> float:
        """Seconds since the current map was decided. For people and metrics: nothing expires."""
        return max(0.0, (self._clock.now_us() - self._map.decided.at_us) / 1_000_000)

    @property
    def unread_s(self) -> float:
        """Seconds since a map was last read, whichever it was, or since the start."""
        return self._clock.monotonic_s() - self._read_at_s

    def choose(
        self,
        bundle_id: BundleId,
        attempt: int,
        storage_class: StorageClass,
        size_class: SizeClass,
        avoid: Collection[NodeId] = (),
    ) -> Choice | None:
        """Return the set for this bundle and attempt, without nodes of `avoid`; None: no such."""
        return self._map.choose(bundle_id, attempt, storage_class, size_class, avoid)

    def node(self, node_id: NodeId) -> MappedNode | None:
        return self._map.node(node_id)

    def node_url(self, node_id: NodeId) -> str | None:
        """Return the base URL of a node of the map, whatever its state."""
        return self._map.node_url(node_id)

    def is_alive(self, node_id: NodeId) -> bool:
        return self._map.is_alive(node_id)

    async def catch_up(self, *, timeout_s: float = 10.0) -> None:
        """Return when all that the topic holds now was read; raise BrokerUnavailable."""
        assert self._source is not None, "not started"
        first, end = await self._source.bounds(PLACEMENT_MAP, PARTITION)
        try:
            async with asyncio.timeout(timeout_s):
                # A topic that was wiped and is empty has nothing to wait for.
                while first < end and self._read_offset < end:
                    self._has_read.clear()
                    await self._has_read.wait()
        except TimeoutError as error:
            raise BrokerUnavailable(f"the map's topic is not read up to {end}") from error

    async def was_wiped(self) -> bool:
        """Return whether the topic is empty although a map was read. Raise BrokerUnavailable."""
        assert self._source is not None, "not started"
        first, end = await self._source.bounds(PLACEMENT_MAP, PARTITION)
        return self._map.epoch > EMPTY_MAP.epoch and first == end

    async def _follow(self, source: EventSource) -> None:
        while True:
            for record in await source.fetch(wait_s=1.0):
                self._take(record)

    def _take(self, record: Record) -> None:
        self._read_at_s = self._clock.monotonic_s()
        self._read_offset = record.position.offset + 1
        self._has_read.set()
        for decided in read_map(record):
            self._map = newer(self._map, decided)
            PLACEMENT_EPOCH.set(self._map.epoch)
            if self._map.nodes:
                self._has_map.set()


def read_map(record: Record) -> list[PlacementDecided]:
    """Return the maps of a record: one; none (and a log line) when it cannot be read."""
    try:
        events = decode_events(record.value)
    except EventInvalid:
        log.exception("a placement map cannot be read", position=str(record.position))
        return []
    return [event for event in events if isinstance(event, PlacementDecided)]
