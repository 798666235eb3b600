"""Paper numbers for 10, 100 and 1,000 nodes: `python -m tests.bench.scale`.

The sizes are measured on the codec, on the placement policy and on a materializer in memory; the
rates are arithmetic on the load that `Load` states. Prints the tables of
docs/explanation/scale.md.
"""

import asyncio
import math
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from tests.model.lane_world import LaneWorld, commit_of, open_world

from fileflux.core.classes import DEFAULT_CLASSES, parse_classes
from fileflux.core.clock import ManualClock
from fileflux.core.ids import BundleId, NodeId, SealId, new_id
from fileflux.core.model import GIB, KIB, MIB, SizeClass
from fileflux.events.codec import encode_events
from fileflux.events.memory import MemoryBroker
from fileflux.events.schema import BundleAssigned, NodeHeartbeat, PlacementDecided, UploadsSealed
from fileflux.metadata.audit_record import unpack_pending
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.placement.map_maker import decide
from fileflux.placement.membership import NodeView

NODE_COUNTS: Final = (10, 100, 1_000)
NOW_US: Final = 1_790_000_000_000_000
MAP_REPEAT_S: Final = 30
NODES: Final = tuple(NodeId(str(uuid.UUID(int=number))) for number in range(3))
TURNS: Final = 20


@dataclass(frozen=True, slots=True)
class Load:
    """What is assumed. A node appends `node_mb_s` of replicas; all objects have one size.

    A lost node held `node_tb`; each other node spends `repair_mb_s` on pulling its share.
    """

    node_mb_s: float = 100.0
    object_bytes: int = 256 * KIB
    replicas: int = 3
    uploads_per_flush: int = 16
    days: int = 30
    node_tb: float = 100.0
    repair_mb_s: float = 20.0

    def puts_s(self, nodes: int) -> float:
        return nodes * self.node_mb_s * 1e6 / self.object_bytes / self.replicas


@dataclass(frozen=True, slots=True)
class Cluster:
    """`lanes`, `slots`: what one would choose for that many nodes, for life."""

    nodes: int
    lanes: int
    slots: int
    heartbeat_s: float


CLUSTERS: Final = (
    Cluster(10, 8, 16, 1.0),
    Cluster(100, 64, 128, 1.0),
    Cluster(1_000, 512, 1_024, 3.0),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes, measured."""

    heartbeat: int
    assigned: int
    committed: int
    seal: int
    completed: int
    audit_record: int


def heartbeat() -> NodeHeartbeat:
    return NodeHeartbeat(
        node_id=NODES[0],
        epoch=7,
        at_us=NOW_US,
        url="http://node-0001.storage.example.net:9100",
        domain="site-a/rack-03/node-0001",
        total_bytes=200_000 * GIB,
        free_bytes=100_000 * GIB,
        reserve_bytes=GIB,
        health="ONLINE",
        read_only=False,
        load=12,
        software="0.1.0",
    )


def map_of(nodes: int, *, seed: int = 1) -> PlacementDecided:
    """Return the map that placement would publish for so many nodes, 20 to a rack."""
    rng = random.Random(seed)
    views = tuple(
        NodeView(
            node_id=NodeId(str(uuid.UUID(bytes=new_id(rng)))),
            url=f"http://node-{number:04}.storage.example.net:9100",
            domain=f"site-a/rack-{number // 20:02}/node-{number:04}",
            state="alive",
            weight=1.0,
            free_bytes=100_000 * GIB,
            load=0.0,
        )
        for number in range(nodes)
    )
    return decide(views, parse_classes(DEFAULT_CLASSES), epoch=1_000, at_us=NOW_US)


def map_bytes(nodes: int) -> tuple[int, int]:
    """Return (the whole map, what one node adds to it)."""
    decided = map_of(nodes)
    bare = PlacementDecided(epoch=1_000, at_us=NOW_US, nodes=(), classes=decided.classes)
    whole, sets = len(encode_events([decided])), len(encode_events([bare]))
    return whole, (whole - sets) // nodes


async def measure_sizes(load: Load) -> Sizes:
    """One seal of `uploads_per_flush` objects, from its bytes to the audit records it leaves."""
    clock = ManualClock()
    broker, database = MemoryBroker(clock=clock, lanes=1), MemoryDatabase(clock)
    world = await open_world(broker, database, MemoryReader(database), clock)
    before = await _audit_bytes(world)
    keys = [f"2026/11/25/sensor-{number:06}.json".encode() for number in range(128)]
    seal = await world.upload(*keys[: load.uploads_per_flush], quorum=len(NODES))
    seal = replace(seal, bundles=tuple(replace(one, nodes=NODES) for one in seal.bundles))
    await world.emit(seal)
    await world.confirm(seal, *NODES)
    materializer = await world.materializer(fetch_wait_s=0.001)
    for _ in range(TURNS):
        await materializer.turn()
        clock.advance(0.3)
    completed = await world.read_answers()
    assert completed, "the seal did not settle"
    return Sizes(
        heartbeat=len(encode_events([heartbeat()])),
        assigned=len(encode_events([_assigned(seal)])),
        committed=len(encode_events([commit_of(seal, seal.bundles[0], NODES[0])])),
        seal=len(encode_events([seal])),
        completed=len(encode_events(completed)),
        audit_record=(await _audit_bytes(world) - before) // load.uploads_per_flush,
    )


async def _audit_bytes(world: LaneWorld) -> int:
    pending = await world.reader.pending_audit(limit=100_000)
    return sum(len(one.payload) for _, _, block in pending for one in unpack_pending(block))


def _assigned(seal: UploadsSealed) -> BundleAssigned:
    return BundleAssigned(
        bundle_id=BundleId(seal.bundles[0].bundle_id),
        seal_id=SealId(seal.seal_id),
        node_id=NODES[0],
        lane=3,
        size_class=SizeClass.SMALL,
        size=4 * MIB,
        crc=1 << 31,
        source_url="http://ingest-12.example.net:9001/bundles/" + "0" * 65,
        peers=("http://node-0002.storage.example.net:9100",) * 2,
        attempt=0,
        expires_at_us=NOW_US,
        assigned_us=NOW_US,
    )


def rows(load: Load, sizes: Sizes) -> Iterator[tuple[str, list[str]]]:
    """Each figure's name and its value for every cluster."""
    puts = [load.puts_s(one.nodes) for one in CLUSTERS]
    flushes = [count / load.uploads_per_flush for count in puts]
    pairs = list(zip(CLUSTERS, flushes, strict=True))
    yield "PUT/s (assumed)", [_count(count) for count in puts]
    yield "lanes, slots (chosen)", [f"{one.lanes}, {one.slots}" for one in CLUSTERS]
    yield "flushes/s", [_count(count) for count in flushes]
    yield (
        "`uploads.sealed`: records/s, KB/s per partition",
        [f"{_count(f / c.lanes)}, {_kb(f / c.lanes * sizes.seal)}" for c, f in pairs],
    )
    yield (
        "`bundles.assigned`: records/s per partition",
        [_count(load.replicas * f / c.slots) for c, f in pairs],
    )
    yield (
        "`bundles.committed`: events/s per partition",
        [_count(load.replicas * f / c.lanes) for c, f in pairs],
    )
    yield "`uploads.completed`: records/s per partition", [_count(f / c.lanes) for c, f in pairs]
    beats = [one.nodes / one.heartbeat_s for one in CLUSTERS]
    yield (
        "heartbeats: events/s, KB/s (one partition)",
        [f"{_count(beat)}, {_kb(beat * sizes.heartbeat)}" for beat in beats],
    )
    yield "transactions/s (one per flush at most)", [_count(f) for f in flushes]
    yield "rows/s (1.2 a PUT)", [_count(1.2 * count) for count in puts]
    seconds = load.days * 86_400
    yield f"objects in {load.days} days", [_count(count * seconds) for count in puts]
    yield "audit: MB/s", [f"{count * sizes.audit_record / 1e6:.1f}" for count in puts]
    hours = [_repair_hours(load, one.nodes) for one in CLUSTERS]
    yield "a lost node's bytes copied again, hours", [_count(one) for one in hours]
    yield "audit: TB a day", [f"{c * sizes.audit_record * 86_400 / 1e12:.2f}" for c in puts]


def _repair_hours(load: Load, nodes: int) -> float:
    """Every other node pulls its share of the lost node's bytes at the repair rate."""
    return load.node_tb * 1e6 / (nodes - 1) / load.repair_mb_s / 3_600


def map_rows() -> Iterator[tuple[str, list[str]]]:
    found = [map_bytes(one) for one in NODE_COUNTS]
    yield "map: KB", [f"{whole / 1e3:.0f}" for whole, _ in found]
    yield "of which per node: B", [str(each) for _, each in found]
    yield "replica sets and reasons: KB", [f"{(w - e * n) / 1e3:.0f}" for (w, e), n in _each(found)]
    yield f"repeated every {MAP_REPEAT_S} s: KB/s", [_kb(w / MAP_REPEAT_S) for w, _ in found]
    kept = 30 * 86_400 / MAP_REPEAT_S
    yield "kept for 30 days, without changes: GB", [f"{w * kept / 1e9:.0f}" for w, _ in found]
    yield "once a second while it changes: KB/s", [_kb(whole) for whole, _ in found]


def _each(found: list[tuple[int, int]]) -> list[tuple[tuple[int, int], int]]:
    return list(zip(found, NODE_COUNTS, strict=True))


def _count(value: float) -> str:
    if value < 10:
        return f"{value:.1f}"
    digits = max(0, 1 - math.floor(math.log10(value)))
    rounded = round(value, digits if value < 100 else 2 - math.ceil(math.log10(value)))
    return f"{rounded:,.0f}"


def _kb(value: float) -> str:
    return f"{value / 1e3:,.1f}" if value < 1e5 else f"{value / 1e3:,.0f}"


def render(load: Load, sizes: Sizes) -> str:
    head = ["| | 10 nodes | 100 nodes | 1,000 nodes |", "|---|---|---|---|"]
    lines = ["| event | bytes |", "|---|---|"]
    names = {
        "heartbeat": "`NodeHeartbeat`",
        "assigned": "`BundleAssigned`",
        "committed": "`BundleCommitted`",
        "seal": f"`UploadsSealed` of {load.uploads_per_flush} small objects",
        "completed": f"`UploadsCompleted` of {load.uploads_per_flush}",
        "audit_record": "an audit record of a PUT",
    }
    lines += [f"| {text} | {getattr(sizes, name)} |" for name, text in names.items()]
    for table in (rows(load, sizes), map_rows()):
        lines += ["", *head, *(f"| {name} | {' | '.join(values)} |" for name, values in table)]
    return "\n".join(lines)


if __name__ == "__main__":
    chosen = Load()
    print(render(chosen, asyncio.run(measure_sizes(chosen))))
