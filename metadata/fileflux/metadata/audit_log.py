"""Reading the audit log: tail it, verify it, find what happened to one key.

The database's blocks are the archive of what was numbered; the topic is their publication. Both
are verified by the same chain, and against each other.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId
from fileflux.events.audit import AuditEvent, from_record
from fileflux.events.ports import EventSource
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_record import decode_record
from fileflux.metadata.chain import (
    FIRST_POSITION,
    ChainFault,
    ChainState,
    NumberedRecord,
    unpack_block,
    verify_chain,
)
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.rows import AuditRecord

BLOCKS_PER_READ: Final = 64
RECORDS_PER_READ: Final = 500
TOPIC_WAIT_S: Final = 1.0
TOPIC_EMPTY_READS_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification saw: how many records, and every fault with its place."""

    place: str
    records: int
    faults: tuple[ChainFault, ...]


async def records_from(
    reader: MetadataReader, stream: str, position: int
) -> AsyncIterator[NumberedRecord]:
    """Yield the numbered records from `position` on, until the last one there is now.

    Raise EventInvalid for a damaged block.
    """
    while True:
        blocks = await reader.audit_blocks(stream, position, limit=BLOCKS_PER_READ)
        if not blocks:
            return
        for block in blocks:
            for record in unpack_block(block):
                if record.position >= position:
                    yield record
        position = blocks[-1].first_position + blocks[-1].count


async def verify_database(reader: MetadataReader, stream: str) -> Verified:
    """Walk every block from the first on, and end at the head."""
    head = await reader.audit_head(stream)
    state, faults, count = ChainState(), list[ChainFault](), 0
    run: list[NumberedRecord] = []
    try:
        async for record in records_from(reader, stream, FIRST_POSITION):
            run.append(record)
            if len(run) == RECORDS_PER_READ:
                found, state = verify_chain(run, after=state)
                faults += found
                count += len(run)
                run = []
    except EventInvalid as error:
        faults.append(ChainFault(state.next_position + len(run), "changed", str(error)))
    # Records numbered since the head was read are no fault: the chain is checked up to it only.
    run = [record for record in run if record.position < head.next_position]
    found, _ = verify_chain(run, after=state, head=head)
    return Verified("database", count + len(run), tuple(faults + found))


async def verify_topic(source: EventSource) -> Verified:
    """Walk the audit topic from its first record to the end that it has now."""
    first, end = await source.bounds(AUDIT, 0)
    await source.seek(AUDIT, 0, first)
    state: ChainState | None = None
    faults, count, offset, empty_reads = list[ChainFault](), 0, first, 0
    while offset < end and empty_reads < TOPIC_EMPTY_READS_MAX:
        records = await source.fetch(max_records=RECORDS_PER_READ, wait_s=TOPIC_WAIT_S)
        empty_reads = 0 if records else empty_reads + 1
        if records:
            offset = records[-1].position.offset + 1
            events = [from_record(record) for record in records]
            after = state or _begin(events)
            found, state = verify_chain([_numbered(event) for event in events], after=after)
            faults += found
            count += len(events)
    if offset < end:
        faults.append(ChainFault(0, "missing", f"the topic's records from offset {offset} on"))
    return Verified("topic", count, tuple(faults))


async def history_of(
    reader: MetadataReader, stream: str, bucket: str, key: bytes
) -> list[AuditRecord]:
    """Every numbered record that names this key, oldest first."""
    found = []
    async for record in records_from(reader, stream, FIRST_POSITION):
        decoded = decode_record(record.payload)
        if decoded.bucket == bucket and decoded.key == key:
            found.append(decoded)
    return found


def _begin(events: Sequence[AuditEvent]) -> ChainState | None:
    """A topic that holds the stream's first record is verified whole."""
    return ChainState() if events and events[0].position == FIRST_POSITION else None


def _numbered(event: AuditEvent) -> NumberedRecord:
    return NumberedRecord(
        event.position, BucketId(event.stream), event.sequence, event.previous_hash, event.value
    )
