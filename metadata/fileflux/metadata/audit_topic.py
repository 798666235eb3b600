"""Verify the audit topic against the database: what was told to the world, and what not yet.

The sequencer numbers first and publishes then, so a whole topic may end before the database's head.
What the topic has must continue the database's chain; what it lacks at its end is no fault.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid
from fileflux.events.audit import find_start, last_event
from fileflux.events.ports import EventSource
from fileflux.metadata.audit_log import Records, Verification, read_topic, verify
from fileflux.metadata.chain import (
    FIRST_POSITION,
    ChainFault,
    ChainState,
    NumberedRecord,
    unpack_block,
)
from fileflux.metadata.ports import MetadataReader, SequencerHead

POLL_S: Final = 0.2


async def verify_topic(
    reader: MetadataReader,
    source: EventSource,
    *,
    head: SequencerHead,
    clock: Clock,
    wait_s: float,
    after: ChainState | None = None,
) -> Verification:
    """Verify what the topic holds, once it reaches from its start to `head` or after `wait_s`.

    `after`: the state before what shall be looked at; None: from the first record on. `source`
    reads partition 0 of the audit topic. Raise Unavailable if somebody does not answer.
    """
    await _until_published(source, head, clock, wait_s)
    start, stored = after or ChainState(), _Stored(reader, head.stream)
    damage: list[ChainFault] = []
    found = await verify(_compared(source, start, stored, damage), head=None, after=start)
    known = {(fault.position, fault.kind) for fault in found.faults}
    damage = [fault for fault in damage if (fault.position, fault.kind) not in known]
    faults = (*found.faults, *damage, *await _end_faults(stored, found.end))
    lacking = max(0, head.next_position - found.end.next_position)
    return replace(found, faults=faults, unpublished=lacking)


class _Stored:
    """The database's records, for a few that must be compared. Keeps what it read last."""

    def __init__(self, reader: MetadataReader, stream: str) -> None:
        self._reader = reader
        self._stream = stream
        self._records: dict[int, NumberedRecord] = {}

    async def at(self, position: int) -> NumberedRecord | None:
        """Return None if there is none; raise EventInvalid if it cannot be read."""
        if position not in self._records:
            blocks = await self._reader.audit_blocks(self._stream, position, limit=1)
            self._records = {r.position: r for block in blocks for r in unpack_block(block)}
        return self._records.get(position)


async def _compared(
    source: EventSource, start: ChainState, stored: _Stored, damage: list[ChainFault]
) -> Records:
    """Yield what the topic holds; note what is no record, and what came again and is another one.

    Readers skip what came again, except who begins there. It may be far behind what it repeats.
    """
    following = start.next_position
    foreign: list[tuple[int, EventInvalid]] = []
    async for record in read_topic(source, first_position=following, foreign=foreign):
        damage += _passed_over(foreign, following)
        if record.position < following and await _differs(stored, record):
            damage.append(ChainFault(record.position, "changed", "it came again, differently"))
        following = max(following, record.position + 1)
        yield record
    damage += _passed_over(foreign, following)


def _passed_over(foreign: list[tuple[int, EventInvalid]], position: int) -> list[ChainFault]:
    faults = [
        ChainFault(position, "changed", f"offset {offset} of the topic: {error}")
        for offset, error in foreign
    ]
    foreign.clear()
    return faults


async def _differs(stored: _Stored, record: NumberedRecord) -> bool:
    """What the database lacks, or has damaged, is its own fault."""
    with suppress(EventInvalid):
        known = await stored.at(record.position)
        return known is not None and known != record
    return False


async def _until_published(
    source: EventSource, head: SequencerHead, clock: Clock, wait_s: float
) -> None:
    """A wiped topic is filled from its start; until then it looks as if it lacked everything."""
    deadline_s = clock.monotonic_s() + wait_s
    while not await _is_published(source, head) and clock.monotonic_s() < deadline_s:
        await clock.sleep(POLL_S)


async def _is_published(source: EventSource, head: SequencerHead) -> bool:
    try:
        last = await last_event(source)
        position = FIRST_POSITION - 1 if last is None else last.position
        if position + 1 < head.next_position:
            return False
        return head.next_position == FIRST_POSITION or await find_start(source) is not None
    except EventInvalid:
        return True  # Somebody else's record: to wait makes it no better.


async def _end_faults(stored: _Stored, end: ChainState) -> list[ChainFault]:
    """The last record's bytes are vouched for by the database alone: no later record names them."""
    position = end.next_position - 1
    if position < FIRST_POSITION:
        return []
    try:
        known = await stored.at(position)
    except EventInvalid as error:
        return [
            ChainFault(position, "changed", f"what the database has there cannot be read: {error}")
        ]
    if known is None:
        return [ChainFault(position, "missing", "in the database, which lost its end")]
    if known.chain_hash != end.chain_hash:
        return [ChainFault(position, "changed", "the database has another record")]
    return []
