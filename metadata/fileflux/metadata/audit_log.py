"""Read the audit stream, from the database or from its topic: follow, verify, trace an upload.

Both hold the same bytes. The database is what was numbered; the topic is what the world was told.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import AuditGap, EventInvalid
from fileflux.core.ids import BucketId
from fileflux.events.audit import PARTITION, AuditEvent, AuditStream, from_record
from fileflux.events.ports import EventSource
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_record import decode_record, unpack_pending
from fileflux.metadata.chain import (
    FIRST_POSITION,
    ChainFault,
    ChainState,
    NumberedRecord,
    unpack_block,
    verify_chain,
)
from fileflux.metadata.ports import MetadataReader, SequencerHead
from fileflux.metadata.rows import AuditRecord
from fileflux.metadata.sequencer import STREAM

BLOCKS_PER_READ: Final = 32
RECORDS_PER_RUN: Final = 1_000
FOLLOW_POLL_S: Final = 0.25
CLOCK_SLACK_US: Final = 10_000_000
"""A record is numbered within seconds of its stamp, so look-ups by stamp begin a little earlier."""
PENDING_MAX: Final = 10_000

Records = AsyncIterator[NumberedRecord]


async def read_database(
    reader: MetadataReader,
    *,
    first_position: int = FIRST_POSITION,
    stream: str = STREAM,
    follow: Clock | None = None,
) -> Records:
    """Yield numbered records from a position on; with `follow`, wait for more for ever."""
    position = first_position
    while True:
        blocks = await reader.audit_blocks(stream, position, limit=BLOCKS_PER_READ)
        for record in (record for block in blocks for record in unpack_block(block)):
            if record.position >= position:
                position = record.position + 1
                yield record
        if not blocks:
            if follow is None:
                return
            await follow.sleep(FOLLOW_POLL_S)


async def read_topic(
    source: EventSource,
    *,
    first_position: int = FIRST_POSITION,
    follow: bool = False,
    foreign: list[tuple[int, EventInvalid]] | None = None,
) -> Records:
    """Yield what the topic holds, as it came: a run published again comes again.

    `foreign`: takes the offset of each record that is none of the stream's, and why; None: raise
    EventInvalid.
    """
    first, end = await source.bounds(AUDIT, PARTITION)
    await source.seek(AUDIT, PARTITION, None)
    if first_position > FIRST_POSITION and first < end:
        with suppress(AuditGap, EventInvalid):  # It begins later, or not well: all of it is read.
            await AuditStream(source).seek(first_position)
    offset = first
    while follow or offset < end:
        for record in await source.fetch():
            offset = record.position.offset + 1
            try:
                found = numbered(from_record(record))
            except EventInvalid as error:
                if foreign is None:
                    raise
                foreign.append((offset - 1, error))
                continue
            if found.position >= first_position:
                yield found


def numbered(event: AuditEvent) -> NumberedRecord:
    """Return a record of the topic as the chain knows it."""
    return NumberedRecord(
        position=event.position,
        stream=BucketId(event.stream),
        sequence=event.sequence,
        previous_hash=event.previous_hash,
        payload=event.value,
    )


@dataclass(frozen=True, slots=True)
class Verification:
    """`record_count`: seen, doubles too; `faults`: none if the stream is whole and unchanged.

    `end`: behind the last record. `unpublished`: numbered, and not on the topic yet.
    """

    record_count: int
    faults: tuple[ChainFault, ...]
    end: ChainState = field(default_factory=ChainState)
    unpublished: int = 0


async def verify(
    records: Records, *, head: SequencerHead | None, after: ChainState | None = None
) -> Verification:
    """Verify a stream, in constant memory. `head`: where it must end; None: anywhere.

    `after`: where an earlier verification ended; None: the records are all there are.
    """
    state = after or ChainState()
    faults: list[ChainFault] = []
    count = 0
    run: list[NumberedRecord] = []
    async for record in records:
        count += 1
        run.append(record)
        if len(run) == RECORDS_PER_RUN:
            found, state = verify_chain(run, after=state)
            faults += found
            run = []
    found, state = verify_chain(run, after=state, head=head)
    return Verification(count, (*faults, *found), state)


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of an upload's way. `at_us`: on the clock of whoever took it."""

    name: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Trace:
    """The way of a change. `position` 0: not numbered yet; otherwise `numbered` has the record."""

    record: AuditRecord
    position: int
    hops: tuple[Hop, ...] = field(default=())
    numbered: NumberedRecord | None = None


def traced(found: NumberedRecord) -> Trace:
    """Return the way of the change that a record tells of."""
    record = decode_record(found.payload)
    return Trace(record, found.position, tuple(hops_of(record)), found)


async def trace(
    reader: MetadataReader, *, bucket: str, key: bytes, stream: str = STREAM
) -> Trace | None:
    """Return the way of the current version of a key; None if there is no such key.

    The record is looked up by its stamp, by halves: numbering follows the stamps within seconds.
    """
    found = (await reader.find_objects([(bucket, key)]))[0]
    if found.row is None:
        return None
    wanted = found.row.version_id.hex().encode()
    start = await position_before(reader, stream, found.row.stamp - CLOCK_SLACK_US)
    async for candidate in read_database(reader, first_position=start, stream=stream):
        if wanted in candidate.payload and _made(candidate.payload, found.row.version_id):
            return traced(candidate)
    return await _pending_trace(reader, found.row.version_id)


def _made(payload: bytes, version_id: bytes) -> AuditRecord | None:
    """Return the record if it is of the change that made this version."""
    record = decode_record(payload)
    return record if record.facts.get("version") == version_id.hex() else None


async def _pending_trace(reader: MetadataReader, version_id: bytes) -> Trace | None:
    for _, _, block in await reader.pending_audit(limit=PENDING_MAX):
        for pending in unpack_pending(block):
            if record := _made(pending.payload, version_id):
                return Trace(record, 0, tuple(hops_of(record)))
    return None


async def position_at(reader: MetadataReader, at_us: int, stream: str = STREAM) -> int:
    """Return the first position whose record was stamped at a time or after it, or the next one.

    Stamps grow with positions within seconds; the few that do not are on the safe side.
    """
    position = await position_before(reader, stream, at_us - CLOCK_SLACK_US)
    end = (await reader.audit_head(stream)).next_position
    async for record in read_database(reader, first_position=position, stream=stream):
        if record.position >= end or decode_record(record.payload).stamp >= at_us:
            return record.position
    return end


async def position_before(reader: MetadataReader, stream: str, stamp: int) -> int:
    """Return a position whose record, and all before it, have a smaller stamp."""
    low, high = FIRST_POSITION, (await reader.audit_head(stream)).next_position
    while high - low > 1:
        middle = (low + high) // 2
        blocks = await reader.audit_blocks(stream, middle, limit=1)
        # A block of a sequencer that was behind may span minutes.
        found = next(r for r in unpack_block(blocks[0]) if r.position >= middle)
        if decode_record(found.payload).stamp < stamp:
            low = middle
        else:
            high = middle
    return low


def hops_of(record: AuditRecord) -> list[Hop]:
    """Return every time that a record tells, in order."""
    hops: list[Hop] = []
    facts: dict[str, object] = dict(record.facts)
    for name, at_us in _numbers(facts.get("hops")):
        hops.append(Hop(name.removesuffix("_us"), at_us))
    for bundle in _mappings(facts.get("bundles")):
        for commit in _mappings(bundle.get("commits")):
            node = commit.get("node")
            hops += [Hop(f"{n.removesuffix('_us')} at {node}", at) for n, at in _numbers(commit)]
    hops.append(Hop("stamped in the transaction", record.stamp))
    return sorted((hop for hop in hops if hop.at_us), key=lambda hop: hop.at_us)


def _mappings(value: object) -> list[dict[str, object]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _numbers(value: object) -> list[tuple[str, int]]:
    entries = value.items() if isinstance(value, dict) else ()
    return [(name, at_us) for name, at_us in entries if isinstance(at_us, int)]
