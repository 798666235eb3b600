"""Find one audit record by what a person has of it: its position, or an id of its request.

Positions are looked up. Ids of requests and traces are in no index: the newest records are
searched, back from the end, those that wait for their number first.
"""

from dataclasses import dataclass
from typing import Final

from fileflux.metadata.audit_log import PENDING_MAX, Trace, hops_of, traced
from fileflux.metadata.audit_record import decode_record, unpack_pending
from fileflux.metadata.chain import FIRST_POSITION, NumberedRecord, unpack_block
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.sequencer import STREAM

SEARCHED_MAX: Final = 200_000
"""Positions back from the end: seconds of reading, the last minutes or days of a store."""
STEP: Final = 2_000
BLOCKS_PER_READ_MAX: Final = 32


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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A record whose actor has this value. Others may hold the same text: users name metadata."""

    member: str
    value: str

    def matches(self, payload: bytes) -> bool:
        if f'"{self.member}":"{self.value}"'.encode() not in payload:
            return False
        return decode_record(payload).actor.get(self.member) == self.value


async def newest_trace(
    reader: MetadataReader, member: str, value: str, stream: str = STREAM
) -> Trace | None:
    """Return the last change whose actor has this value, e.g. `request_id`; None if none is found.

    A request that changed nothing has none, and neither has one of too long ago.
    """
    wanted = _Wanted(member, value)
    if (waiting := await _pending(reader, wanted)) is not None:
        record = decode_record(waiting)
        return Trace(record, 0, tuple(hops_of(record)))
    end = (await reader.audit_head(stream)).next_position
    first = max(FIRST_POSITION, end - SEARCHED_MAX)
    while end > first:
        found, began = await _between(reader, stream, max(first, end - STEP), end, wanted)
        if found is not None:
            return traced(found) if found.position >= first else None
        end = began
    return None


async def _between(
    reader: MetadataReader, stream: str, start: int, end: int, wanted: _Wanted
) -> tuple[NumberedRecord | None, int]:
    """Return the last such record in the blocks from `start` to before `end`, and where they begin.

    A block may have one record or megabytes of them: no more are asked for than belong to it, by
    the largest that was met.
    """
    found, began, at, largest = None, start, start, end - start
    while at < end:
        limit = max(1, min(BLOCKS_PER_READ_MAX, (end - at) // largest))
        blocks = await reader.audit_blocks(stream, at, limit=limit)
        if not blocks:
            break
        for block in blocks:
            largest = block.count if at == start else max(largest, block.count)
            began, at = min(began, block.first_position), block.first_position + block.count
            records = (one for one in unpack_block(block) if one.position < end)
            matching = [one for one in records if wanted.matches(one.payload)]
            found = matching[-1] if matching else found
    return found, began


async def _pending(reader: MetadataReader, wanted: _Wanted) -> bytes | None:
    for _, _, block in reversed(await reader.pending_audit(limit=PENDING_MAX)):
        for pending in reversed(unpack_pending(block)):
            if wanted.matches(pending.payload):
                return pending.payload
    return None
