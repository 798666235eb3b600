"""The public audit stream: CloudEvents 1.0.2 in the binary mode of their Kafka binding.

A record's value is the stored audit record, byte for byte, as it was hashed; its id, source, type
and time, and its numbers, are attributes in the headers:

    ce_position   20 digits   place in the stream set, from 1 without gaps
    ce_stream     32 hex      the bucket's id; zeros: what belongs to no bucket
    ce_sequence   20 digits   place among the stream's records, from 1 without gaps
    ce_prevhash   64 hex      h(n-1); h(n) = SHA-256(h(n-1) ‖ value of n), h(0) = 32 zero bytes
    ce_traceparent            if the request had one: its place in a trace (W3C)

The sequencer may publish a run again, so a reader skips a position that it has. A gap is an error:
`AuditStream` raises AuditGap, and its owner seeks and reads again.
"""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import orjson

from fileflux.core.errors import AuditGap, EventInvalid
from fileflux.core.tracing import TRACEPARENT
from fileflux.events.ports import EventSource, Record, TopicLookup
from fileflux.events.topics import AUDIT

CONTENT_TYPE: Final = "application/json; charset=utf-8"
SPEC_VERSION: Final = "1.0"
NUMBER_DIGITS: Final = 20
"""Padded, so that text sorts as numbers do."""
PARTITION: Final = 0
FIRST_POSITION: Final = 1
LATE_RECORDS_MAX: Final = 20_000
"""Before position 1, of a wiped topic: more than the 4 MiB that a producer has on its way at once,
of the smallest records."""
RUN_RECORDS: Final = 500
"""Looked at by one question: one each would take half a minute for all of them."""


@dataclass(frozen=True, slots=True)
class AuditMessage:
    """A record to publish: the arguments of `EventPublisher.publish_all`."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One audit record as readers see it. `value`: the exact bytes that the chain covers."""

    position: int
    stream: bytes
    sequence: int
    previous_hash: bytes
    event_id: str
    source: str
    event_type: str
    time: str
    value: bytes

    @property
    def chain_hash(self) -> bytes:
        """Return h(n), which the next record names as its previous hash."""
        return hashlib.sha256(self.previous_hash + self.value).digest()


def to_cloudevent(
    value: bytes, *, position: int, stream: bytes, sequence: int, previous_hash: bytes
) -> AuditMessage:
    """Return the message of a stored record; raise EventInvalid if that is not one.

    `value` is JSON with the CloudEvent attributes id, source, type, time (and subject, if any).
    """
    stored = _attributes(value)
    attributes = {
        "specversion": SPEC_VERSION,
        **{name: stored[name] for name in ("id", "source", "type", "time")},
        **{name: stored[name] for name in ("subject", TRACEPARENT) if name in stored},
        "position": f"{position:0{NUMBER_DIGITS}}",
        "stream": stream.hex(),
        "sequence": f"{sequence:0{NUMBER_DIGITS}}",
        "prevhash": previous_hash.hex(),
    }
    headers = [("content-type", CONTENT_TYPE.encode())]
    headers += [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
    return AuditMessage(key=stream, value=value, headers=tuple(headers))


def _attributes(value: bytes) -> Mapping[str, str]:
    try:
        stored = orjson.loads(value)
        wanted = {name: stored[name] for name in ("id", "source", "type", "time")}
        if "subject" in stored:
            wanted["subject"] = stored["subject"]
        trace = stored.get("data", {}).get("actor", {}).get(TRACEPARENT)
        if trace is not None:
            wanted[TRACEPARENT] = trace
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EventInvalid(f"a stored audit record without its attributes: {error!r}") from error
    if not all(isinstance(text, str) and text for text in wanted.values()):
        raise EventInvalid("the attributes of an audit record are texts")
    return wanted


def from_record(record: Record) -> AuditEvent:
    """Return what `to_cloudevent` made; raise EventInvalid for anything else."""
    headers = dict(record.headers)
    try:
        made = AuditEvent(
            position=_number(headers["ce_position"]),
            stream=bytes.fromhex(headers["ce_stream"].decode("ascii")),
            sequence=_number(headers["ce_sequence"]),
            previous_hash=bytes.fromhex(headers["ce_prevhash"].decode("ascii")),
            event_id=headers["ce_id"].decode(),
            source=headers["ce_source"].decode(),
            event_type=headers["ce_type"].decode(),
            time=headers["ce_time"].decode(),
            value=record.value,
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:  # A header may be null.
        raise EventInvalid(f"not a record of the audit stream: {error!r}") from error
    if headers.get("ce_specversion") != SPEC_VERSION.encode():
        raise EventInvalid("not a CloudEvent of a version we know")
    if len(made.previous_hash) != hashlib.sha256().digest_size:
        raise EventInvalid("the previous hash has 32 bytes")
    return made


def _number(text: bytes) -> int:
    if len(text) != NUMBER_DIGITS or not text.isdigit():
        raise ValueError(f"a number has {NUMBER_DIGITS} digits")
    return int(text)


async def find_start(source: TopicLookup) -> int | None:
    """Return the offset of position 1, behind what overtook it to a wiped topic; None if it lacks.

    Only the first LATE_RECORDS_MAX records are looked at: what stands behind them is no start.
    """
    first, end = await source.bounds(AUDIT, PARTITION)
    last = min(end, first + LATE_RECORDS_MAX)
    async with aclosing(_positions(source, first, last)) as positions:
        async for offset, position in positions:
            if position == FIRST_POSITION:
                return offset
    return None


async def is_start(source: TopicLookup, offset: int) -> bool:
    """Tell whether position 1 stands at this offset."""
    return await _position_at(source, offset) == FIRST_POSITION


async def skips_nothing(source: TopicLookup, start: int, end: int, position: int) -> bool:
    """Tell whether a reader who waits for `position` at offset `start` gets to `end` without a gap.

    What comes again is no gap. A run that has as many records as positions has each once; of
    others only LATE_RECORDS_MAX records are looked at.
    """
    if start >= end:
        return True
    ends = [await _position_at(source, offset) for offset in (start, end - 1)]
    if ends == [position, position + end - start - 1]:
        return True
    last, expected = min(end, start + LATE_RECORDS_MAX), start
    async with aclosing(_positions(source, start, last)) as positions:
        async for offset, found in positions:
            if offset != expected or found > position:
                return False
            position = max(position, found + 1)
            expected += 1
    return expected == last


async def _positions(
    source: TopicLookup, at: int, end: int
) -> AsyncGenerator[tuple[int, int], None]:
    """Yield (offset, position) of each record from offset `at` to before `end`, run by run."""
    while at < end:
        run = await source.read_run(AUDIT, PARTITION, at, min(RUN_RECORDS, end - at))
        if not run:
            return
        for record in run:
            if record.position.offset < end:
                yield record.position.offset, from_record(record).position
        at = run[-1].position.offset + 1


async def _position_at(source: TopicLookup, offset: int) -> int | None:
    record = await source.read_one(AUDIT, PARTITION, offset)
    return None if record is None else from_record(record).position


async def last_event(source: TopicLookup) -> AuditEvent | None:
    """Return the topic's last record; None if it is empty."""
    first, end = await source.bounds(AUDIT, PARTITION)
    if first == end:
        return None
    record = await source.read_one(AUDIT, PARTITION, end - 1)
    return None if record is None else from_record(record)


class AuditStream:
    """Reads the audit stream in order of its positions, each once.

    `source` must read partition 0 of the audit topic, and belongs to whoever made it.
    """

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._next: int | None = None

    async def seek(self, position: int) -> None:
        """Deliver from `position` on. Raise AuditGap when the topic begins after it.

        Looks records up by halves: offsets grow with positions, apart from runs published again.
        """
        bound, end = await self._source.bounds(AUDIT, PARTITION)
        start = await find_start(self._source)
        first = bound if start is None else start
        low, high = first, end
        while high - low > 1:
            middle = (low + high) // 2
            if await self._position_at(middle) <= position:
                low = middle
            else:
                high = middle
        if first < end and await self._position_at(low) > position:
            raise AuditGap(f"position {position} is before the topic's first record")
        await self._source.seek(AUDIT, PARTITION, low)
        self._next = position

    async def last(self) -> AuditEvent | None:
        return await last_event(self._source)

    async def fetch(self, *, max_records: int = 500, wait_s: float = 0.1) -> list[AuditEvent]:
        """Return the next events; raise AuditGap when one is missing before them."""
        records = await self._source.fetch(max_records=max_records, wait_s=wait_s)
        return [event for event in map(from_record, records) if self._is_next(event)]

    def _is_next(self, event: AuditEvent) -> bool:
        if self._next is not None and event.position > self._next:
            raise AuditGap(f"position {self._next} is missing before {event.position}")
        if self._next is not None and event.position < self._next:
            return False  # Published again.
        self._next = event.position + 1
        return True

    async def _position_at(self, offset: int) -> int:
        position = await _position_at(self._source, offset)
        if position is None:
            raise AuditGap(f"the audit topic lost offset {offset}")
        return position
