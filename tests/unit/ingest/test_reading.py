"""The read path: right bytes from whichever replica can give them, or no whole body at all."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.clock import SystemClock
from fileflux.core.errors import (
    ChunkCorrupt,
    FileFluxError,
    NodeUnreachable,
    NoSuchBundle,
    SlowDown,
)
from fileflux.core.ids import BucketId, BundleId, NodeId, UploadId, new_id
from fileflux.core.model import KIB, MIB, Chunk, Manifest, ObjectMeta
from fileflux.ingest import replica_reader
from fileflux.ingest.admission import MemoryBudget
from fileflux.ingest.chunk_cache import ENTRY_BYTES, ChunkCache
from fileflux.ingest.reading import ManifestLookup, ObjectBody, ObjectReader
from fileflux.ingest.replica_reader import ReplicaReader
from fileflux.ingest.slices import parts_in, slices_of
from fileflux.metadata.ports import FoundObject
from fileflux.metadata.rows import ObjectRow

RNG = random.Random(12)
NODES = tuple(NodeId(f"node-{n}") for n in range(3))
RUN_BYTES = 256 * KIB

Mood = Literal["good", "corrupt", "gone", "unreachable", "slow", "stalls"]


@dataclass(slots=True)
class Cluster:
    """Nodes, their moods, and the rows about them. A node fails after `fails_at` bytes."""

    stored: dict[tuple[BundleId, int], bytes] = field(default_factory=dict)
    holders: dict[BundleId, tuple[NodeId, ...]] = field(default_factory=dict)
    parts: dict[int, Manifest] = field(default_factory=dict)
    moods: dict[NodeId, Mood] = field(default_factory=dict)
    fails_at: int = 0
    dead: set[NodeId] = field(default_factory=set)
    asked: list[tuple[NodeId, int, int]] = field(default_factory=list)
    lookups: list[tuple[BundleId, ...]] = field(default_factory=list)
    open_streams: int = 0
    found: dict[tuple[str, bytes], FoundObject] = field(default_factory=dict)
    statements: list[int] = field(default_factory=list)

    def add(self, data: bytes, *, nodes: Sequence[NodeId] = NODES) -> Chunk:
        bundle_id = BundleId(new_id(RNG))
        self.stored[bundle_id, 0] = data
        self.holders[bundle_id] = tuple(nodes)
        return Chunk(bundle_id, 0, len(data))

    def node_url(self, node_id: NodeId) -> str | None:
        return None if node_id == "unknown" else f"http://{node_id}"

    def is_alive(self, node_id: NodeId) -> bool:
        return node_id not in self.dead

    async def read_small(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> bytes:
        node_id = self._ask(node_url, start, length)
        mood = self.moods.get(node_id, "good")
        if mood == "slow":
            await asyncio.sleep(0.3)
        elif mood == "stalls":
            await asyncio.sleep(3600)
        elif mood != "good":
            raise failure_of(mood)
        return self._slice(bundle_id, number, start, length)

    async def read_chunk(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> AsyncIterator[memoryview]:
        node_id = self._ask(node_url, start, length)
        mood = self.moods.get(node_id, "good")
        data = memoryview(self._slice(bundle_id, number, start, length))
        self.open_streams += 1
        try:
            for at in range(0, length, RUN_BYTES):
                await asyncio.sleep(0)
                if mood == "stalls" and at >= self.fails_at:
                    await asyncio.sleep(3600)
                if mood not in ("good", "stalls") and at >= self.fails_at:
                    raise failure_of(mood)
                yield data[at : at + RUN_BYTES]
        finally:
            self.open_streams -= 1

    async def replicas_of(
        self, bundle_ids: Sequence[BundleId]
    ) -> dict[BundleId, tuple[NodeId, ...]]:
        self.lookups.append(tuple(bundle_ids))
        return {b: self.holders[b] for b in bundle_ids if b in self.holders}

    async def part_manifests(
        self, upload_id: UploadId, part_numbers: Sequence[int]
    ) -> dict[int, Manifest]:
        return {number: self.parts[number] for number in part_numbers if number in self.parts}

    async def find_objects(self, wanted: Sequence[tuple[str, bytes]]) -> list[FoundObject]:
        self.statements.append(len(wanted))
        await asyncio.sleep(0.001)
        return [self.found[each] for each in wanted]

    def _ask(self, node_url: str, start: int, length: int) -> NodeId:
        node_id = NodeId(node_url.removeprefix("http://"))
        self.asked.append((node_id, start, length))
        return node_id

    def _slice(self, bundle_id: BundleId, number: int, start: int, length: int) -> bytes:
        return self.stored[bundle_id, number][start : start + length]


async def take_all(body: ObjectBody, runs: list[bytes]) -> None:
    async for run in body:
        runs.append(bytes(run))


def failure_of(mood: str) -> FileFluxError:
    kinds = {"corrupt": ChunkCorrupt, "gone": NoSuchBundle, "unreachable": NodeUnreachable}
    return kinds[mood](mood)


@dataclass(slots=True)
class Reading:
    cluster: Cluster
    objects: ObjectReader
    memory: MemoryBudget

    def row(self, manifest: Manifest) -> ObjectRow:
        return ObjectRow(
            bucket_id=BucketId(bytes(16)),
            key=b"key",
            version_id=UploadId(bytes(16)),
            stamp=1,
            row_stamp=1,
            size=manifest.size,
            etag="e",
            meta=ObjectMeta(),
            manifest=manifest,
            content_id=UploadId(bytes(16)),
            storage_class="STANDARD",
        )

    async def read(self, manifest: Manifest, start: int = 0, length: int | None = None) -> bytes:
        row = self.row(manifest)
        wanted = row.size - start if length is None else length
        body = await self.objects.open(FoundObject(None, row, {}), row, start, wanted)
        return b"".join([bytes(run) async for run in body])


def reading(*, hedge_s: float = 5.0, cache_bytes: int = 0, memory_bytes: int = 64 * MIB) -> Reading:
    cluster, memory = Cluster(), MemoryBudget(memory_bytes)
    replicas = ReplicaReader(cluster, cluster, cluster, clock=SystemClock(), hedge_s=hedge_s)
    objects = ObjectReader(cluster, replicas, cache=ChunkCache(cache_bytes), memory=memory)
    return Reading(cluster, objects, memory)


def chunks_of(cluster: Cluster, data: bytes, size: int) -> Manifest:
    return Manifest(tuple(cluster.add(data[at : at + size]) for at in range(0, len(data), size)))


# --- planning -----------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=8),
    data=st.data(),
)
def test_the_slices_of_a_range_are_exactly_its_bytes(sizes: list[int], data: st.DataObject) -> None:
    stored = [RNG.randbytes(size + 5) for size in sizes]
    starts = [data.draw(st.integers(0, 5)) for _ in sizes]
    whole = b"".join(s[at : at + n] for s, at, n in zip(stored, starts, sizes, strict=True))
    chunks = [
        Chunk(BundleId(bytes([n]) * 16), n, size, start)
        for n, (size, start) in enumerate(zip(sizes, starts, strict=True))
    ]
    start = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(1, len(whole) - start))

    pieces = list(slices_of(chunks, start, length))
    assert (
        b"".join(stored[p.number][p.start : p.start + p.length] for p in pieces)
        == (whole[start : start + length])
    )
    assert all(p.whole == (p.length == sizes[p.number]) for p in pieces)


@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=8), data=st.data())
def test_the_parts_of_a_range_add_up_to_it(sizes: list[int], data: st.DataObject) -> None:
    parts = [(number * 10, size) for number, size in enumerate(sizes, start=1)]
    start = data.draw(st.integers(0, sum(sizes) - 1))
    length = data.draw(st.integers(1, sum(sizes) - start))
    text = {number: bytes([number]) * size for number, size in parts}
    whole = b"".join(text[number] for number, _ in parts)

    found = b"".join(text[n][at : at + size] for n, at, size in parts_in(parts, start, length))
    assert found == whole[start : start + length]


# --- small --------------------------------------------------------------------------------------


async def test_a_small_object_is_one_read_of_one_replica() -> None:
    it = reading()
    data = RNG.randbytes(4 * KIB)

    assert await it.read(chunks_of(it.cluster, data, MIB)) == data
    assert len(it.cluster.asked) == 1


@pytest.mark.parametrize("mood", ["corrupt", "gone", "unreachable"])
async def test_a_bad_replica_is_left_for_the_next_one(mood: Mood) -> None:
    for bad in (NODES[:1], NODES[:2], NODES[1:]):
        it = reading()
        it.cluster.moods = dict.fromkeys(bad, mood)
        data = RNG.randbytes(100 * KIB)

        assert await it.read(chunks_of(it.cluster, data, MIB)) == data


@pytest.mark.parametrize(
    ("moods", "error"),
    [
        (("corrupt", "corrupt", "gone"), ChunkCorrupt),
        (("corrupt", "unreachable", "gone"), NodeUnreachable),
        (("unreachable", "unreachable", "unreachable"), NodeUnreachable),
    ],
)
@pytest.mark.parametrize("size", [1_000, 3 * MIB])
async def test_without_a_good_replica_opening_fails_before_the_first_byte(
    moods: tuple[Mood, ...], error: type[Exception], size: int
) -> None:
    it = reading()
    it.cluster.moods = dict(zip(NODES, moods, strict=True))
    with pytest.raises(error):
        await it.read(chunks_of(it.cluster, RNG.randbytes(size), 8 * MIB))

    assert it.memory.used_bytes == 0


async def test_a_slow_replica_is_overtaken_by_a_second_one() -> None:
    it = reading(hedge_s=0.01)
    data = RNG.randbytes(5_000)
    manifest = chunks_of(it.cluster, data, MIB)
    await it.read(manifest)
    (first, *_), started_s = it.cluster.asked, asyncio.get_running_loop().time()
    it.cluster.moods = {first[0]: "stalls"}

    assert await it.read(manifest) == data
    assert asyncio.get_running_loop().time() - started_s < 2


async def test_when_all_are_slow_the_first_answer_counts_and_nobody_is_asked_twice() -> None:
    it = reading(hedge_s=0.01)
    it.cluster.moods = dict.fromkeys(NODES, "slow")
    data = RNG.randbytes(5_000)

    assert await it.read(chunks_of(it.cluster, data, MIB)) == data
    assert sorted(node for node, _, _ in it.cluster.asked) == sorted(NODES)


async def test_a_replica_that_repair_made_since_is_found() -> None:
    it = reading()
    data = RNG.randbytes(5_000)
    manifest = chunks_of(it.cluster, data, MIB)
    bundle_id = manifest.chunks[0].bundle_id
    it.cluster.moods = {NODES[0]: "gone"}
    row = it.row(manifest)
    body = await it.objects.open(FoundObject(None, row, {bundle_id: (NODES[0],)}), row, 0, row.size)

    assert b"".join([bytes(run) async for run in body]) == data


async def test_unreachable_and_dead_nodes_are_asked_last() -> None:
    it = reading()
    data = RNG.randbytes(1_000)
    manifest = chunks_of(it.cluster, data, MIB)
    await it.read(manifest)
    first = it.cluster.asked[0][0]
    it.cluster.moods = {first: "unreachable"}
    await it.read(manifest)
    it.cluster.moods.clear()
    it.cluster.asked.clear()
    await it.read(manifest)
    second = it.cluster.asked[0][0]
    assert second != first, "it was not reached a moment ago"

    it.cluster.dead = {second}
    it.cluster.asked.clear()
    await it.read(manifest)
    assert it.cluster.asked[0][0] not in (first, second)


async def test_a_small_chunk_is_read_from_memory_the_second_time_ranges_are_not_kept() -> None:
    it = reading(cache_bytes=MIB)
    data = RNG.randbytes(10_000)
    manifest = chunks_of(it.cluster, data, MIB)
    assert await it.read(manifest, 100, 50) == data[100:150]
    assert await it.read(manifest) == data
    assert await it.read(manifest) == data

    assert len(it.cluster.asked) == 2


def test_the_cache_stays_below_its_limit_and_drops_what_was_not_used() -> None:
    cache = ChunkCache(20 * (1_000 + ENTRY_BYTES))
    keys = [(BundleId(bytes([n]) * 16), 0, 0, 1_000) for n in range(21)]
    for key in keys[:20]:
        cache.put(key, bytes(1_000))
    assert cache.get(keys[0]) is not None
    cache.put(keys[20], bytes(1_000))
    cache.put((BundleId(bytes(16)), 1, 0, 9_000), bytes(9_000))

    assert cache.used_bytes == 20 * (1_000 + ENTRY_BYTES)
    assert cache.get(keys[1]) is None
    assert cache.get(keys[0]) is not None


# --- large --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, None), (5, 3 * MIB), (2 * MIB - 1, 2), (2 * MIB, 2 * MIB), (0, 1), (7 * MIB + 76, 1)],
)
async def test_any_range_of_a_large_object_is_its_bytes(start: int, length: int | None) -> None:
    it = reading()
    data = RNG.randbytes(7 * MIB + 77)
    expected = data[start:] if length is None else data[start : start + length]

    assert await it.read(chunks_of(it.cluster, data, 2 * MIB), start, length) == expected
    assert it.memory.used_bytes == 0
    assert it.cluster.open_streams == 0


@pytest.mark.parametrize("mood", ["corrupt", "gone", "unreachable"])
@pytest.mark.parametrize("fails_at", [0, RUN_BYTES, 5 * RUN_BYTES])
async def test_a_replica_that_fails_in_the_middle_is_continued_by_the_next(
    mood: Mood, fails_at: int
) -> None:
    it = reading()
    it.cluster.fails_at = fails_at
    it.cluster.moods = dict.fromkeys(NODES[:2], mood)
    data = RNG.randbytes(5 * MIB)

    assert await it.read(chunks_of(it.cluster, data, 2 * MIB)) == data


async def test_a_replica_that_stalls_in_the_middle_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica_reader, "STALL_S", 0.05)
    it = reading(hedge_s=0.05)
    it.cluster.fails_at = RUN_BYTES
    it.cluster.moods = dict.fromkeys(NODES[:2], "stalls")
    data = RNG.randbytes(3 * MIB)

    assert await it.read(chunks_of(it.cluster, data, 2 * MIB)) == data


async def test_when_the_last_replica_fails_in_the_middle_the_body_breaks_off() -> None:
    """The connection is aborted then: a client must never take it for the whole."""
    it = reading()
    it.cluster.fails_at = RUN_BYTES
    it.cluster.moods = dict.fromkeys(NODES, "corrupt")
    data = RNG.randbytes(4 * MIB)
    row = it.row(chunks_of(it.cluster, data, 4 * MIB))
    body = await it.objects.open(FoundObject(None, row, {}), row, 0, row.size)
    runs: list[bytes] = []
    with pytest.raises(ChunkCorrupt):
        await take_all(body, runs)
    got = b"".join(runs)

    assert got == data[: len(got)]
    assert RUN_BYTES <= len(got) < len(data)
    assert it.memory.used_bytes == 0


async def test_the_next_chunk_is_begun_before_this_one_is_sent() -> None:
    it = reading()
    data = RNG.randbytes(8 * MIB)
    row = it.row(chunks_of(it.cluster, data, 2 * MIB))
    body = await it.objects.open(FoundObject(None, row, {}), row, 0, row.size)
    for _ in range(10):
        await asyncio.sleep(0)

    assert len(it.cluster.asked) == 2, "one ahead, and not the whole object"
    await body.aclose()
    assert it.cluster.open_streams == 0
    assert it.memory.used_bytes == 0


async def test_replicas_of_many_bundles_are_looked_up_sixteen_at_a_time() -> None:
    it = reading()
    data = RNG.randbytes(40 * 1_000)

    assert await it.read(chunks_of(it.cluster, data, 1_000)) == data
    assert [len(lookup) for lookup in it.cluster.lookups] == [16, 16, 8]


async def test_a_multipart_object_is_its_parts_in_order_also_by_range() -> None:
    it = reading()
    texts = {number: RNG.randbytes(number * 300_000) for number in range(1, 25)}
    it.cluster.parts = {n: chunks_of(it.cluster, text, 2 * MIB) for n, text in texts.items()}
    manifest = Manifest(parts=tuple((number, len(text)) for number, text in texts.items()))
    data = b"".join(texts.values())

    assert await it.read(manifest) == data
    assert await it.read(manifest, 299_999, 5_000_000) == data[299_999:5_299_999]


async def test_a_slice_of_a_copied_chunk_begins_where_the_copy_began() -> None:
    it = reading(cache_bytes=MIB)
    data = RNG.randbytes(100_000)
    whole = it.cluster.add(data)
    taken = Manifest((Chunk(whole.bundle_id, 0, 1_000, start=70_000),))

    assert await it.read(taken) == data[70_000:71_000]
    assert await it.read(taken, 10, 20) == data[70_010:70_030]
    assert await it.read(Manifest((whole,))) == data
    assert await it.read(taken) == data[70_000:71_000]


async def test_a_manifest_that_lacks_a_part_breaks_off_and_is_not_a_shorter_body() -> None:
    it = reading()
    it.cluster.parts = {1: chunks_of(it.cluster, RNG.randbytes(2 * MIB), 2 * MIB)}
    with pytest.raises(NodeUnreachable):
        await it.read(Manifest(parts=((1, 2 * MIB), (2, 10))))


# --- memory -------------------------------------------------------------------------------------


async def test_downloads_beyond_the_memory_are_told_to_slow_down() -> None:
    it = reading(memory_bytes=5 * MIB)
    row = it.row(chunks_of(it.cluster, RNG.randbytes(4 * MIB), 4 * MIB))
    found = FoundObject(None, row, {})
    first = await it.objects.open(found, row, 0, row.size)
    second = await it.objects.open(found, row, 0, row.size)
    with pytest.raises(SlowDown):
        await it.objects.open(found, row, 0, row.size)
    await first.aclose()
    third = await it.objects.open(found, row, 0, row.size)

    for body in (second, third):
        await body.aclose()
    assert it.memory.used_bytes == 0


async def test_a_body_that_nobody_reads_gives_its_memory_back() -> None:
    it = reading()
    row = it.row(chunks_of(it.cluster, RNG.randbytes(4 * MIB), 4 * MIB))
    body: object = await it.objects.open(FoundObject(None, row, {}), row, 0, row.size)
    assert it.memory.used_bytes > 0
    del body
    gc.collect()

    async with asyncio.timeout(5):
        while it.memory.used_bytes or it.cluster.open_streams:
            await asyncio.sleep(0)


# --- manifests ----------------------------------------------------------------------------------


async def test_reads_that_wait_share_one_statement() -> None:
    cluster = Cluster()
    cluster.found = {("b", bytes([n])): FoundObject(None, None, {}) for n in range(100)}
    lookup = ManifestLookup(cluster)
    found = await asyncio.gather(*(lookup.find("b", bytes([n])) for n in range(100)))

    assert [f is cluster.found["b", bytes([n])] for n, f in enumerate(found)] == [True] * 100
    assert len(cluster.statements) <= 4
    await lookup.close()
