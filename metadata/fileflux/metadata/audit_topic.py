"""Verify the audit topic against the database: what was told to the world, and what not yet.

The sequencer numbers first and publishes then, so a whole topic may end before the database's head.
What the topic has must continue the database's chain; what it lacks at its end is no fault.
"""

from dataclasses import replace
from typing import Final

from fileflux.core.clock import Clock
from fileflux.events.audit import find_start, last_event
from fileflux.events.ports import EventSource
from fileflux.metadata.audit_log import Verification, read_topic, verify
from fileflux.metadata.chain import FIRST_POSITION, ChainFault, ChainState, unpack_block
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
    start = after or ChainState()
    records = read_topic(source, first_position=start.next_position)
    found = await verify(records, head=None, after=start)
    faults = await _end_faults(reader, found.end, head.stream)
    lacking = max(0, head.next_position - found.end.next_position)
    return replace(found, faults=(*found.faults, *faults), unpublished=lacking)


async def _until_published(
    source: EventSource, head: SequencerHead, clock: Clock, wait_s: float
) -> None:
    """A wiped topic is filled from its start; until then it looks as if it lacked everything."""
    deadline_s = clock.monotonic_s() + wait_s
    while not await _is_published(source, head) and clock.monotonic_s() < deadline_s:
        await clock.sleep(POLL_S)


async def _is_published(source: EventSource, head: SequencerHead) -> bool:
    last = await last_event(source)
    position = FIRST_POSITION - 1 if last is None else last.position
    if position + 1 < head.next_position:
        return False
    return head.next_position == FIRST_POSITION or await find_start(source) is not None


async def _end_faults(reader: MetadataReader, end: ChainState, stream: str) -> list[ChainFault]:
    """The last record's bytes are vouched for by the database alone: no later record names them."""
    position = end.next_position - 1
    if position < FIRST_POSITION:
        return []
    blocks = await reader.audit_blocks(stream, position, limit=1)
    stored = {r.position: r.chain_hash for block in blocks for r in unpack_block(block)}
    if position not in stored:
        return [ChainFault(position, "missing", "in the database, which lost its end")]
    if stored[position] != end.chain_hash:
        return [ChainFault(position, "changed", "the database has another record")]
    return []
