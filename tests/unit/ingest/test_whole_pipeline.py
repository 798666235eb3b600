"""Engine, nodes and materializer together: what is acknowledged is read back, whatever happens."""

import asyncio
import random

import pytest
from tests.model.pipeline_world import STANDARD, PipelineWorld, open_pipeline

from fileflux.core.errors import (
    ChunkCorrupt,
    NoSuchKey,
    QuorumNotReached,
    SettlementUnknown,
    Unavailable,
)
from fileflux.core.model import CHUNK_SIZE_BYTES, KIB, MIB, StorageClass
from fileflux.events.memory import MemoryFaults
from fileflux.metadata.memory import MemoryFaults as DatabaseFaults

RNG = random.Random(5)


@pytest.mark.parametrize("size", [0, 1, 4 * KIB, 100 * KIB, MIB, MIB + 1, 2 * CHUNK_SIZE_BYTES + 9])
async def test_what_was_acknowledged_is_read_back_at_once(size: int) -> None:
    async with open_pipeline(seed=size) as world:
        data = RNG.randbytes(size)
        outcome = await world.put(b"key", data, pieces=50)

        assert outcome.ok
        assert await world.get(b"key") == data
        assert await copies_of(world, b"key") >= (STANDARD.quorum if size else 0)


async def copies_of(world: PipelineWorld, key: bytes) -> int:
    """Return how many nodes hold every bundle of the key."""
    found = (await world.reader.find_objects([("bucket", key)]))[0]
    assert found.row is not None
    bundles = [chunk.bundle_id for chunk in found.row.manifest.chunks]
    held = [[await n.store.find(b) for b in bundles] for n in world.nodes.values()]
    return sum(1 for each in held if bundles and all(each))


async def test_a_range_across_a_chunks_border_is_its_bytes() -> None:
    async with open_pipeline(seed=1) as world:
        data = RNG.randbytes(CHUNK_SIZE_BYTES + MIB)
        await world.put(b"key", data)
        start = CHUNK_SIZE_BYTES - 70_000

        assert await world.get(b"key", start, 140_000) == data[start : start + 140_000]


async def test_many_small_uploads_at_once_are_all_there() -> None:
    async with open_pipeline(seed=2) as world:
        bodies = {b"key-%d" % n: RNG.randbytes(n * 10 + 1) for n in range(100)}
        outcomes = await asyncio.gather(*(world.put(k, data) for k, data in bodies.items()))

        assert all(outcome.ok for outcome in outcomes)
        for key, data in bodies.items():
            assert await world.get(key) == data


async def test_with_one_node_down_uploads_and_reads_go_on() -> None:
    async with open_pipeline(seed=3) as world:
        before = RNG.randbytes(2 * MIB)
        await world.put(b"before", before)
        next(iter(world.nodes.values())).down = True
        during = RNG.randbytes(2 * MIB)
        await world.put(b"during", during)

        assert await world.get(b"before") == before
        assert await world.get(b"during") == during


async def test_a_damaged_replica_is_never_served() -> None:
    async with open_pipeline(seed=4) as world:
        data = RNG.randbytes(300 * KIB)
        await world.put(b"key", data)
        found = (await world.reader.find_objects([("bucket", b"key")]))[0]
        assert found.row is not None
        bundle_id = found.row.manifest.chunks[0].bundle_id
        nodes = list(world.nodes.values())
        await asyncio.sleep(0.1)
        for node in nodes[:2]:
            node.store.damage(bundle_id, 96 + 200_000)
        assert await world.get(b"key") == data
        nodes[2].store.damage(bundle_id, 96 + 200_000)

        with pytest.raises(ChunkCorrupt):
            await world.get(b"key")


async def test_full_nodes_are_a_503_and_nothing_becomes_visible() -> None:
    async with open_pipeline(seed=5) as world:
        for node in world.nodes.values():
            node.store.capacity_bytes = 10
        with pytest.raises(QuorumNotReached):
            await world.put(b"key", b"x" * 100)
        for node in world.nodes.values():
            node.store.capacity_bytes = 2**40
        await asyncio.sleep(0.5)

        with pytest.raises(NoSuchKey):
            await world.get(b"key")


async def test_the_fourth_node_takes_what_a_full_one_refuses() -> None:
    async with open_pipeline(seed=6, node_count=4) as world:
        world.placement.node_ids = list(world.nodes)[:3]
        full = world.nodes[world.placement.node_ids[0]]
        full.store.capacity_bytes = 10
        world.placement.node_ids = list(world.nodes)
        for n in range(8):
            data = RNG.randbytes(100)
            all_three = StorageClass("STANDARD", 3, 3)
            assert (await world.put(b"key-%d" % n, data, storage_class=all_three)).ok

        assert full.store.used_bytes == 0


@pytest.mark.parametrize("seed", range(4))
async def test_under_chaos_an_acknowledged_upload_is_there_and_a_503_is_not(seed: int) -> None:
    """Events doubled, lost, late and reordered, transactions failing, commits ambiguous."""
    async with open_pipeline(seed=seed, node_count=4) as world:
        world.broker.faults = MemoryFaults(
            drop=0.1, duplicate=0.3, reorder=0.3, delay=0.3, delay_s_max=0.2, refuse=0.05
        )
        world.database.faults = DatabaseFaults(
            rng=random.Random(seed), serialization_failures=0.1, ambiguous_commits=0.05
        )
        bodies = {b"key-%d" % n: RNG.randbytes(n * 997 + 1) for n in range(24)}
        results = await asyncio.gather(
            *(world.put(k, data) for k, data in bodies.items()), return_exceptions=True
        )
        world.broker.faults = MemoryFaults()
        world.database.faults = DatabaseFaults()
        await asyncio.sleep(1)

        acknowledged = 0
        for (key, data), result in zip(bodies.items(), results, strict=True):
            if isinstance(result, SettlementUnknown):
                continue
            if isinstance(result, Unavailable):
                with pytest.raises(NoSuchKey):
                    await world.get(key)
                continue
            assert not isinstance(result, BaseException), result
            assert await world.get(key) == data
            acknowledged += 1
        assert acknowledged > 0


async def test_nothing_is_left_in_the_staging_once_all_nodes_have_it() -> None:
    async with open_pipeline(seed=7) as world:
        await asyncio.gather(*(world.put(b"key-%d" % n, RNG.randbytes(50_000)) for n in range(20)))
        await world.put(b"large", RNG.randbytes(3 * CHUNK_SIZE_BYTES))

        async with asyncio.timeout(10):
            while world.staging.used_bytes:
                await asyncio.sleep(0.05)
        assert world.memory.used_bytes == 0
