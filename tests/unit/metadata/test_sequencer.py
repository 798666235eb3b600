"""The sequencer on the in-memory twins: each record once, in order, no gap, whatever fails."""

import asyncio
import random
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.model.audit_world import Audit, open_audit, turns
from tests.model.lane_world import NODES, open_world

from fileflux.core.errors import BrokerUnavailable
from fileflux.events.memory import MemoryFaults
from fileflux.events.ports import EventPublisher, Position, Record
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_log import read_database, verify
from fileflux.metadata.audit_publisher import AuditTopicDiffers
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.sequencer import STREAM


@pytest.fixture
async def audit() -> Audit:
    return await open_audit()


async def test_every_committed_change_is_published_once_in_order(audit: Audit) -> None:
    one = await audit.sequencer()
    await audit.write(5)
    await turns(one)
    await audit.write(5)
    await turns(one)

    positions = [record.position for record in audit.published()]
    assert positions == list(range(1, 13))  # The user and the bucket came first.
    assert await audit.faults() == []
    assert await audit.world.reader.pending_audit(limit=10) == []


async def test_every_bucket_has_a_sequence_of_its_own_without_gaps(audit: Audit) -> None:
    one = await audit.sequencer()
    other = audit.world.maker.bucket("other-bucket")
    await audit.writer.submit(other)
    for number in range(6):
        bucket = (other, audit.world.bucket)[number % 2]
        await audit.writer.submit(audit.world.maker.create_multipart(bucket, b"k"))
        await turns(one, count=1)

    by_stream: dict[bytes, list[int]] = {}
    for record in audit.published():
        by_stream.setdefault(record.stream, []).append(record.sequence)
    assert sorted(by_stream.values()) == [[1], [1, 2, 3, 4], [1, 2, 3, 4]]


async def test_a_wiped_topic_gets_everything_again_from_the_first_record(audit: Audit) -> None:
    one = await audit.sequencer()
    await audit.write(10)
    await turns(one)
    before = audit.published()
    audit.broker.wipe(AUDIT)
    audit.clock.advance(6)
    await turns(one)

    assert audit.published() == before
    assert await audit.faults() == []


async def test_a_long_history_is_published_in_many_turns(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One turn for all of it would look like a loop that stands still, and be restarted."""
    monkeypatch.setattr("fileflux.metadata.audit_publisher.BLOCKS_PER_READ", 2)
    one = await audit.sequencer()
    for _ in range(8):
        await audit.write(1)
        await turns(one, count=1)
    audit.broker.wipe(AUDIT)
    audit.clock.advance(6)
    await turns(one, count=1)
    after_one_turn = len(audit.published())
    await turns(one, count=8)

    assert 0 < after_one_turn < 10
    assert [record.position for record in audit.published()] == list(range(1, 11))


async def test_a_topic_that_lost_its_tail_gets_it_again(audit: Audit) -> None:
    one = await audit.sequencer()
    await audit.write(10)
    await turns(one)
    audit.broker.lose_tail(AUDIT, 0, 4)
    await audit.write(1)
    audit.clock.advance(6)
    await turns(one)

    assert await audit.read_once() == list(range(1, 14))
    assert await audit.faults() == []


async def test_a_wipe_just_before_more_is_written_leaves_no_gap(audit: Audit) -> None:
    """A reader that meets a later record first could only say that something is missing."""
    one = await audit.sequencer()
    await audit.write(5)
    await turns(one)
    audit.broker.wipe(AUDIT)
    audit.clock.advance(3)
    await audit.write(5)
    await turns(one)

    assert [record.position for record in audit.published()] == list(range(1, 13))


async def test_what_was_on_its_way_to_a_wiped_topic_does_not_stand_for_all_before_it(
    audit: Audit,
) -> None:
    """It came more than once, so that the topic had as many records as the last one's number.

    Found by the simulation: the topic was taken for whole, and its start was never published again.
    """
    one = await audit.sequencer()
    await audit.write(1)
    await turns(one)
    late = audit.broker.records(AUDIT)[-1]
    audit.broker.wipe(AUDIT)
    publisher = await audit.broker.safe_publisher()
    for _ in range(4):
        await publisher.publish(AUDIT, late.value, partition=0, key=late.key, headers=late.headers)
    audit.clock.advance(6)
    await turns(one)

    assert [record.position for record in audit.published()] == [1, 2, 3]
    assert await audit.read_once() == [1, 2, 3]


@pytest.mark.parametrize("late", [slice(0, 3), slice(3, 7), slice(6, 7)], ids=["1-3", "4-7", "7"])
@pytest.mark.parametrize("nth", range(1, 14))
async def test_what_comes_late_to_a_wiped_topic_leaves_no_gap(
    audit: Audit, monkeypatch: pytest.MonkeyPatch, nth: int, late: slice
) -> None:
    """It was on its way when its producer was given up: it comes between any two questions."""
    one = await audit.sequencer()
    await audit.write(5)
    await turns(one)
    overtaking = audit.broker.records(AUDIT)[late]
    audit.broker.wipe(AUDIT)
    audit.clock.advance(6)
    check_up, questions = audit.broker.check_up, 0

    def arrive() -> None:
        nonlocal questions
        questions += 1
        if questions == nth:
            log = audit.broker.log(AUDIT, 0)
            for record in overtaking:
                place = Position(AUDIT, 0, log.end)
                log.records.append(replace(record, position=place))
        check_up()

    monkeypatch.setattr(audit.broker, "check_up", arrive)
    await turns(one)
    audit.clock.advance(6)
    await turns(one)

    assert audit.published()[0].position == 1
    assert await audit.read_once() == list(range(1, 8))
    assert await audit.faults() == []


async def test_a_start_that_was_removed_is_published_again(audit: Audit) -> None:
    """The topic keeps everything for ever, so a first offset above 0 tells of no retention."""
    one = await audit.sequencer()
    await audit.write(10)
    await turns(one)
    await audit.broker.drop_records(AUDIT, 0, 5)
    audit.clock.advance(6)
    await turns(one)

    assert [record.position for record in audit.published()] == list(range(1, 13))
    assert await audit.read_once() == list(range(1, 13))


async def test_a_long_topic_that_lost_its_start_is_published_again_once(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks for a start behind so many records: it came again and again."""
    monkeypatch.setattr("fileflux.events.audit.LATE_RECORDS_MAX", 3)
    one = await audit.sequencer()
    await audit.write(10)
    await turns(one)
    await audit.broker.drop_records(AUDIT, 0, 5)
    for _ in range(3):
        audit.clock.advance(6)
        await turns(one)

    assert [record.position for record in audit.published()] == list(range(1, 13))


async def test_a_far_start_is_known_when_nothing_may_be_removed_before_it(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise BrokerUnavailable("not allowed")

    monkeypatch.setattr("fileflux.events.audit.LATE_RECORDS_MAX", 3)
    one = await audit.sequencer()
    await audit.write(10)
    await turns(one)
    await audit.broker.drop_records(AUDIT, 0, 5)
    monkeypatch.setattr(audit.broker, "drop_records", refuse)
    for _ in range(3):
        audit.clock.advance(6)
        await turns(one)

    assert [record.position for record in audit.published()] == [*range(6, 13), *range(1, 13)]


async def test_a_late_record_that_comes_when_others_were_removed_is_no_start(
    audit: Audit,
) -> None:
    """The first offset was above 0 then, and the lost start was taken for expired: for ever."""
    one = await audit.sequencer()
    await audit.write(5)
    await turns(one)
    late = audit.broker.records(AUDIT)[-1:]
    audit.broker.wipe(AUDIT)
    await _publish_again(audit, late)
    await audit.broker.drop_records(AUDIT, 0, 1)
    await _publish_again(audit, late)
    audit.clock.advance(6)
    await turns(one)

    assert [record.position for record in audit.published()] == list(range(1, 8))


async def test_a_copy_of_the_start_does_not_cost_what_stands_before_it(audit: Audit) -> None:
    """Another publisher saw the topic empty, and comes late. Found by the simulation."""
    one = await audit.sequencer()
    await audit.write(5)
    await turns(one)
    head = await audit.world.reader.audit_head(STREAM)
    audit.broker.wipe(AUDIT)
    late = _LatePublisher(await audit.broker.safe_publisher())
    copying = await audit.publisher(cast("EventPublisher", late))
    publishing = asyncio.create_task(copying.publish(head))
    await late.is_late.wait()
    audit.clock.advance(6)
    await turns(one)
    late.go.set()
    await late.was_there.wait()
    publishing.cancel()
    await audit.write(1)
    await turns(one)

    assert await audit.read_once() == list(range(1, 9))


class _LatePublisher:
    """Publishes one run, when it is told to, and no other."""

    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher = publisher
        self.is_late, self.go, self.was_there = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def publish_all(self, *arguments: Any, **options: Any) -> Position:
        if self.is_late.is_set():
            self.was_there.set()
            await asyncio.Event().wait()
        self.is_late.set()
        await self.go.wait()
        return await self._publisher.publish_all(*arguments, **options)


async def _publish_again(audit: Audit, records: list[Record]) -> None:
    publisher = await audit.broker.safe_publisher()
    for one in records:
        await publisher.publish(AUDIT, one.value, partition=0, key=one.key, headers=one.headers)


async def test_late_records_that_cannot_be_removed_stand_in_nobodys_way(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise BrokerUnavailable("not allowed")

    monkeypatch.setattr(audit.broker, "drop_records", refuse)
    one = await audit.sequencer()
    await audit.write(1)
    await turns(one)
    late = audit.broker.records(AUDIT)[-1]
    audit.broker.wipe(AUDIT)
    publisher = await audit.broker.safe_publisher()
    await publisher.publish(AUDIT, late.value, partition=0, key=late.key, headers=late.headers)
    audit.clock.advance(6)
    await turns(one)

    assert [record.position for record in audit.published()] == [3, 1, 2, 3]
    assert await audit.read_once() == [1, 2, 3]


async def test_a_new_sequencer_goes_on_where_the_topic_ends(audit: Audit) -> None:
    await audit.write(3)
    await turns(await audit.sequencer())
    await audit.write(3)
    await turns(await audit.sequencer())

    assert [record.position for record in audit.published()] == list(range(1, 9))
    assert await audit.faults() == []


async def test_publishes_that_fail_or_come_twice_leave_no_gap(audit: Audit) -> None:
    audit.broker.faults = MemoryFaults(refuse=0.2, duplicate=0.2, topics=frozenset({AUDIT}))
    one = await audit.sequencer()
    for _ in range(30):
        await audit.write(3)
        await turns(one, count=1)
    audit.broker.faults = MemoryFaults()
    await turns(one)

    assert await audit.read_once() == list(range(1, 93))
    assert await audit.faults() == []


async def test_of_two_sequencers_one_stands_by_and_takes_over_when_the_other_is_gone(
    audit: Audit,
) -> None:
    one, two = await audit.sequencer(), await audit.sequencer()
    await turns(one, two, count=1)
    for sequencer in (one, two, one):
        await audit.write(2)
        await turns(sequencer, count=1)
    was_standing_by = not two.is_leader
    await audit.write(4)
    await turns(two, count=20)

    assert was_standing_by
    assert two.is_leader
    assert await audit.read_once() == list(range(1, 13))
    assert await audit.faults() == []


@pytest.mark.parametrize("seed", range(12))
async def test_two_sequencers_at_once_number_and_publish_each_record_once(
    audit: Audit, seed: int
) -> None:
    """Both work at the same moment, one sleeps and wakes, and nobody knows of some commits."""
    rng = random.Random(seed)
    audit.database.faults.ambiguous_commits = 0.1
    audit.database.faults.serialization_failures = 0.1
    both = [await audit.sequencer(), await audit.sequencer()]
    awake, written, led = list(both), 2, set[int]()
    for _ in range(60):
        await audit.write(count := rng.randrange(3))
        written += count
        await asyncio.gather(*(one.turn() for one in awake))
        led |= {number for number, one in enumerate(both) if one in awake and one.is_leader}
        if rng.random() < 0.2:
            awake = list(both) if len(awake) == 1 else [rng.choice(both)]
        audit.clock.advance(rng.choice((0.0, 0.5, 4.0)))
    audit.database.faults.ambiguous_commits = 0.0
    audit.database.faults.serialization_failures = 0.0
    for _ in range(4):
        audit.clock.advance(6.0)
        await turns(*both)

    assert led == {0, 1}
    head = await audit.world.reader.audit_head(STREAM)
    assert head.next_position == written + 1
    stored = await verify(read_database(audit.world.reader), head=head)
    assert (stored.record_count, stored.faults) == (written, ())
    assert await audit.read_once() == list(range(1, written + 1))
    assert await audit.faults() == []


async def test_commits_of_which_nobody_knows_number_nothing_twice(audit: Audit) -> None:
    audit.database.faults.ambiguous_commits = 0.3
    audit.database.faults.serialization_failures = 0.1
    one = await audit.sequencer()
    for _ in range(20):
        await audit.write(2)
        await turns(one, count=1)
    audit.database.faults.ambiguous_commits = 0.0
    audit.database.faults.serialization_failures = 0.0
    await turns(one)

    assert [record.position for record in audit.published()] == list(range(1, 43))
    assert await audit.faults() == []


async def test_a_broker_that_is_away_stops_nothing_but_the_publishing(audit: Audit) -> None:
    one = await audit.sequencer()
    await turns(one)
    audit.broker.stop()
    await audit.write(3)
    await turns(one, count=2)
    problem = one.problem
    audit.broker.start()
    await turns(one)

    assert problem is not None
    assert one.problem is None
    assert await audit.read_once() == list(range(1, 6))


async def test_usage_follows_the_numbered_records(audit: Audit) -> None:
    world = audit.world
    one, materializer = await audit.sequencer(), await world.materializer(fetch_wait_s=0.001)
    for keys in ((b"a", b"b", b"c"), (b"a",)):
        seal = await world.upload(*keys)
        await world.emit(seal)
        await world.confirm(seal, NODES[0])
        await materializer.turn()
    await audit.writer.submit(world.maker.delete(world.bucket, b"b"))
    await turns(one)

    usage = await world.reader.usage_of([world.bucket.bucket_id])
    assert usage == {world.bucket.bucket_id: (2, 200)}


async def test_a_topic_of_another_history_is_refused_with_a_sentence(audit: Audit) -> None:
    """Numbering on would give readers two records of one position."""
    await audit.write(3)
    await turns(await audit.sequencer())
    clock = audit.clock
    database = MemoryDatabase(clock)
    world = await open_world(audit.broker, database, MemoryReader(database), clock, seed=9)
    other = Audit(world, audit.broker, clock)

    with pytest.raises(AuditTopicDiffers, match="fileflux rebuild"):
        await turns(await other.sequencer())
    await other.write(10)
    with pytest.raises(AuditTopicDiffers, match="another record"):
        await turns(await other.sequencer())


async def test_a_broker_without_the_topic_raises_what_may_be_retried(audit: Audit) -> None:
    with pytest.raises(BrokerUnavailable):
        await audit.broker.source([("fileflux.nothing", 0)])
