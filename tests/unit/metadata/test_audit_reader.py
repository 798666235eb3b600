"""One reader of the audit stream: each position once, in order, wherever it lies."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import orjson
import pytest
from tests.model.archive_world import AFTER_S, KEEP_S, all_steps, open_archive_world
from tests.model.audit_world import Audit, open_audit, turns

from fileflux.core.errors import AuditGap, BrokerUnavailable, MetadataBusy, Unavailable
from fileflux.core.ids import BucketId
from fileflux.events.ports import EventSource
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_places import DatabasePlace, TopicPlace
from fileflux.metadata.audit_reader import CLOCK_SLACK_US, AuditReader
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.ports import AuditBlock
from fileflux.metadata.sequencer import STREAM

SECOND_US = 1_000_000


def chain_of(payloads: Sequence[bytes]) -> list[NumberedRecord]:
    records, last_hash = [], bytes(32)
    for number, payload in enumerate(payloads, 1):
        records.append(NumberedRecord(number, BucketId(bytes(16)), number, last_hash, payload))
        last_hash = hashlib.sha256(last_hash + payload).digest()
    return records


def stamped(*times_s: int) -> list[NumberedRecord]:
    return chain_of([orjson.dumps({"data": {"stamp": s * SECOND_US}}) for s in times_s])


class ListPlace:
    """Holds these records, or is away."""

    def __init__(self, name: str, records: Sequence[NumberedRecord]) -> None:
        self.name = name
        self.records = list(records)
        self.is_away = False
        self.questions = 0

    async def read(self, position: int, *, bytes_max: int) -> Sequence[NumberedRecord]:
        self._check()
        found = [one for one in self.records if one.position >= position]
        return found[:2] if found and found[0].position == position else ()

    async def end(self) -> int:
        self._check()
        return self.records[-1].position + 1 if self.records else 1

    def _check(self) -> None:
        self.questions += 1
        if self.is_away:
            raise MetadataBusy(self.name)


async def positions(reader: AuditReader, start: int = 1) -> list[int]:
    return [record.position async for run in reader.pages(start) for record in run]


@pytest.fixture
async def audit() -> Audit:
    return await open_audit()


def topic_of(audit: Audit) -> TopicPlace:
    async def opened() -> EventSource:
        return await audit.broker.source([(AUDIT, 0)])

    return TopicPlace(opened, audit.clock)


async def test_what_one_place_lacks_another_one_has() -> None:
    records = stamped(*range(9))
    old, young = ListPlace("archive", records[:5]), ListPlace("database", records[4:])

    assert await positions(AuditReader([young, old])) == list(range(1, 10))
    assert await positions(AuditReader([old, young]), 4) == list(range(4, 10))


async def test_a_place_that_is_away_is_passed_over_and_asked_again() -> None:
    records = stamped(*range(4))
    first, second = ListPlace("topic", records), ListPlace("database", records)
    reader = AuditReader([first, second])
    first.is_away = True
    assert [one.position for one in await reader.read(1)] == [1, 2]
    first.is_away, second.is_away = False, True

    assert [one.position for one in await reader.read(3)] == [3, 4]
    first.is_away = True
    with pytest.raises(Unavailable):
        await reader.read(1)


async def test_the_end_is_no_gap_but_a_hole_is_one() -> None:
    records = stamped(*range(6))
    holed = ListPlace("database", records[:2] + records[3:])
    reader = AuditReader([holed])

    assert await reader.read(7) == ()
    with pytest.raises(AuditGap, match="position 3"):
        await reader.read(3)


async def test_a_changed_record_is_taken_from_another_place_or_from_none() -> None:
    records = stamped(*range(6))
    false = [replace(one, payload=b"{}") if one.position == 3 else one for one in records]
    damaged, whole = ListPlace("topic", false), ListPlace("database", records)

    read = [one async for run in AuditReader([damaged, whole]).pages(1) for one in run]
    assert [one.position for one in read] == list(range(1, 7))
    assert read[3:] == records[3:], "what follows the changed record comes from elsewhere"
    with pytest.raises(Unavailable, match="does not continue"):
        await positions(AuditReader([damaged]))


async def test_a_time_is_found_whatever_was_numbered_a_little_late() -> None:
    records = stamped(*range(100, 200), 150, *range(200, 300))
    reader = AuditReader([ListPlace("database", records)])

    found = await reader.position_at(160 * SECOND_US)
    assert found == 160 - 100 + 1 - CLOCK_SLACK_US // SECOND_US
    assert await reader.position_at(0) == 1
    assert await reader.position_at(10_000 * SECOND_US) == 202
    without_old = AuditReader([ListPlace("database", records[80:])])
    assert await without_old.position_at(0) == 81, "what retention removed was older"


async def test_database_and_topic_give_the_same_records(audit: Audit) -> None:
    one = await audit.sequencer()
    await audit.write(7)
    await turns(one)
    database, topic = DatabasePlace(audit.world.reader), topic_of(audit)

    assert await topic.end() == await database.end() == 10
    for start in (1, 5, 9):
        assert list(await topic.read(start, bytes_max=1 << 20)) == list(
            await database.read(start, bytes_max=1 << 20)
        )
        audit.clock.advance(6)
    assert await database.read(10, bytes_max=1) == ()
    assert len(await database.read(2, bytes_max=1)) == len(await topic.read(2, bytes_max=1)) == 1


async def test_a_topic_that_is_wiped_while_it_is_read_costs_no_position(audit: Audit) -> None:
    one = await audit.sequencer()
    reader = AuditReader([topic_of(audit), DatabasePlace(audit.world.reader)])
    seen: list[int] = []

    async def read_on() -> None:
        run = await reader.read(seen[-1] + 1 if seen else 1, bytes_max=1)
        seen.extend(record.position for record in run)

    async def write() -> None:
        await audit.write(2)
        await turns(one)

    await write()
    await _until(seen, 2, read_on)
    audit.broker.wipe(AUDIT)
    await _until(seen, 4, read_on)
    audit.clock.advance(6)
    await write()
    await _until(seen, 6, read_on)
    audit.broker.stop()
    await audit.write(2)
    await turns(one)
    await _until(seen, 8, read_on)

    assert seen == list(range(1, len(seen) + 1))


class Younger(MemoryReader):
    """Without the oldest block, as after retention; the next one answers, as in SQL."""

    async def audit_blocks(
        self, stream: str, first_position: int, *, limit: int
    ) -> list[AuditBlock]:
        blocks = await super().audit_blocks(stream, first_position, limit=limit)
        return [block for block in blocks if block.first_position > 1]


async def test_where_old_blocks_are_gone_the_database_has_no_old_position(audit: Audit) -> None:
    one = await audit.sequencer()
    for _ in range(3):
        await audit.write(2)
        await turns(one)
    database = DatabasePlace(Younger(audit.database))
    first = (await audit.world.reader.audit_blocks(STREAM, 1, limit=2))[1].first_position

    assert await database.read(1, bytes_max=1 << 20) == ()
    assert (await database.read(first, bytes_max=1 << 20))[0].position == first
    with pytest.raises(AuditGap):
        await AuditReader([database]).read(1)
    assert (await AuditReader([database, topic_of(audit)]).read(1))[0].position == 1


async def test_what_left_the_database_is_read_from_the_archive() -> None:
    """One reader over all of it, from the first position into what was not archived yet."""
    world = await open_archive_world()
    sequencer = await world.sequencer()
    await world.write(20, sequencer)
    world.wait(AFTER_S)
    archiver = await world.archiver(keep_s=KEEP_S)
    await all_steps(archiver)
    await world.write(5, sequencer)
    world.wait(KEEP_S)
    await all_steps(archiver)
    await world.write(5, sequencer)
    kept_from = (await world.reader.archive_head(STREAM)).kept_from
    assert kept_from > 1, "otherwise nothing left it"
    end = (await world.reader.audit_head(STREAM)).next_position

    reader = AuditReader([DatabasePlace(world.reader)])
    assert await positions(reader) == list(range(1, end))
    assert await positions(reader, kept_from - 1) == list(range(kept_from - 1, end))
    with pytest.raises(AuditGap):
        await AuditReader([DatabasePlace(MemoryReader(world.audit.database))]).read(1)


async def test_a_broker_that_does_not_answer_is_waited_for_in_between_only(audit: Audit) -> None:
    answers = asyncio.Event()

    async def opened() -> EventSource:
        await answers.wait()
        return await audit.broker.source([(AUDIT, 0)])

    await turns(await audit.sequencer())
    topic = TopicPlace(opened, audit.clock, open_wait_s=0.01)
    reader = AuditReader([topic, DatabasePlace(audit.world.reader)])

    assert (await reader.read(1))[0].position == 1
    with pytest.raises(Unavailable, match="connected"):
        await reader.read(3)
    answers.set()
    async with asyncio.timeout(5):
        while not await _reads(topic):
            await asyncio.sleep(0.01)
    await topic.close()
    assert (await topic.read(1, bytes_max=1))[0].position == 1, "it opens again"


async def _reads(topic: TopicPlace) -> bool:
    try:
        return bool(await topic.read(1, bytes_max=1))
    except BrokerUnavailable:
        return False


async def _until(seen: list[int], count: int, step: Callable[[], Awaitable[None]]) -> None:
    for _ in range(50):
        if len(seen) >= count:
            return
        await step()
    raise AssertionError(f"only {seen} came")
