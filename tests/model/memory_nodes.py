"""Storage nodes on one event loop: the real assignments and pulls over the in-memory store.

Only the network is left out: a pull reads the staging's memory, a read the store's, and every byte
is verified as the client of the node's HTTP contract verifies it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fileflux.core.bundle_view import verify_blocks
from fileflux.core.clock import Clock
from fileflux.core.errors import ChunkCorrupt, NodeUnreachable, NoSuchBundle
from fileflux.core.ids import BundleId, Incarnation, NodeId, parse_id, slot_of
from fileflux.core.model import BLOCK_SIZE_BYTES
from fileflux.core.node_client import FETCH_BLOCKS, PullSink
from fileflux.events.consume import Consumer
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import EventPublisher
from fileflux.events.topics import BUNDLES_ASSIGNED
from fileflux.ingest.staging import MemoryHost
from fileflux.storage_node.answers import Answers
from fileflux.storage_node.assignments import Assignments
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.memory_store import MemoryStore
from fileflux.storage_node.pulls import Pulls


@dataclass(slots=True)
class MemoryNodes:
    """Stores by node id. `down`: nodes that answer no read. A test may damage a store."""

    stores: dict[NodeId, MemoryStore]
    down: set[NodeId] = field(default_factory=set)
    read_bytes: int = 0

    # What a reader sees of a node (`replica_reader.ChunkReader`).

    async def read_small(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> bytes:
        return await self._read(node_url, bundle_id, number, start, length)

    async def read_chunk(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> AsyncIterator[memoryview]:
        end = start + length
        while start < end:
            border = (start // BLOCK_SIZE_BYTES + FETCH_BLOCKS) * BLOCK_SIZE_BYTES
            run = min(end, border) - start
            yield memoryview(await self._read(node_url, bundle_id, number, start, run))
            start += run

    async def _read(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> bytes:
        await asyncio.sleep(0)
        node_id = _node_of(node_url)
        if node_id in self.down:
            raise NodeUnreachable(f"{node_id} is down")
        bundle = await self.stores[node_id].open(bundle_id)
        place = bundle.view.chunk(number)
        if start + length > place.length:
            raise ChunkCorrupt("shorter than its manifest says")
        first = start // BLOCK_SIZE_BYTES
        count = (start + length - 1) // BLOCK_SIZE_BYTES - first + 1
        begin = first * BLOCK_SIZE_BYTES
        end = min(place.length, (first + count) * BLOCK_SIZE_BYTES)
        self.read_bytes += end - begin
        blocks = await bundle.read(place.offset + begin, end - begin)
        verify_blocks(blocks, bundle.view.block_crcs(place, first, count), f"chunk {number}")
        return blocks[start - begin : start - begin + length]


class MemoryPuller:
    """What a node fetches with: staged bundles by their URL, a peer's by its own."""

    def __init__(self, host: MemoryHost, stores: Mapping[NodeId, MemoryStore]) -> None:
        self._host = host
        self._stores = stores

    async def pull(self, url: str, sink: PullSink) -> None:
        data = await self._bytes_at(url)
        sink.begin(len(data))[:] = data
        sink.arrived(len(data))

    async def _bytes_at(self, url: str) -> bytes:
        *_, before, last = urlsplit(url).path.split("/")
        bundle_id = BundleId(parse_id(last))
        if before == "bundles":
            bundle = await self._stores[_node_of(url)].open(bundle_id)
            return bytes(bundle.data)
        try:
            return self._host.files[Incarnation(parse_id(before))][bundle_id]
        except KeyError:
            raise NoSuchBundle(f"bundle {last} is not staged") from None


@asynccontextmanager
async def running_nodes(
    node_ids: Sequence[NodeId],
    *,
    broker: MemoryBroker,
    host: MemoryHost,
    clock: Clock,
    slots: int,
) -> AsyncIterator[MemoryNodes]:
    """Run the nodes' assignments until the block ends."""
    nodes = MemoryNodes({node_id: MemoryStore() for node_id in node_ids})
    stopping = asyncio.Event()
    running, sources = [], []
    for node_id in node_ids:
        source = await broker.source([(BUNDLES_ASSIGNED, slot_of(node_id, slots))])
        publisher = await broker.fast_publisher()
        taking = _assignments(node_id, nodes, host, publisher, clock)
        dead_letters = DeadLetters(publisher, clock=clock)
        consumer = Consumer(source, taking.take, dead_letters=dead_letters, clock=clock)
        running.append(asyncio.create_task(consumer.run(stopping), name=f"{node_id}"))
        sources.append(source)
    try:
        yield nodes
    finally:
        stopping.set()
        for source in sources:
            await source.close()  # Wakes its consumer.
        await asyncio.gather(*running)


def _assignments(
    node_id: NodeId,
    nodes: MemoryNodes,
    host: MemoryHost,
    publisher: EventPublisher,
    clock: Clock,
) -> Assignments:
    return Assignments(
        node_id=node_id,
        node_epoch=1,
        store=nodes.stores[node_id],
        pulls=Pulls(MemoryPuller(host, nodes.stores)),
        answers=Answers(publisher),
        fence=Fence(),
        clock=clock,
    )


def _node_of(url: str) -> NodeId:
    return NodeId((urlsplit(url).hostname or "").removesuffix(".invalid"))
