"""The materializer on the in-memory twins: what it does with events twice, late, early or never."""

import random
from dataclasses import replace

import pytest
from tests.model.lane_world import NODES, LaneWorld, commit_of, open_world

from fileflux.core.clock import ManualClock
from fileflux.core.errors import PoisonLimitReached
from fileflux.core.ids import BundleId
from fileflux.core.model import Manifest
from fileflux.events.memory import MemoryBroker
from fileflux.events.topics import (
    BUNDLES_COMMITTED,
    UPLOADS_COMPLETED,
    UPLOADS_SEALED,
    dead_letter_topic,
)
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.materializer import Materializer
from fileflux.metadata.memory import MemoryDatabase, MemoryFaults
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.pending_seals import PendingSeals
from fileflux.metadata.rows import BundleRow
from fileflux.metadata.settle import abort_seal

A, B, C = NODES
STEPS_MAX = 40
QUICK_S = 0.001


class MemoryWorld:
    """A world in memory, with what only a test of memory may touch."""

    def __init__(self, world: LaneWorld, broker: MemoryBroker, clock: ManualClock) -> None:
        self.world = world
        self.broker = broker
        self.clock = clock

    @property
    def database(self) -> MemoryDatabase:
        assert isinstance(self.world.database, MemoryDatabase)
        return self.world.database


@pytest.fixture
async def memory() -> MemoryWorld:
    clock = ManualClock()
    broker = MemoryBroker(clock=clock, lanes=2)
    database = MemoryDatabase(clock)
    world = await open_world(broker, database, MemoryReader(database), clock, lanes=2)
    return MemoryWorld(world, broker, clock)


async def _steps(memory: MemoryWorld, *materializers: Materializer, count: int = 3) -> None:
    """Let everybody work; time passes, so that what lingers comes."""
    for _ in range(count):
        for one in materializers:
            await one.turn()
        memory.clock.advance(0.3)


async def test_an_upload_takes_effect_when_w_nodes_confirmed_its_bundle(
    memory: MemoryWorld,
) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k", quorum=2)
    await world.emit(seal)
    await world.confirm(seal, A)
    await _steps(memory, one)
    before = await world.statuses(seal)
    await world.confirm(seal, B)
    await _steps(memory, one)

    assert before is None
    assert await world.statuses(seal) == ["ok"]
    assert await world.version_of(b"k") == seal.changes[0].upload_id
    assert [done.seal_id for done in await world.read_answers()] == [seal.seal_id]


async def test_one_node_that_confirms_twice_is_one_node(memory: MemoryWorld) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k", quorum=2)
    await world.emit(seal)
    await world.confirm(seal, A, A)
    await _steps(memory, one, count=6)

    assert await world.statuses(seal) is None


@pytest.mark.parametrize("field", ["size", "crc"])
async def test_a_confirmation_of_other_bytes_does_not_count(
    memory: MemoryWorld, field: str
) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k", quorum=1)
    await world.emit(seal)
    await world.confirm(seal, A, **{field: 1})
    await _steps(memory, one, count=6)

    assert await world.statuses(seal) is None


async def test_commits_that_come_before_their_seal_or_by_another_lane_count(
    memory: MemoryWorld,
) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k", quorum=2, lane=0)
    await world.confirm(seal, A, lane=0)
    await _steps(memory, one)
    other = await world.materializer(fetch_wait_s=QUICK_S)
    await world.confirm(seal, B, lane=1)
    await world.emit(seal)
    await _steps(memory, other)

    assert await world.statuses(seal) == ["ok"]


async def test_events_that_come_twice_have_one_effect_and_the_stored_answer(
    memory: MemoryWorld,
) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k")
    await world.emit(seal, seal)
    await world.confirm(seal, A, A)
    await _steps(memory, one)
    records = await world.record_count()
    await world.emit(seal)
    await world.confirm(seal, A, B)
    await _steps(memory, one)

    assert await world.record_count() == records
    answers = await world.read_answers()
    assert {done.seal_id for done in answers} == {seal.seal_id}
    assert len({repr(done.outcomes) for done in answers}) == 1
    assert len(answers) >= 2


async def test_two_changes_of_one_key_in_a_seal_leave_the_later_one(memory: MemoryWorld) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k", b"k")
    await world.emit(seal)
    await world.confirm(seal, A)
    await _steps(memory, one)

    assert await world.statuses(seal) == ["ok", "ok"]
    assert await world.version_of(b"k") == seal.changes[1].upload_id


async def test_a_seal_past_its_deadline_expires_and_never_applies(memory: MemoryWorld) -> None:
    """Ingest has answered 503 by then; an effect now would be a lie."""
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k", deadline_us=memory.clock.now_us() + 1_000_000)
    await world.emit(seal)
    await _steps(memory, one)
    memory.clock.advance(2)
    await world.confirm(seal, A)
    await _steps(memory, one)

    assert await world.statuses(seal) == ["Expired"]
    assert await world.version_of(b"k") is None


async def test_a_deadline_is_read_on_the_databases_clock(memory: MemoryWorld) -> None:
    world = memory.world
    memory.database.faults.clock_offset_us = -3_600_000_000
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k")
    await world.emit(seal)
    await world.confirm(seal, A)
    await _steps(memory, one)

    assert await world.statuses(seal) == ["ok"]


async def test_an_aborted_seal_stays_aborted_whatever_is_confirmed(memory: MemoryWorld) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k")
    await world.emit(seal)
    await _steps(memory, one, count=1)
    await abort_seal(world.database, seal.seal_id, [seal.changes[0].upload_id])
    await world.confirm(seal, A, B, C)
    await _steps(memory, one)

    assert await world.statuses(seal) == ["Aborted"]
    assert await world.version_of(b"k") is None


async def test_a_seal_with_a_dead_bundle_fails(memory: MemoryWorld) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seal = await world.upload(b"k")
    _bury(memory, seal.bundles[0].bundle_id)
    await world.emit(seal)
    await world.confirm(seal, A)
    await _steps(memory, one)

    assert await world.statuses(seal) == ["BundleDead"]
    assert await world.version_of(b"k") is None


def _bury(memory: MemoryWorld, bundle_id: BundleId) -> None:
    view = memory.database.tables.open()
    row = BundleRow(
        bundle_id=bundle_id, size_class=0, state="dead", wanted=1, size=100, crc=7, at_us=0
    )
    view.put("bundles", (bundle_id,), row)
    view.commit()
    view.close()


async def test_a_materializer_that_died_is_continued_from_the_oldest_open_seal(
    memory: MemoryWorld,
) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    waiting, done = await world.upload(b"waits"), await world.upload(b"done")
    await world.emit(waiting, done)
    await world.confirm(done, A)
    await _steps(memory, one)
    memory.clock.advance(10)
    await _steps(memory, one)
    position = (await world.reader.lane_positions([(UPLOADS_SEALED, 0)]))[UPLOADS_SEALED, 0]
    two = await world.materializer(fetch_wait_s=QUICK_S)
    await world.confirm(waiting, A)
    await _steps(memory, two)

    assert position.offset in (None, 0)
    assert await world.statuses(waiting) == ["ok"]


async def test_a_wiped_topic_is_noticed_at_the_start_and_read_from_its_beginning(
    memory: MemoryWorld,
) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    for number in range(3):
        seal = await world.upload(b"k%d" % number)
        await world.emit(seal)
        await world.confirm(seal, A)
    await _steps(memory, one)
    memory.broker.wipe()
    seal = await world.upload(b"after")
    for _ in range(5):
        await world.emit(seal)
    await world.confirm(seal, A)
    two = await world.materializer(fetch_wait_s=QUICK_S)
    await _steps(memory, two)

    assert await world.statuses(seal) == ["ok"]


async def test_the_second_owner_of_a_lane_stands_by_and_takes_over_when_it_stands_still(
    memory: MemoryWorld,
) -> None:
    world = memory.world
    one, two = (
        await world.materializer(fetch_wait_s=QUICK_S),
        await world.materializer(fetch_wait_s=QUICK_S),
    )
    await _steps(memory, one, two, count=1)
    first = await world.upload(b"first")
    await world.emit(first)
    await world.confirm(first, A)
    await _steps(memory, one, two, count=4)
    seal = await world.upload(b"second")
    await world.emit(seal)
    await world.confirm(seal, A)
    await _steps(memory, two, count=2)
    too_early = await world.statuses(seal)
    await _steps(memory, two, count=STEPS_MAX)

    assert await world.statuses(first) == ["ok"]
    assert too_early is None, "the second one must have lost the lane to the first"
    assert await world.statuses(seal) == ["ok"]


async def test_two_owners_at_once_settle_every_seal_once(memory: MemoryWorld) -> None:
    world = memory.world
    memory.database.faults.serialization_failures = 0.05
    memory.database.faults.ambiguous_commits = 0.1
    rng = random.Random(4)
    both = [
        await world.materializer(fetch_wait_s=QUICK_S),
        await world.materializer(fetch_wait_s=QUICK_S),
    ]
    records = await world.record_count()
    seals = []
    for number in range(40):
        seal = await world.upload(b"k%d" % number, b"shared", lane=number % 2)
        seals.append(seal)
        await world.emit(seal)
        await world.confirm(seal, rng.choice(NODES))
        await rng.choice(both).turn()
        memory.clock.advance(0.1)
    await _steps(memory, *both, count=STEPS_MAX)

    assert [await world.statuses(seal) for seal in seals] == [["ok", "ok"]] * 40
    assert await world.record_count() - records == 80
    memory.database.faults = MemoryFaults()


async def test_a_record_that_cannot_be_decoded_is_set_aside_and_the_rest_goes_on(
    memory: MemoryWorld,
) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    await world.publish_bytes(UPLOADS_SEALED, b"\x01nonsense", 0)
    await world.publish_bytes(BUNDLES_COMMITTED, b"", 0)
    seal = await world.upload(b"k")
    await world.emit(seal)
    await world.confirm(seal, A)
    await _steps(memory, one)

    assert await world.statuses(seal) == ["ok"]
    assert len(memory.broker.records(dead_letter_topic(UPLOADS_SEALED))) == 1
    assert len(memory.broker.records(dead_letter_topic(BUNDLES_COMMITTED))) == 1


async def test_the_poison_of_a_step_stands_alone_and_settles_as_failed(
    memory: MemoryWorld,
) -> None:
    """A seal may only store bytes: one that makes a user is poison, its neighbours are not."""
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seals = [await world.upload(b"k%d" % number) for number in range(5)]
    seals[3] = await world.seal([world.maker.user("eve", world.maker.id())])
    await world.emit(*seals)
    for seal in seals:
        await world.confirm(seal, A)
    bad = commit_of(seals[0], seals[0].bundles[0], B, node_epoch=-1)
    await world.publish(BUNDLES_COMMITTED, bad, 0)
    await _steps(memory, one)

    statuses = [await world.statuses(seal) for seal in seals]
    assert statuses == [["ok"], ["ok"], ["ok"], ["Failed"], ["ok"]]
    assert len(memory.broker.records(dead_letter_topic(UPLOADS_SEALED))) == 1
    assert len(memory.broker.records(dead_letter_topic(BUNDLES_COMMITTED))) == 1
    assert await world.reader.find_user("eve") is None


async def test_an_accepted_upload_whose_seal_is_poison_ends_with_an_error(
    memory: MemoryWorld,
) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    writer = DirectWriter(memory.database, rng=random.Random(1))
    puts = [replace(world.maker.put(world.bucket, key), is_async=True) for key in (b"a", b"b")]
    accepted, unknown = puts
    assert (await writer.submit(world.maker.accept(accepted))).ok
    records = await world.record_count()
    foreign = world.maker.chunks(10).chunks[0]
    seals = [
        replace(
            await world.seal([put]),
            changes=(replace(put, manifest=Manifest((*put.manifest.chunks, foreign))),),
        )
        for put in puts
    ]
    await world.emit(*seals, seals[0])
    for seal in seals:
        await world.confirm(seal, A)
    await _steps(memory, one)

    assert [await world.statuses(seal) for seal in seals] == [["Failed"], ["Failed"]]
    assert await world.reader.find_async(accepted.upload_id) == "InternalError"
    assert await world.reader.find_async(unknown.upload_id) is None, "nobody was promised it"
    assert await world.record_count() == records + 1
    assert await world.version_of(b"a") is None


async def test_a_poison_seal_whose_accepted_uploads_cannot_end_settles_all_the_same(
    memory: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nothing behind it would ever be applied, whoever is started again."""

    def apply_failed(*_: object) -> None:
        raise ValueError("the poison is in what is recorded, too")

    world = memory.world
    monkeypatch.setattr("fileflux.metadata.failed_async.apply_failed", apply_failed)
    one = await world.materializer(fetch_wait_s=QUICK_S)
    put = replace(world.maker.put(world.bucket, b"a"), is_async=True)
    await DirectWriter(memory.database, rng=random.Random(1)).submit(world.maker.accept(put))
    seal = await world.seal([put])
    foreign = Manifest((*put.manifest.chunks, world.maker.chunks(10).chunks[0]))
    seal = replace(seal, changes=(replace(put, manifest=foreign),))
    await world.emit(seal)
    await world.confirm(seal, A)
    await _steps(memory, one)

    assert await world.statuses(seal) == ["Failed"]


async def test_a_materializer_that_finds_everything_poisonous_stops(memory: MemoryWorld) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    for _ in range(30):
        await world.publish_bytes(UPLOADS_SEALED, b"\x09", 0)

    with pytest.raises(PoisonLimitReached):
        await _steps(memory, one)


async def test_a_database_that_is_away_loses_nothing(memory: MemoryWorld) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    await _steps(memory, one, count=1)
    seal = await world.upload(b"k")
    memory.database.faults.is_down = True
    await world.emit(seal)
    await world.confirm(seal, A)
    await _steps(memory, one, count=2)
    problem = one.problem
    memory.database.faults.is_down = False
    await _steps(memory, one)

    assert problem is not None
    assert one.problem is None
    assert await world.statuses(seal) == ["ok"]


async def test_seals_beyond_the_memory_wait_in_the_topic(memory: MemoryWorld) -> None:
    world = memory.world
    pending = PendingSeals(bytes_max=2_000)
    one = await world.materializer(pending=pending, fetch_wait_s=QUICK_S)
    seals = [await world.upload(b"k%d" % number) for number in range(20)]
    await world.emit(*seals)
    await _steps(memory, one)
    waiting = len(pending)
    for seal in seals:
        await world.confirm(seal, A)
    await _steps(memory, one, count=STEPS_MAX)

    assert 0 < waiting < 10
    assert [await world.statuses(seal) for seal in seals] == [["ok"]] * 20


async def test_completions_of_a_step_are_one_record_per_lane(memory: MemoryWorld) -> None:
    world = memory.world
    one = await world.materializer(fetch_wait_s=QUICK_S)
    seals = [await world.upload(b"k%d" % number, lane=number % 2) for number in range(10)]
    await world.emit(*seals)
    for seal in seals:
        await world.confirm(seal, A)
    await _steps(memory, one)

    records = [memory.broker.records(UPLOADS_COMPLETED, lane) for lane in world.lanes]
    assert [len(lane) for lane in records] == [1, 1]
    assert len(await world.read_answers()) == 10
