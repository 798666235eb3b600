"""The write engine against a pipeline in memory: what answers mean, and what failures leave."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from fileflux.core.changes import Actor, Outcome, PutObject
from fileflux.core.checksum import Buffer
from fileflux.core.errors import (
    BadDigest,
    QuorumNotReached,
    SettlementUnknown,
    SlowDown,
    Unavailable,
)
from fileflux.core.ids import BucketId, NodeId, UploadId, UserId, new_id
from fileflux.core.model import (
    CHUNK_SIZE_BYTES,
    KIB,
    MIB,
    SMALL_OBJECT_BYTES_MAX,
    Chunk,
    Manifest,
    ObjectMeta,
    SizeClass,
    StorageClass,
)
from fileflux.events.memory import MemoryFaults
from fileflux.events.schema import BundleCommitted, UploadsCompleted, UploadsSealed
from fileflux.events.topics import BUNDLES_ASSIGNED, BUNDLES_COMMITTED, UPLOADS_SEALED
from fileflux.ingest.memory_pipeline import MemoryWorld, open_memory_world
from fileflux.ingest.upload import Finish, UploadIntent

NODES = tuple(NodeId(f"node-{n}") for n in range(4))
STANDARD = StorageClass("STANDARD", 3, 2)
RNG = random.Random(20_260)


def open_world(
    *, silence_s: float = 0.02, give_up_s: float = 5.0, budget_bytes: int = 256 * MIB
) -> AbstractAsyncContextManager[MemoryWorld]:
    return open_memory_world(
        NODES, rng=RNG, silence_s=silence_s, give_up_s=give_up_s, budget_bytes=budget_bytes
    )


@pytest.fixture
async def world() -> AsyncIterator[MemoryWorld]:
    async with open_world() as world:
        yield world


def intent_of(key: bytes = b"key", *, declared_size: int | None = None) -> UploadIntent:
    return UploadIntent(
        upload_id=UploadId(new_id(RNG)),
        bucket_id=BucketId(bytes(16)),
        bucket="bucket",
        key=key,
        storage_class=STANDARD,
        received_us=1,
        declared_size=declared_size,
    )


def finish_for(intent: UploadIntent, *, user: dict[str, str] | None = None) -> Finish:
    def finish(size: int, manifest: Manifest) -> PutObject:
        return PutObject(
            upload_id=intent.upload_id,
            actor=Actor(user_id=UserId(bytes(16)), user_name="u", key_id="k"),
            at_us=intent.received_us,
            bucket_id=intent.bucket_id,
            bucket=intent.bucket,
            key=intent.key,
            size=size,
            etag="etag",
            meta=ObjectMeta(user=user or {}),
            manifest=manifest,
            storage_class="STANDARD",
        )

    return finish


async def body_of(
    *pieces: Buffer, fails: Exception | None = None, before_end: Callable[[], None] | None = None
) -> AsyncIterator[Buffer]:
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece
    if before_end is not None:
        before_end()
    if fails is not None:
        raise fails


async def put(world: MemoryWorld, data: bytes, *, key: bytes = b"key", pieces: int = 1) -> Outcome:
    intent = intent_of(key)
    step = max(1, -(-len(data) // pieces))
    cut = [data[at : at + step] for at in range(0, len(data), step)]
    return await world.engine.write(body_of(*cut), intent=intent, finish=finish_for(intent))


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


def random_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


# --- small --------------------------------------------------------------------------------------


async def test_a_small_upload_is_answered_with_the_outcome_of_its_seal(world: MemoryWorld) -> None:
    outcome = await put(world, b"hello")

    assert outcome.ok
    (seal,) = world.sealed()
    (change,) = seal.changes
    assert isinstance(change, PutObject)
    assert change.upload_id == outcome.upload_id
    assert change.manifest == Manifest((Chunk(seal.bundles[0].bundle_id, 0, 5),))
    assert 0 < change.hops.received_us <= change.hops.staged_us <= change.hops.sealed_us
    assert seal.size_class is SizeClass.SMALL
    assert (seal.replicas, seal.quorum) == (3, 2)


async def test_what_is_staged_is_the_bundle_that_the_seal_names_with_its_record(
    world: MemoryWorld,
) -> None:
    world.pipeline.moods = dict.fromkeys(NODES[2:], "silent")
    world.pipeline.settles = False
    data = random_bytes(100 * KIB)
    writing = asyncio.create_task(put(world, data, key=b"k\x00ey"))
    await until(world.sealed)
    (seal,) = world.sealed()
    view = world.staged(seal.bundles[0].bundle_id)
    meta = view.meta(view.chunk(0))

    assert (view.header.size, view.header.crc) == (seal.bundles[0].size, seal.bundles[0].crc)
    assert view.header.seal_id == seal.seal_id
    assert (meta.key, meta.bucket, meta.upload_id) == (
        b"k\x00ey",
        "bucket",
        seal.changes[0].upload_id,
    )
    assert meta.record is not None
    assert meta.record.size == len(data)
    world.pipeline.moods.clear()
    world.pipeline.settles = True
    assert (await writing).ok


async def test_uploads_that_wait_share_a_bundle_and_a_seal(world: MemoryWorld) -> None:
    outcomes = await asyncio.gather(
        *(put(world, bytes([n]) * 100, key=bytes([n])) for n in range(64))
    )

    assert all(outcome.ok for outcome in outcomes)
    assert len({outcome.upload_id for outcome in outcomes}) == 64
    assert len(world.sealed()) <= 4, "64 uploads at once are a few flushes, not 64"


async def test_a_seal_of_many_large_metadata_stays_below_its_limit(world: MemoryWorld) -> None:
    intents = [intent_of(bytes([n])) for n in range(200)]
    user = {"note": "x" * 6_000}
    await asyncio.gather(
        *(
            world.engine.write(body_of(b"1"), intent=i, finish=finish_for(i, user=user))
            for i in intents
        )
    )
    records = [r for lane in range(world.lanes) for r in world.broker.records(UPLOADS_SEALED, lane)]

    assert len(records) >= 3
    assert max(len(record.value) for record in records) <= 512 * KIB


async def test_a_body_that_fails_its_digest_leaves_nothing_and_touches_nobody(
    world: MemoryWorld,
) -> None:
    bad = intent_of(b"bad")
    good = asyncio.create_task(put(world, b"good"))
    with pytest.raises(BadDigest):
        await world.engine.write(
            body_of(b"some", b"thing", fails=BadDigest("no")), intent=bad, finish=finish_for(bad)
        )

    assert (await good).ok
    assert all(c.upload_id != bad.upload_id for seal in world.sealed() for c in seal.changes)


async def test_an_empty_body_is_a_direct_change_without_a_bundle(world: MemoryWorld) -> None:
    intent = intent_of(declared_size=0)
    outcome = await world.engine.write(body_of(), intent=intent, finish=finish_for(intent))

    assert outcome.ok
    assert world.sealed() == []
    (change,) = world.pipeline.direct
    assert isinstance(change, PutObject)
    assert (change.size, change.manifest) == (0, Manifest())


async def test_staged_bytes_go_when_every_replica_is_there(world: MemoryWorld) -> None:
    await put(world, b"hello")

    await until(lambda: world.staging.used_bytes == 0)
    assert world.host.files[world.staging.incarnation] == {}


async def test_a_full_staging_answers_slow_down_and_publishes_nothing() -> None:
    async with open_world(budget_bytes=1_000) as world:
        with pytest.raises(SlowDown):
            await put(world, bytes(2_000))

        assert world.sealed() == []
        assert world.staging.used_bytes == 0


# --- nodes that do not take part ----------------------------------------------------------------


async def test_a_refusal_is_answered_by_another_node_at_once() -> None:
    async with open_world(silence_s=60) as world:
        world.pipeline.moods = {NODES[0]: "refuses", NODES[1]: "refuses"}
        world.placement.node_ids = NODES[:3]
        # Three nodes of which two refuse: only the fourth can make the quorum.
        writing = asyncio.create_task(put(world, b"hello"))
        await until(lambda: len(world.pipeline.assignments) >= 3)
        world.placement.node_ids = NODES
        with pytest.raises(QuorumNotReached):
            await writing

        outcome = await put(world, b"hello again")
        assert outcome.ok
        assert NODES[3] in {a.node_id for a in world.pipeline.assignments}


async def test_fewer_usable_nodes_than_the_quorum_answer_503_at_once_and_abort_the_seal() -> None:
    async with open_world(silence_s=60, give_up_s=60) as world:
        world.pipeline.moods = dict.fromkeys(NODES, "refuses")
        async with asyncio.timeout(5):
            with pytest.raises(QuorumNotReached):
                await put(world, b"hello")

        (settlement,) = world.pipeline.settlements.values()
        assert settlement.aborted
        await until(lambda: world.staging.used_bytes == 0)


async def test_without_a_replica_set_nothing_is_staged(world: MemoryWorld) -> None:
    world.placement.down = set(NODES[1:])
    with pytest.raises(QuorumNotReached):
        await put(world, b"hello")

    assert world.sealed() == []
    assert world.staging.used_bytes == 0


async def test_w_commits_are_enough_for_the_answer_and_the_latecomer_finds_the_bytes(
    world: MemoryWorld,
) -> None:
    world.placement.node_ids = NODES[:3]
    world.pipeline.moods = {NODES[0]: "silent"}
    outcome = await put(world, b"hello")

    assert outcome.ok
    assert world.staging.used_bytes > 0, "kept for the third node"


async def test_under_pressure_bytes_with_a_quorum_go_at_once() -> None:
    async with open_world(budget_bytes=100 * KIB) as world:
        world.placement.node_ids = NODES[:3]
        world.pipeline.moods = {NODES[0]: "silent"}
        await put(world, bytes(90 * KIB))

        await until(lambda: world.staging.used_bytes == 0)


async def test_a_commit_of_other_bytes_counts_for_nothing(world: MemoryWorld) -> None:
    world.pipeline.moods = dict.fromkeys(NODES, "silent")
    world.pipeline.settles = False
    writing = asyncio.create_task(put(world, b"hello"))
    await until(world.sealed)
    (seal,) = world.sealed()
    (bundle,) = seal.bundles
    seals = world.engine.pipeline.seals
    for size, crc in ((bundle.size, bundle.crc ^ 1), (bundle.size + 1, bundle.crc)):
        assert seals.on_committed(commit_of(seal, NODES[0], size=size, crc=crc)) is None
    right = seals.on_committed(commit_of(seal, NODES[0], size=bundle.size, crc=bundle.crc))
    assert right is not None
    assert right.committed == {NODES[0]}
    world.pipeline.moods.clear()
    world.pipeline.settles = True

    assert (await writing).ok


def commit_of(seal: UploadsSealed, node_id: NodeId, *, size: int, crc: int) -> BundleCommitted:
    return BundleCommitted(
        bundle_id=seal.bundles[0].bundle_id,
        seal_id=seal.seal_id,
        node_id=node_id,
        node_epoch=1,
        size=size,
        crc=crc,
        received_us=0,
        pulled_us=0,
        durable_us=0,
    )


@pytest.mark.parametrize("status", ["Expired", "Aborted", "BundleDead"])
async def test_a_seal_that_settled_without_effect_is_a_503(world: MemoryWorld, status: str) -> None:
    world.pipeline.settles = False
    writing = asyncio.create_task(put(world, b"hello"))
    await until(world.sealed)
    (seal,) = world.sealed()
    outcomes = tuple(Outcome(upload_id=c.upload_id, status=status) for c in seal.changes)
    world.engine.pipeline.seals.on_completed(
        UploadsCompleted(seal_id=seal.seal_id, lane=seal.lane, outcomes=outcomes, completed_us=1)
    )

    with pytest.raises(QuorumNotReached):
        await writing
    await until(lambda: world.staging.used_bytes == 0)


async def test_a_refusal_by_the_state_is_an_outcome_and_not_an_exception(
    world: MemoryWorld,
) -> None:
    world.pipeline.settles = False
    writing = asyncio.create_task(put(world, b"hello"))
    await until(world.sealed)
    (seal,) = world.sealed()
    refused = Outcome(upload_id=seal.changes[0].upload_id, status="PreconditionFailed")
    world.engine.pipeline.seals.on_completed(
        UploadsCompleted(seal_id=seal.seal_id, lane=seal.lane, outcomes=(refused,), completed_us=1)
    )

    assert (await writing).status == "PreconditionFailed"


async def test_a_seals_deadline_is_in_the_databases_time(world: MemoryWorld) -> None:
    world.engine.database_clock.offset_us = 3_600_000_000
    await put(world, b"hello")

    (seal,) = world.sealed()
    ahead_us = seal.deadline_us - seal.sealed_us
    assert 3_600_000_000 + 59_000_000 < ahead_us < 3_600_000_000 + 61_000_000


# --- silence ------------------------------------------------------------------------------------


async def test_a_lost_answer_is_found_by_asking_the_database(world: MemoryWorld) -> None:
    world.broker.faults = MemoryFaults(drop=1.0, topics=frozenset({"fileflux.uploads.completed"}))
    outcome = await put(world, b"hello")

    assert outcome.ok
    assert world.pipeline.questions >= 1
    assert len(world.sealed()) == 1


async def test_a_lost_seal_is_emitted_again_once_w_nodes_have_committed(world: MemoryWorld) -> None:
    world.broker.faults = MemoryFaults(drop=1.0, topics=frozenset({UPLOADS_SEALED}))
    writing = asyncio.create_task(put(world, b"hello"))
    await until(lambda: world.pipeline.committed)
    world.broker.faults = MemoryFaults()

    assert (await writing).ok
    assignments = [a.node_id for a in world.pipeline.assignments]
    assert len(assignments) == len(set(assignments)), "nobody is asked again for what is there"


async def test_lost_assignments_go_to_the_same_nodes_again(world: MemoryWorld) -> None:
    world.broker.faults = MemoryFaults(drop=1.0, topics=frozenset({BUNDLES_ASSIGNED}))
    writing = asyncio.create_task(put(world, b"hello"))
    await until(world.sealed)
    world.broker.faults = MemoryFaults()

    assert (await writing).ok
    (seal,) = world.sealed()
    assert {a.node_id for a in world.pipeline.assignments} == set(seal.bundles[0].nodes)


async def test_lost_commits_are_learnt_from_the_rows(world: MemoryWorld) -> None:
    world.broker.faults = MemoryFaults(drop=1.0, topics=frozenset({BUNDLES_COMMITTED}))
    world.pipeline.settles = False
    writing = asyncio.create_task(put(world, b"hello"))
    await until(lambda: len(world.emitted()) >= 2)
    world.pipeline.settles = True

    assert (await writing).ok


async def test_a_suspect_node_that_is_silent_is_replaced_and_only_that_one(
    world: MemoryWorld,
) -> None:
    world.pipeline.moods = dict.fromkeys(NODES[:2], "silent")
    world.placement.node_ids = NODES[:3]
    writing = asyncio.create_task(put(world, b"hello"))
    await until(world.sealed)
    world.placement.node_ids = NODES
    world.placement.down = {NODES[0]}

    assert (await writing).ok
    asked = [a.node_id for a in world.pipeline.assignments]
    assert asked.count(NODES[3]) >= 1
    assert asked.count(NODES[2]) == 1, "the one that had committed is not asked again"


async def test_a_seal_that_never_settles_is_aborted_and_a_503_is_final() -> None:
    async with open_world(give_up_s=0.1) as world:
        world.pipeline.settles = False
        with pytest.raises(QuorumNotReached):
            await put(world, b"hello")
        world.pipeline.settles = True
        await until(lambda: not world.pipeline.seals)

        (settlement,) = world.pipeline.settlements.values()
        assert settlement.aborted, "the late materializer finds it settled"


async def test_an_abort_that_comes_second_answers_what_won() -> None:
    async with open_world(give_up_s=0.2, silence_s=60) as world:
        world.broker.faults = MemoryFaults(
            drop=1.0, topics=frozenset({"fileflux.uploads.completed"})
        )
        outcome = await put(world, b"hello")

        assert outcome.ok
        assert world.pipeline.questions == 0


async def test_with_the_database_down_the_outcome_is_unknown_never_a_lie() -> None:
    async with open_world(give_up_s=0.1) as world:
        world.placement.node_ids = NODES[:3]
        world.pipeline.moods = {NODES[0]: "silent"}
        world.pipeline.settles = False
        writing = asyncio.create_task(put(world, b"hello"))
        await until(world.sealed)
        world.pipeline.database_up = False
        with pytest.raises(SettlementUnknown):
            await writing

        assert world.staging.used_bytes > 0, "it may still apply"


async def test_a_broker_that_comes_back_in_time_costs_only_time(world: MemoryWorld) -> None:
    world.broker.stop()
    writing = asyncio.create_task(put(world, b"hello"))
    await asyncio.sleep(0.05)
    world.broker.start()

    assert (await writing).ok


@pytest.mark.parametrize("seed", range(5))
async def test_events_doubled_reordered_late_and_lost_change_no_outcome(seed: int) -> None:
    async with open_world(give_up_s=20) as world:
        world.broker._rng.seed(seed)
        world.broker.faults = MemoryFaults(
            drop=0.2, duplicate=0.3, reorder=0.2, delay=0.2, delay_s_max=0.1, refuse=0.1
        )
        outcomes = await asyncio.gather(*(put(world, bytes([n]) * 50) for n in range(20)))

        assert all(outcome.ok for outcome in outcomes)


# --- large --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "chunks"),
    [
        (SMALL_OBJECT_BYTES_MAX + 1, 1),
        (CHUNK_SIZE_BYTES, 1),
        (CHUNK_SIZE_BYTES + 1, 2),
        (2 * CHUNK_SIZE_BYTES + 12_345, 3),
    ],
)
async def test_a_large_upload_has_a_bundle_per_chunk_and_one_seal(
    world: MemoryWorld, size: int, chunks: int
) -> None:
    world.placement.node_ids = NODES[:3]
    world.pipeline.moods = {NODES[0]: "silent"}
    data = random_bytes(size)
    outcome = await put(world, data, pieces=37)

    (seal,) = world.sealed()
    (change,) = seal.changes
    assert isinstance(change, PutObject)
    assert outcome.ok
    assert (len(seal.bundles), change.size, change.manifest.size) == (chunks, size, size)
    assert stored_bytes(world, change.manifest) == data
    last = world.staged(seal.bundles[-1].bundle_id)
    record = last.meta(last.chunk(0)).record
    assert record is not None
    assert record.size == size
    assert record.manifest == (change.manifest if chunks > 1 else None)
    for bundle in seal.bundles:
        view = world.staged(bundle.bundle_id)
        assert (view.header.size, view.header.crc) == (bundle.size, bundle.crc)


def stored_bytes(world: MemoryWorld, manifest: Manifest) -> bytes:
    files = world.host.files[world.staging.incarnation]
    found = b""
    for chunk in manifest.chunks:
        place = world.staged(chunk.bundle_id).chunk(chunk.number)
        found += files[chunk.bundle_id][place.offset : place.offset + place.length]
    return found


async def test_a_body_of_unknown_size_that_grows_is_streamed_whole(world: MemoryWorld) -> None:
    data = random_bytes(SMALL_OBJECT_BYTES_MAX + 70 * KIB)
    intent = intent_of()
    pieces = [data[at : at + 64 * KIB] for at in range(0, len(data), 64 * KIB)]
    outcome = await world.engine.write(body_of(*pieces), intent=intent, finish=finish_for(intent))

    assert outcome.ok
    (seal,) = world.sealed()
    assert seal.size_class is SizeClass.LARGE
    assert seal.changes[0].upload_id == intent.upload_id


async def test_nodes_pull_the_first_chunks_before_the_last_ones_arrived(world: MemoryWorld) -> None:
    seen_before_end: list[int] = []
    data = random_bytes(3 * CHUNK_SIZE_BYTES)
    intent = intent_of(declared_size=len(data))
    pieces = [data[at : at + MIB] for at in range(0, len(data), MIB)]
    body = body_of(
        *pieces, before_end=lambda: seen_before_end.append(len(world.pipeline.assignments))
    )
    await world.engine.write(body, intent=intent, finish=finish_for(intent))

    assert seen_before_end[0] >= 3, "the first chunk was assigned while the body streamed"


async def test_at_most_four_chunks_wait_for_their_quorum(world: MemoryWorld) -> None:
    world.pipeline.moods = dict.fromkeys(NODES, "silent")
    taken = 0

    async def body() -> AsyncIterator[Buffer]:
        nonlocal taken
        for _ in range(10 * CHUNK_SIZE_BYTES // MIB):
            taken += 1
            yield bytes(MIB)
            await asyncio.sleep(0)

    intent = intent_of(declared_size=10 * CHUNK_SIZE_BYTES)
    writing = asyncio.create_task(
        world.engine.write(body(), intent=intent, finish=finish_for(intent))
    )
    await until(lambda: taken > 4 * CHUNK_SIZE_BYTES // MIB)
    await asyncio.sleep(0.1)

    assert taken == 4 * CHUNK_SIZE_BYTES // MIB + 1, "the fifth chunk is not read"
    assert world.staging.used_bytes < 4.1 * CHUNK_SIZE_BYTES
    world.pipeline.moods.clear()
    assert (await writing).ok


async def test_a_large_body_that_breaks_off_leaves_no_seal_and_no_staged_bytes(
    world: MemoryWorld,
) -> None:
    intent = intent_of(declared_size=3 * CHUNK_SIZE_BYTES)
    pieces = [bytes(MIB)] * 20
    with pytest.raises(BadDigest):
        await world.engine.write(
            body_of(*pieces, fails=BadDigest("cut off")), intent=intent, finish=finish_for(intent)
        )

    assert world.sealed() == []
    await until(lambda: world.staging.used_bytes == 0)
    assert world.host.files[world.staging.incarnation] == {}
    assert len(world.engine.pipeline.seals) == 0


async def test_a_large_upload_cancelled_while_it_streams_leaves_nothing(world: MemoryWorld) -> None:
    arrived = asyncio.Event()

    async def body() -> AsyncIterator[Buffer]:
        for _ in range(12):
            yield bytes(MIB)
        arrived.set()
        await asyncio.sleep(3600)

    intent = intent_of(declared_size=100 * MIB)
    writing = asyncio.create_task(
        world.engine.write(body(), intent=intent, finish=finish_for(intent))
    )
    await arrived.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    await until(lambda: world.staging.used_bytes == 0)
    assert world.sealed() == []


async def test_a_large_upload_whose_nodes_all_refuse_fails_without_a_seal(
    world: MemoryWorld,
) -> None:
    world.pipeline.moods = dict.fromkeys(NODES, "refuses")
    intent = intent_of(declared_size=6 * CHUNK_SIZE_BYTES)
    pieces: Sequence[bytes] = [bytes(MIB)] * 48
    with pytest.raises(QuorumNotReached):
        await world.engine.write(body_of(*pieces), intent=intent, finish=finish_for(intent))

    assert world.sealed() == []
    await until(lambda: world.staging.used_bytes == 0)


async def test_a_client_that_leaves_after_its_body_does_not_stop_the_upload(
    world: MemoryWorld,
) -> None:
    world.pipeline.settles = False
    intent = intent_of(declared_size=2 * MIB)
    writing = asyncio.create_task(
        world.engine.write(
            body_of(bytes(MIB), bytes(MIB)), intent=intent, finish=finish_for(intent)
        )
    )
    await until(world.sealed)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    world.pipeline.settles = True

    await until(lambda: world.pipeline.settlements)
    assert not any(s.aborted for s in world.pipeline.settlements.values())
    await until(lambda: len(world.engine.pipeline.seals) == 0)


# --- the end ------------------------------------------------------------------------------------


async def test_closing_settles_what_is_in_flight(world: MemoryWorld) -> None:
    writing = [asyncio.create_task(put(world, bytes([n]))) for n in range(10)]
    await asyncio.sleep(0)
    await world.engine.close(drain_s=5)

    assert all(outcome.ok for outcome in await asyncio.gather(*writing))
    with pytest.raises(Unavailable):
        await put(world, b"too late")


async def test_a_dead_worker_is_a_problem_that_health_can_tell(world: MemoryWorld) -> None:
    assert world.engine.problem() is None
    (consumer,) = [t for t in world.engine._workers if t.get_name() == "the lane's consumer"]
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)

    assert world.engine.problem() == "the lane's consumer ended"
