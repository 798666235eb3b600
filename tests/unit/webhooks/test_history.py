"""The dispatcher's two readings of the audit stream, when one of them is damaged."""

import asyncio
from typing import Any, cast

import pytest
from tests.model.webhook_rows import audit_record

from fileflux.core.clock import SystemClock
from fileflux.core.errors import EventInvalid
from fileflux.events.audit import PARTITION, AuditStream, to_cloudevent
from fileflux.events.memory import MemoryBroker
from fileflux.events.topics import AUDIT
from fileflux.metadata.chain import NumberedRecord, block_of
from fileflux.metadata.ports import AuditBlock, MetadataReader
from fileflux.metadata.webhook_rows import Cursor
from fileflux.webhooks.history import History, TopicReading
from fileflux.webhooks.intake import Intake


class DamagedReader:
    """A database whose blocks cannot be read."""

    async def audit_blocks(self, stream: str, position: int, *, limit: int) -> list[Any]:
        raise EventInvalid(f"the audit block at position {position} is damaged")


def history_over(broker: MemoryBroker) -> History:
    return History(cast("MetadataReader", DamagedReader()), broker, SystemClock())


def as_published(record: NumberedRecord) -> tuple[bytes, bytes, Any]:
    message = to_cloudevent(
        record.payload,
        position=record.position,
        stream=record.stream,
        sequence=record.sequence,
        previous_hash=record.previous_hash,
    )
    return message.key, message.value, message.headers


async def test_a_damaged_block_of_the_database_is_read_from_the_topic() -> None:
    """It must not end the process: nobody would be told anything any more."""
    broker = MemoryBroker(clock=SystemClock(), lanes=1)
    publisher = await broker.safe_publisher()
    records = [as_published(audit_record(1, b"key"))]
    await publisher.publish_all(AUDIT, records, partition=PARTITION)
    history = history_over(broker)

    assert [one.position for one in await history.past(1)] == [1]
    await history.close()


async def test_a_read_that_was_broken_off_does_not_lose_its_place(monkeypatch: Any) -> None:
    """The source may have handed out what nobody was given: a route was paused meanwhile."""
    broker = MemoryBroker(clock=SystemClock(), lanes=1)
    publisher = await broker.safe_publisher()
    for n in (1, 2, 3):
        await publisher.publish_all(AUDIT, [as_published(audit_record(n))], partition=PARTITION)
    reading = TopicReading(broker)
    assert [one.position for one in await reading.read(1, wait_s=0.1)] == [1, 2, 3]
    await publisher.publish_all(AUDIT, [as_published(audit_record(4))], partition=PARTITION)
    fetch = AuditStream.fetch

    async def broken_off(stream: AuditStream, **asked: Any) -> Any:
        await fetch(stream, **asked)
        raise asyncio.CancelledError

    monkeypatch.setattr(AuditStream, "fetch", broken_off)
    with pytest.raises(asyncio.CancelledError):
        await reading.read(4, wait_s=0.1)
    monkeypatch.setattr(AuditStream, "fetch", fetch)
    assert [one.position for one in await reading.read(4, wait_s=0.1)] == [4]
    await reading.close()


async def test_a_past_that_is_damaged_in_both_places_is_waited_out() -> None:
    broker = MemoryBroker(clock=SystemClock(), lanes=1)
    publisher = await broker.safe_publisher()
    await publisher.publish_all(AUDIT, [(b"", b"no record", ())], partition=PARTITION)
    history = history_over(broker)
    unused = cast("Any", None)
    intake = Intake(unused, history, unused, SystemClock(), Cursor(1, 1))

    assert await intake._past(1) == ()
    await history.close()


async def test_a_block_that_the_database_lacks_between_others_is_no_gap_for_receivers() -> None:
    """They would never hear of what stood there: the cursor moves behind what was read."""
    blocks = {n: block_of("main", [audit_record(n, b"key")]) for n in (1, 2, 4)}

    class HoledReader:
        async def audit_blocks(self, stream: str, position: int, *, limit: int) -> list[AuditBlock]:
            return [block for n, block in blocks.items() if n >= position]

    broker = MemoryBroker(clock=SystemClock(), lanes=1)
    history = History(cast("MetadataReader", HoledReader()), broker, SystemClock())

    assert [one.position for one in await history.past(1)] == [1, 2]
    await history.close()
