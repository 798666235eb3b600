"""The public audit stream: CloudEvents on Kafka, read in order, each position once."""

import hashlib
from collections.abc import Sequence
from typing import cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.clock import ManualClock
from fileflux.core.errors import AuditGap, EventInvalid
from fileflux.events.audit import AuditEvent, AuditMessage, AuditStream, from_record, to_cloudevent
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import Position, Record
from fileflux.events.topics import AUDIT

STREAM = b"b" * 16
FIRST_HASH = bytes(32)


def stored(name: str = "e1", **more: object) -> bytes:
    attributes = {"id": name, "source": "/buckets/a", "type": "fileflux.object.created"}
    return orjson.dumps({**attributes, "time": "2026-01-01T00:00:00Z", "data": {}, **more})


def message(position: int, value: bytes | None = None, prev: bytes = FIRST_HASH) -> AuditMessage:
    return to_cloudevent(
        value or stored(f"e{position}"),
        position=position,
        stream=STREAM,
        sequence=position,
        previous_hash=prev,
    )


def record(made: AuditMessage, offset: int = 0) -> Record:
    return Record(Position(AUDIT, 0, offset), made.key, made.value, made.headers, 0)


def test_a_record_is_a_cloud_event_of_the_binary_binding() -> None:
    """CloudEvents 1.0.2, Kafka protocol binding, section 3.2."""
    made = message(7, stored("id-7", subject="key"))

    assert dict(made.headers) == {
        "content-type": b"application/json; charset=utf-8",
        "ce_specversion": b"1.0",
        "ce_id": b"id-7",
        "ce_source": b"/buckets/a",
        "ce_type": b"fileflux.object.created",
        "ce_time": b"2026-01-01T00:00:00Z",
        "ce_subject": b"key",
        "ce_position": b"00000000000000000007",
        "ce_stream": STREAM.hex().encode(),
        "ce_sequence": b"00000000000000000007",
        "ce_prevhash": b"00" * 32,
    }
    assert made.value == stored("id-7", subject="key")
    assert made.key == STREAM


def test_attribute_names_are_those_that_cloud_events_allow() -> None:
    names = [name.removeprefix("ce_") for name, _ in message(1).headers if name != "content-type"]

    assert all(name.isascii() and name.isalnum() and name.islower() for name in names)


@given(
    st.integers(1, 10**20 - 1),
    st.integers(1, 10**20 - 1),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.text(min_size=1),
)
def test_what_is_published_is_what_is_read(
    position: int, sequence: int, stream: bytes, prev: bytes, name: str
) -> None:
    value = stored(name)
    made = to_cloudevent(
        value, position=position, stream=stream, sequence=sequence, previous_hash=prev
    )

    event = from_record(record(made))

    assert event == AuditEvent(
        position=position,
        stream=stream,
        sequence=sequence,
        previous_hash=prev,
        event_id=name,
        source="/buckets/a",
        event_type="fileflux.object.created",
        time="2026-01-01T00:00:00Z",
        value=value,
    )
    assert event.chain_hash == hashlib.sha256(prev + value).digest()


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"null", b"\xff", stored(id=7), stored("")])
def test_a_stored_record_without_its_attributes_is_refused(value: bytes) -> None:
    with pytest.raises(EventInvalid):
        to_cloudevent(value, position=1, stream=STREAM, sequence=1, previous_hash=FIRST_HASH)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ce_position", None),
        ("ce_position", b"7"),
        ("ce_position", b"x" * 20),
        ("ce_sequence", b"-0000000000000000007"),
        ("ce_prevhash", b"00"),
        ("ce_prevhash", b"zz" * 32),
        ("ce_stream", b"\xff"),
        ("ce_specversion", b"2.0"),
        ("ce_specversion", None),
        ("ce_id", b"\xff"),
    ],
)
def test_a_record_of_somebody_else_is_refused(name: str, text: bytes | None) -> None:
    made = message(7)
    headers = {k: v for k, v in made.headers if k != name} | ({} if text is None else {name: text})

    with pytest.raises(EventInvalid):
        from_record(record(AuditMessage(made.key, made.value, tuple(headers.items()))))


async def stream_of(positions: Sequence[int]) -> AuditStream:
    broker = MemoryBroker(clock=ManualClock())
    publisher = await broker.safe_publisher()
    for position in positions:
        made = message(position)
        await publisher.publish(AUDIT, made.value, partition=0, key=made.key, headers=made.headers)
    return AuditStream(await broker.source([(AUDIT, 0)]))


def test_a_header_without_a_value_is_somebody_else_s() -> None:
    """Kafka's headers may be null: that must end nobody with another error."""
    made = message(7)
    for name in [name for name, _ in made.headers if name.startswith("ce_")]:
        headers = tuple((k, cast("bytes", None) if k == name else v) for k, v in made.headers)
        with pytest.raises(EventInvalid):
            from_record(record(AuditMessage(made.key, made.value, headers)))


async def test_positions_published_again_are_read_once() -> None:
    stream = await stream_of([1, 2, 3, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6])
    await stream.seek(1)

    assert [event.position for event in await stream.fetch()] == [1, 2, 3, 4, 5, 6]


@given(st.data())
async def test_seeking_finds_every_position_however_often_runs_were_published(
    data: st.DataObject,
) -> None:
    end = data.draw(st.integers(1, 12))
    positions = list(range(1, end + 1))
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(1, end))
        positions += range(start, end + 1 + data.draw(st.integers(0, 3)))
        end = max(positions)
    wanted = data.draw(st.integers(1, end))
    stream = await stream_of(positions)
    await stream.seek(wanted)

    assert [event.position for event in await stream.fetch()] == list(range(wanted, end + 1))


async def test_a_gap_is_an_error_and_mended_by_seeking_again() -> None:
    stream = await stream_of([1, 2, 4, 3, 4, 5])
    await stream.seek(2)

    with pytest.raises(AuditGap, match="3"):
        await stream.fetch()


async def test_a_position_before_the_first_record_is_a_gap() -> None:
    stream = await stream_of([5, 6])

    with pytest.raises(AuditGap):
        await stream.seek(4)


async def test_seeking_the_next_position_waits_for_it() -> None:
    stream = await stream_of([1, 2])
    await stream.seek(3)

    assert await stream.fetch(wait_s=0) == []


async def test_the_last_record_is_the_newest() -> None:
    assert await (await stream_of([])).last() is None
    last = await (await stream_of([1, 2, 3])).last()
    assert last is not None
    assert last.position == 3
