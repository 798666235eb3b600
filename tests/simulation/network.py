"""The network between services: latency, lost packets, cuts, and bits that flip on the way.

It stands in for `core.node_client` on both of its sides: nodes pull from stagings and from peers,
ingest reads chunks. As there, whoever receives verifies.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fileflux.core.bundle_view import verify_blocks
from fileflux.core.errors import ChunkCorrupt, NodeUnreachable
from fileflux.core.ids import BundleId, Incarnation
from fileflux.core.model import BLOCK_SIZE_BYTES
from fileflux.core.node_client import PullSink

if TYPE_CHECKING:
    from tests.simulation.world import World

STAGING = "staging"
HANG_S = 12.0
"""Longer than any deadline of whoever waits for an answer."""


@dataclass(slots=True)
class NetworkFaults:
    """Chances per message. `cuts`: pairs of names between which nothing passes."""

    lost: float = 0.0
    hangs: float = 0.0
    flipped: float = 0.0
    latency_s: float = 0.002
    cuts: set[frozenset[str]] = field(default_factory=set)


class Network:
    """Everybody's connections. `client(name)` is what the service of that name sends through."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self.world = world
        self.faults = NetworkFaults()
        self._rng = rng

    def client(self, name: str) -> "NetworkClient":
        return NetworkClient(self, name)

    async def travel(self, source: str, target: str) -> None:
        """Return when a message is there; raise NodeUnreachable."""
        faults = self.faults
        await asyncio.sleep(self._rng.uniform(0, faults.latency_s))
        if frozenset((source, target)) in faults.cuts or self.happens(faults.hangs):
            await asyncio.sleep(HANG_S)
            raise NodeUnreachable(f"{target} does not answer")
        if self.happens(faults.lost):
            raise NodeUnreachable(f"the connection to {target} broke")

    def in_transit(self, data: bytes) -> bytes:
        """Return the bytes as they arrive."""
        if not self.happens(self.faults.flipped):
            return data
        self.world.coverage.add("bit flipped in transit")
        damaged = bytearray(data)
        damaged[self._rng.randrange(len(damaged))] ^= 1 << self._rng.randrange(8)
        return bytes(damaged)

    def happens(self, chance: float) -> bool:
        return chance > 0 and self._rng.random() < chance


class NetworkClient:
    """The part of `NodeClient` that the services use."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._world = network.world
        self._name = name

    async def pull(self, url: str, sink: PullSink) -> None:
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".invalid")
        await self._network.travel(self._name, host)
        if host == STAGING:
            data = await self._staged(parts.path)
        else:
            data = await self._held(host, BundleId(bytes.fromhex(parts.path.split("/")[-1])))
        await self._network.travel(host, self._name)
        data = self._network.in_transit(data)
        sink.begin(len(data))[:] = data
        sink.arrived(len(data))

    async def read_small(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> bytes:
        host = (urlsplit(node_url).hostname or "").removesuffix(".invalid")
        await self._network.travel(self._name, host)
        await self._answering(host)
        held = await self._world.node(host).store.open(bundle_id)
        place = held.view.chunk(number)
        first = start // BLOCK_SIZE_BYTES
        count = -(-(start + length) // BLOCK_SIZE_BYTES) - first
        at = first * BLOCK_SIZE_BYTES
        end = min(place.length, at + count * BLOCK_SIZE_BYTES)
        blocks = await held.read(place.offset + at, max(0, end - at))
        await self._network.travel(host, self._name)
        blocks = self._network.in_transit(bytes(blocks))
        verify_blocks(blocks, held.view.block_crcs(place, first, count), bundle_id.hex())
        wanted = blocks[start - at : start - at + length]
        if len(wanted) != length:
            raise ChunkCorrupt(f"{bundle_id.hex()} is shorter than its manifest says")
        return wanted

    async def read_chunk(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> AsyncIterator[memoryview]:
        yield memoryview(await self.read_small(node_url, bundle_id, number, start, length))

    async def _staged(self, path: str) -> bytes:
        """A staging is served by any ingest that lives, whoever staged it."""
        if not any(ingest.answers for ingest in self._world.ingests):
            raise NodeUnreachable("no ingest lives")
        _, _, _, incarnation, bundle_id = path.split("/")
        reader = await self._world.host.open(
            Incarnation(bytes.fromhex(incarnation)), BundleId(bytes.fromhex(bundle_id))
        )
        return await reader.read(0, reader.size)

    async def _held(self, host: str, bundle_id: BundleId) -> bytes:
        await self._answering(host)
        held = await self._world.node(host).store.open(bundle_id)
        return await held.read(0, len(held.data))

    async def _answering(self, host: str) -> None:
        process = self._world.node(host).process
        if process.is_paused:
            await asyncio.sleep(HANG_S)
        if not process.is_alive:
            raise NodeUnreachable(f"{host} is dead")
