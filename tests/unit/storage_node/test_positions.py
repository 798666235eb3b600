"""A position is believed only while the topic still has there what we read."""

import random

import pytest

from fileflux.core.clock import SystemClock
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import Position, Record
from fileflux.events.topics import BUNDLES_ASSIGNED
from fileflux.storage_node.positions import (
    PositionTracker,
    StoredPosition,
    position_after,
    seek_to,
)


async def broker_with(count: int) -> MemoryBroker:
    broker = MemoryBroker(clock=SystemClock())
    publisher = await broker.fast_publisher()
    for number in range(count):
        await publisher.publish(BUNDLES_ASSIGNED, b"record %d" % number, partition=2)
    return broker


def stored_after(broker: MemoryBroker, offset: int) -> StoredPosition:
    return position_after(broker.records(BUNDLES_ASSIGNED, 2)[offset])


async def first_read(broker: MemoryBroker, stored: StoredPosition | None) -> bytes | None:
    source = await broker.source([(BUNDLES_ASSIGNED, 2)])
    await seek_to(source, BUNDLES_ASSIGNED, 2, stored)
    records = await source.fetch(wait_s=0.01)
    return records[0].value if records else None


async def test_reading_goes_on_behind_the_stored_position() -> None:
    broker = await broker_with(5)

    assert await first_read(broker, stored_after(broker, 2)) == b"record 3"
    assert await first_read(broker, stored_after(broker, 4)) is None
    assert await first_read(broker, None) == b"record 0"


async def test_a_wiped_topic_is_read_from_its_start() -> None:
    """Offset 3 of the new topic is another record than offset 3 of the old one."""
    broker = await broker_with(5)
    stored = stored_after(broker, 2)
    broker.wipe()
    publisher = await broker.fast_publisher()
    for number in range(10):
        await publisher.publish(BUNDLES_ASSIGNED, b"new %d" % number, partition=2)

    assert await first_read(broker, stored) == b"new 0"


async def test_an_offset_beyond_the_end_is_read_from_the_start() -> None:
    broker = await broker_with(5)
    stored = stored_after(broker, 4)
    broker.lose_tail(BUNDLES_ASSIGNED, 2, 2)

    assert await first_read(broker, stored) == b"record 0"


async def test_retention_that_took_the_record_before_does_not_send_us_back() -> None:
    broker = await broker_with(5)
    stored = stored_after(broker, 2)
    broker.expire(BUNDLES_ASSIGNED, 2, 3)

    assert await first_read(broker, stored) == b"record 3"


async def test_another_slots_position_says_nothing() -> None:
    broker = await broker_with(5)
    stored = stored_after(broker, 2)
    other = StoredPosition(1, stored.offset, stored.before_us, stored.before_crc)

    assert await first_read(broker, other) == b"record 0"


def record(offset: int) -> Record:
    return Record(Position("t", 0, offset), None, b"%d" % offset, (), offset)


@pytest.mark.parametrize("seed", range(20))
def test_the_position_never_passes_an_unfinished_record(seed: int) -> None:
    rng = random.Random(seed)
    tracker = PositionTracker()
    left: list[int] = []
    entries = []
    for offset in range(12):
        count = rng.randrange(3)
        left += [offset] * count
        entries.append(tracker.begin(record(offset), count))
    rng.shuffle(left)
    reached = tracker.settled()
    while left:
        offset = left.pop()
        moved = tracker.finish(entries[offset])
        reached = moved or reached
        oldest = min(left, default=12)
        assert (reached.offset if reached else 0) == oldest
