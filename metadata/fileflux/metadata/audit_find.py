"""Find one audit record by what a person has of it: its position, or the id of its request.

Positions are looked up. A request id is in no index: the newest records are searched, back from the
end, those that wait for their number first.
"""

from typing import Final

from fileflux.metadata.audit_log import PENDING_MAX, Trace, hops_of, traced
from fileflux.metadata.audit_record import decode_record, unpack_pending
from fileflux.metadata.chain import FIRST_POSITION, NumberedRecord, unpack_block
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.rows import AuditRecord
from fileflux.metadata.sequencer import STREAM

SEARCHED_MAX: Final = 200_000
"""Positions back from the end: seconds of reading, the last minutes or days of a store."""
STEP: Final = 2_000
BLOCKS_PER_READ: Final = 8


async def trace_at(reader: MetadataReader, position: int, stream: str = STREAM) -> Trace | None:
    """Return the change at a position; None if there is none."""
    head = await reader.audit_head(stream)
    if not FIRST_POSITION <= position < head.next_position:
        return None
    for block in await reader.audit_blocks(stream, position, limit=1):
        for record in unpack_block(block):
            if record.position == position:
                return traced(record)
    return None


async def trace_of_request(
    reader: MetadataReader, request_id: str, stream: str = STREAM
) -> Trace | None:
    """Return the last change of a request; None if it changed nothing, or too long ago."""
    needle = f'"request_id":"{request_id}"'.encode()
    if (waiting := await _pending(reader, needle, request_id)) is not None:
        return Trace(waiting, 0, tuple(hops_of(waiting)))
    end = (await reader.audit_head(stream)).next_position
    first = max(FIRST_POSITION, end - SEARCHED_MAX)
    while end > first:
        start = max(first, end - STEP)
        if (found := await _between(reader, stream, start, end, needle)) is not None:
            return traced(found)
        end = start
    return None


async def _between(
    reader: MetadataReader, stream: str, start: int, end: int, needle: bytes
) -> NumberedRecord | None:
    """Return the last record from `start` to before `end` that holds the needle."""
    found, at = None, start
    while at < end:
        blocks = await reader.audit_blocks(stream, at, limit=BLOCKS_PER_READ)
        records = [one for block in blocks for one in unpack_block(block) if one.position >= at]
        if not records:
            break
        for record in records:
            if record.position < end and needle in record.payload:
                found = record
        at = records[-1].position + 1
    return found


async def _pending(reader: MetadataReader, needle: bytes, request_id: str) -> AuditRecord | None:
    for _, _, block in reversed(await reader.pending_audit(limit=PENDING_MAX)):
        for pending in reversed(unpack_pending(block)):
            if needle in pending.payload:
                record = decode_record(pending.payload)
                if record.actor.get("request_id") == request_id:
                    return record
    return None
