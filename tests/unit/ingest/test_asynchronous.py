"""`Prefer: respond-async`: what 202 promises, and who keeps the promise after a death."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import structlog

from fileflux.core.changes import AcceptAsync, Actor, Outcome, PutObject
from fileflux.core.checksum import Buffer
from fileflux.core.clock import SystemClock
from fileflux.core.errors import BadDigest, NotFound, SettlementUnknown, SlowDown, Unavailable
from fileflux.core.ids import (
    BucketId,
    BundleId,
    Incarnation,
    NodeId,
    SealId,
    UploadId,
    UserId,
    new_id,
)
from fileflux.core.model import MIB, Manifest, ObjectMeta, StorageClass
from fileflux.events.memory import MemoryFaults
from fileflux.events.topics import UPLOADS_SEALED
from fileflux.ingest import redrive
from fileflux.ingest.asynchronous import AsyncUploads
from fileflux.ingest.inheritance import Heir
from fileflux.ingest.memory_pipeline import MemoryWorld, open_memory_world
from fileflux.ingest.redrive import NotedStaging, Redriver, parse_note
from fileflux.ingest.staging import MemoryHost, StagedReader
from fileflux.ingest.upload import UploadIntent

RNG = random.Random(99)
NODES = tuple(NodeId(f"node-{n}") for n in range(3))
STANDARD = StorageClass("STANDARD", 3, 2)


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive, "RETRY_S_MIN", 0.01)


def open_world(
    *, give_up_s: float = 5.0, former: MemoryWorld | None = None
) -> AbstractAsyncContextManager[MemoryWorld]:
    return open_memory_world(NODES, rng=RNG, silence_s=0.02, give_up_s=give_up_s, former=former)


def open_uploads(world: MemoryWorld, *, outlives_us: bool = True) -> AsyncUploads:
    return AsyncUploads(
        world.engine,
        staging=world.staging,
        direct=world.pipeline,
        states=world.pipeline,
        redriver=redriver_of(world),
        outlives_us=outlives_us,
    )


@asynccontextmanager
async def uploads_of(world: MemoryWorld) -> AsyncIterator[AsyncUploads]:
    uploads = open_uploads(world)
    try:
        yield uploads
    finally:
        await uploads.close()


def redriver_of(world: MemoryWorld) -> Redriver:
    return Redriver(world.engine.pipeline, world.pipeline, world.pipeline, clock=SystemClock())


async def body_of(*pieces: Buffer, fails: Exception | None = None) -> AsyncIterator[Buffer]:
    for piece in pieces:
        yield piece
    if fails is not None:
        raise fails


async def accept(uploads: AsyncUploads, *pieces: Buffer, fails: Exception | None = None) -> Outcome:
    intent = UploadIntent(
        upload_id=UploadId(new_id(RNG)),
        bucket_id=BucketId(bytes(16)),
        bucket="bucket",
        key=b"key",
        storage_class=STANDARD,
        received_us=1,
    )

    def finish(size: int, manifest: Manifest) -> PutObject:
        return PutObject(
            upload_id=intent.upload_id,
            actor=Actor(user_id=UserId(bytes(16)), user_name="u", key_id="k"),
            at_us=1,
            bucket_id=intent.bucket_id,
            bucket=intent.bucket,
            key=intent.key,
            size=size,
            etag="etag",
            meta=ObjectMeta(),
            manifest=manifest,
            storage_class="STANDARD",
        )

    return await uploads.accept(body_of(*pieces, fails=fails), intent=intent, finish=finish)


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


def notes_of(world: MemoryWorld) -> dict[SealId, bytes]:
    return world.host.notes[world.staging.incarnation]


async def test_it_is_accepted_before_any_node_has_it_and_settles_afterwards() -> None:
    async with open_world() as world, uploads_of(world) as uploads:
        world.pipeline.moods = dict.fromkeys(NODES, "silent")
        outcome = await accept(uploads, b"hello")

        assert outcome.ok
        assert await uploads.state(outcome.upload_id) == "accepted"
        assert not world.pipeline.committed
        assert len(notes_of(world)) == 1
        world.pipeline.moods.clear()
        await until(lambda: world.pipeline.async_states[outcome.upload_id] == "ok")
        await until(lambda: not notes_of(world) and world.staging.used_bytes == 0)
        (change,) = world.pipeline.applied
        assert isinstance(change, PutObject)
        assert change.is_async


async def test_what_was_accepted_is_staged_and_noted_first() -> None:
    async with open_world() as world, uploads_of(world) as uploads:
        real, seen = world.pipeline.submit, []

        async def submit(change: AcceptAsync) -> Outcome:
            files = world.host.files[world.staging.incarnation]
            seen.append((len(files), len(notes_of(world)), len(world.sealed())))
            return await real(change)

        world.pipeline.submit = submit  # type: ignore[method-assign, assignment]
        await accept(uploads, bytes(9 * MIB))

        assert seen == [(2, 1, 0)], "two bundles and the note are there, no seal is out"


async def test_a_bad_body_is_refused_and_leaves_nothing() -> None:
    async with open_world() as world, uploads_of(world) as uploads:
        with pytest.raises(BadDigest):
            await accept(uploads, b"hello", fails=BadDigest("no"))

        assert world.pipeline.direct == []
        assert notes_of(world) == {}
        await until(lambda: world.staging.used_bytes == 0)


async def test_an_acceptance_that_is_refused_is_the_answer_and_leaves_nothing() -> None:
    async with open_world() as world, uploads_of(world) as uploads:

        async def submit(change: AcceptAsync) -> Outcome:
            return Outcome(upload_id=change.upload_id, status="NoSuchBucket")

        world.pipeline.submit = submit  # type: ignore[method-assign, assignment]
        outcome = await accept(uploads, b"hello")

        assert outcome.status == "NoSuchBucket"
        assert world.sealed() == []
        assert notes_of(world) == {}
        await until(lambda: world.staging.used_bytes == 0)


async def test_an_acceptance_nobody_knows_of_is_unknown_to_the_client_and_goes_on() -> None:
    async with open_world() as world, uploads_of(world) as uploads:

        async def submit(change: AcceptAsync) -> Outcome:
            world.pipeline.async_states[change.upload_id] = "accepted"
            raise SettlementUnknown("the answer got lost")

        world.pipeline.submit = submit  # type: ignore[method-assign, assignment]
        with pytest.raises(SettlementUnknown):
            await accept(uploads, b"hello")

        await until(lambda: set(world.pipeline.async_states.values()) == {"ok"})


async def test_an_empty_body_is_done_at_once() -> None:
    async with open_world() as world, uploads_of(world) as uploads:
        outcome = await accept(uploads)

        assert outcome.ok
        (change,) = world.pipeline.direct
        assert isinstance(change, PutObject)
        assert not change.is_async


async def test_a_full_staging_is_said_before_anything_is_promised() -> None:
    opened = open_memory_world(NODES, rng=RNG, budget_bytes=1000)
    async with opened as world, uploads_of(world) as uploads:
        with pytest.raises(SlowDown):
            await accept(uploads, bytes(2000))
        assert world.pipeline.direct == []


async def test_staging_that_goes_with_its_pod_promises_nothing() -> None:
    """An emptyDir survives a power cut, and is gone with the pod."""
    async with open_world() as world:
        uploads = open_uploads(world, outlives_us=False)
        assert world.staging.is_durable
        assert not uploads.is_available
        await uploads.close()


async def test_an_unknown_upload_has_no_state() -> None:
    async with open_world() as world, uploads_of(world) as uploads:
        with pytest.raises(NotFound):
            await uploads.state(UploadId(new_id(RNG)))


async def test_a_seal_that_was_aborted_gets_a_successor_until_one_applies() -> None:
    async with open_world(give_up_s=0.1) as world, uploads_of(world) as uploads:
        world.pipeline.settles = False
        outcome = await accept(uploads, b"hello")
        await until(lambda: len(world.sealed()) >= 3)
        world.pipeline.settles = True
        await until(lambda: world.pipeline.async_states[outcome.upload_id] == "ok")
        await until(lambda: not notes_of(world))

        assert len(world.pipeline.applied) == 1
        seals = world.sealed()
        assert len({seal.bundles[0].bundle_id for seal in seals}) == 1, "the same bytes each time"
        former = seals[:-1]
        assert all(world.pipeline.settlements[seal.seal_id].aborted for seal in former)


async def test_the_note_is_always_that_of_the_last_seal() -> None:
    async with open_world(give_up_s=0.1) as world, uploads_of(world) as uploads:
        world.pipeline.settles = False
        await accept(uploads, b"hello")
        for _ in range(2):
            known = len(world.sealed())
            await until(lambda known=known: len(world.sealed()) > known)  # type: ignore[misc]
            newest = max(world.sealed(), key=lambda seal: seal.sealed_us)
            assert newest.seal_id in notes_of(world), "a death now would lose it otherwise"
        world.pipeline.settles = True
        await until(lambda: not notes_of(world))


async def test_bytes_of_an_accepted_upload_stay_while_its_seals_fail() -> None:
    async with open_world(give_up_s=0.1) as world, uploads_of(world) as uploads:
        world.pipeline.moods = dict.fromkeys(NODES, "refuses")
        outcome = await accept(uploads, b"hello")
        await until(lambda: any(s.aborted for s in world.pipeline.settlements.values()))
        assert world.staging.used_bytes > 0
        world.pipeline.moods.clear()

        await until(lambda: world.pipeline.async_states[outcome.upload_id] == "ok")


@pytest.mark.parametrize("is_seal_out", [False, True])
async def test_the_heir_of_a_dead_incarnation_settles_what_it_accepted_once(
    is_seal_out: bool,
) -> None:
    async with open_world() as former:
        uploads = open_uploads(former)
        if not is_seal_out:
            former.broker.faults = MemoryFaults(drop=1, topics=frozenset({UPLOADS_SEALED}))
        former.pipeline.moods = dict.fromkeys(NODES, "silent")
        outcome = await accept(uploads, b"hello")
        await asyncio.sleep(0.05)
        await kill(former, uploads)

        async with open_world(former=former) as world:
            former.broker.faults = MemoryFaults()
            former.pipeline.moods.clear()
            heir = Heir(
                world.host, world.pipeline, redriver_of(world), clock=SystemClock(), seal_life_s=1
            )
            inheritance = await world.host.adopt()
            assert inheritance is not None
            await heir.settle(inheritance)

            assert world.pipeline.async_states[outcome.upload_id] == "ok"
            assert len(world.pipeline.applied) == 1
            assert former.staging.incarnation not in world.host.files, "and nothing is left"
            urls = {a.source_url for a in world.pipeline.assignments}
            assert any("heir.invalid" in url for url in urls), "the heir serves the bundles"
            assert world.engine.pipeline.seals.watched_count == 0, "and forgets them afterwards"


async def test_a_note_that_was_never_accepted_is_dropped() -> None:
    async with open_world() as former:
        uploads = open_uploads(former)

        async def submit(change: AcceptAsync) -> Outcome:
            await asyncio.sleep(3600)
            raise AssertionError

        former.pipeline.submit = submit  # type: ignore[method-assign, assignment]
        accepting = asyncio.create_task(accept(uploads, b"hello"))
        await until(lambda: notes_of(former))
        await kill(former, uploads)
        await asyncio.gather(accepting, return_exceptions=True)

        async with open_world(former=former) as world:
            heir = Heir(
                world.host, world.pipeline, redriver_of(world), clock=SystemClock(), seal_life_s=1
            )
            inheritance = await world.host.adopt()
            assert inheritance is not None
            await heir.settle(inheritance)

            assert world.pipeline.applied == []
            assert former.staging.incarnation not in world.host.files


@pytest.mark.parametrize("damage", [b"", b"\x01\x90", b"rot", b"\x7f of a later version"])
async def test_a_note_that_cannot_be_read_is_kept_aside_and_the_others_are_inherited(
    damage: bytes,
) -> None:
    async with open_world() as former:
        uploads = open_uploads(former)
        former.pipeline.moods = dict.fromkeys(NODES, "silent")
        outcomes = [await accept(uploads, data) for data in (b"one", b"two", b"three")]
        await kill(former, uploads)
        notes = former.host.notes[former.staging.incarnation]
        (bad,) = (s for s, n in notes.items() if bytes(outcomes[0].upload_id) in n)
        (bundle,) = parse_note(notes[bad]).bundles
        notes[bad] = damage

        async with open_world(former=former) as world:
            former.pipeline.moods.clear()
            heir = Heir(
                world.host, world.pipeline, redriver_of(world), clock=SystemClock(), seal_life_s=0
            )
            inheritance = await world.host.adopt()
            assert inheritance is not None
            with structlog.testing.capture_logs() as logs:
                await heir.settle(inheritance)

            states = [world.pipeline.async_states[o.upload_id] for o in outcomes]
            assert states == ["accepted", "ok", "ok"]
            assert notes == {bad: damage}
            assert bundle.bundle_id in world.host.files[former.staging.incarnation]
            assert [e["seal_id"] for e in logs if e["log_level"] == "error"] == [bad.hex()]


async def test_an_upload_that_cannot_be_driven_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world() as former:
        uploads = open_uploads(former)
        former.pipeline.moods = dict.fromkeys(NODES, "silent")
        outcomes = [await accept(uploads, data) for data in (b"one", b"two")]
        await kill(former, uploads)

        async with open_world(former=former) as world:
            former.pipeline.moods.clear()
            redriver = redriver_of(world)
            real, ill = redriver.drive, bytes(outcomes[0].upload_id)

            async def drive(note: bytes, staging: NotedStaging) -> None:
                if ill in note:
                    raise ValueError("our bug")
                await real(note, staging)

            monkeypatch.setattr(redriver, "drive", drive)
            heir = Heir(world.host, world.pipeline, redriver, clock=SystemClock(), seal_life_s=0)
            inheritance = await world.host.adopt()
            assert inheritance is not None
            await heir.settle(inheritance)

            states = [world.pipeline.async_states[o.upload_id] for o in outcomes]
            assert states == ["accepted", "ok"]
            (note,) = world.host.notes[former.staging.incarnation].values()
            assert ill in note


@pytest.mark.parametrize("passes", [False, True])
async def test_a_bundle_that_cannot_be_read_stops_no_accepted_upload(
    monkeypatch: pytest.MonkeyPatch, passes: bool
) -> None:
    """It is somebody else's, whose connection died; its disk is broken, or its bucket away."""
    monkeypatch.setattr("fileflux.ingest.inheritance.LOOK_S", 0.01)
    async with open_world() as former:
        uploads = open_uploads(former)
        former.pipeline.moods = dict.fromkeys(NODES, "silent")
        outcome = await accept(uploads, b"one")
        await kill(former, uploads)
        other = BundleId(bytes(16))
        former.host.files[former.staging.incarnation][other] = b"bytes"

        async with open_world(former=former) as world:
            former.pipeline.moods.clear()
            real, failures = MemoryHost.open, [Unavailable("no answer")] * 3

            async def read(
                host: MemoryHost, incarnation: Incarnation, bundle_id: BundleId
            ) -> StagedReader:
                if bundle_id == other and not passes:
                    raise OSError("broken")
                if bundle_id == other and failures:
                    raise failures.pop()
                return await real(host, incarnation, bundle_id)

            monkeypatch.setattr(MemoryHost, "open", read)
            heir = Heir(
                world.host, world.pipeline, redriver_of(world), clock=SystemClock(), seal_life_s=0
            )
            inheritance = await world.host.adopt()
            assert inheritance is not None
            await heir.settle(inheritance)

            assert world.pipeline.async_states[outcome.upload_id] == "ok"
            assert list(inheritance.bundle_ids) == ([] if passes else [other])


async def test_other_bundles_of_the_dead_are_served_until_their_seal_settles() -> None:
    async with open_world() as former:
        former.pipeline.settles = False
        former.pipeline.moods = dict.fromkeys(NODES, "silent")
        intent_body = body_of(b"hello")
        writing = asyncio.create_task(
            former.engine.write(intent_body, intent=sync_intent(), finish=sync_finish)
        )
        await until(former.sealed)
        (seal,) = former.sealed()
        former.host.kill(former.staging.incarnation)
        inheritance = await former.host.adopt()
        assert inheritance is not None
        heir = Heir(
            former.host, former.pipeline, redriver_of(former), clock=SystemClock(), seal_life_s=60
        )
        settling = asyncio.create_task(heir.settle(inheritance))
        await asyncio.sleep(0.1)
        bundle_id = seal.bundles[0].bundle_id
        assert list(inheritance.bundle_ids) == [bundle_id], "nodes may still pull it"
        settling.cancel()
        writing.cancel()
        await asyncio.gather(settling, writing, return_exceptions=True)

        former.pipeline.settlements[seal.seal_id] = await former.pipeline.abort(seal.seal_id, ())
        await heir.settle(inheritance)
        assert former.staging.incarnation not in former.host.files


async def kill(world: MemoryWorld, uploads: AsyncUploads) -> None:
    """End an incarnation as a crash does: nothing is tidied up, its files and notes stay."""
    files = dict(world.host.files[world.staging.incarnation])
    notes = dict(notes_of(world))
    await uploads.close()
    await world.engine.close(drain_s=0)
    world.host.files[world.staging.incarnation] = files
    world.host.notes[world.staging.incarnation] = notes
    world.host.kill(world.staging.incarnation)


SYNC_ID = UploadId(bytes(15) + b"s")


def sync_intent() -> UploadIntent:
    return UploadIntent(
        upload_id=SYNC_ID,
        bucket_id=BucketId(bytes(16)),
        bucket="bucket",
        key=b"key",
        storage_class=STANDARD,
        received_us=1,
    )


def sync_finish(size: int, manifest: Manifest) -> PutObject:
    return PutObject(
        upload_id=SYNC_ID,
        actor=Actor(user_id=UserId(bytes(16)), user_name="u", key_id="k"),
        at_us=1,
        bucket_id=BucketId(bytes(16)),
        bucket="bucket",
        key=b"key",
        size=size,
        etag="etag",
        meta=ObjectMeta(),
        manifest=manifest,
        storage_class="STANDARD",
    )
