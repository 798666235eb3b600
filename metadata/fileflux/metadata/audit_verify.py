"""Verify the audit stream wherever it lies: database, topic, archive, and the signed checkpoints.

Each place is walked from the first record on and must have the same chain. Checkpoints must be in a
row, signed by a key that we know, and name the hashes that the walk found.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid, Invalid
from fileflux.events.ports import EventSource
from fileflux.events.topics import AUDIT_CHECKPOINTS
from fileflux.metadata.archive import SEGMENTS, Archive, NotArchived, next_object, span_of
from fileflux.metadata.archive_blocks import checkpoints_at
from fileflux.metadata.archive_format import Segment, decode_segment
from fileflux.metadata.audit_log import Records, Verification, read_database, verify
from fileflux.metadata.audit_topic import verify_topic
from fileflux.metadata.chain import ChainFault, ChainState, verify_chain
from fileflux.metadata.checkpoint import (
    FIRST_NUMBER,
    NO_PREVIOUS,
    Checkpoint,
    decode_checkpoint,
)
from fileflux.metadata.ports import ArchiveHead, MetadataReader, SequencerHead

READ_MAX: Final = 1_000


class NoSuchCheckpoint(Invalid):
    """Nobody signed one of this number."""


Keys = Collection[bytes]
"""Raw public keys whose signature counts."""


@dataclass(frozen=True, slots=True)
class Everywhere:
    """What was found. `archive`: None if there is none to look at.

    `start`: the checkpoint that was begun at. `signed_to`: the position of the last checkpoint, 0
    if there is none. `not_looked_at`: positions that were archived, in an archive that the settings
    do not name.
    """

    database: Verification
    topic: Verification
    archive: Verification | None
    checkpoints: Verification
    signed_to: int
    not_looked_at: int
    start: Checkpoint | None = None

    @property
    def is_whole(self) -> bool:
        places = (self.database, self.topic, self.archive, self.checkpoints)
        return not any(place.faults for place in places if place is not None)


async def verify_everywhere(
    reader: MetadataReader,
    *,
    topic: EventSource,
    checkpoints: EventSource,
    archive: Archive | None,
    stream: str,
    keys: Keys | None,
    clock: Clock,
    wait_s: float,
    from_checkpoint: int | None = None,
) -> Everywhere:
    """Verify all that there is; raise Unavailable if somebody does not answer.

    `reader` sees the archive too. `keys`: None for those that the database lists. `wait_s`: how
    long the topic may take to catch up. `from_checkpoint`: its number; what it vouches for is not
    read again, and NoSuchCheckpoint is raised if there is none.
    """
    # The heads first: what comes while we read may lie behind them, never before them.
    head = await reader.audit_head(stream)
    archived = await reader.archive_head(stream)
    lines: list[ChainFault] = []
    first = from_checkpoint or FIRST_NUMBER
    signed = await _stored_checkpoints(reader, stream, first, lines)
    start = None if from_checkpoint is None else _begun_at(signed, from_checkpoint)
    after = ChainState() if start is None else _state_at(start)
    hashes = dict.fromkeys((one.position for one in signed), b"")
    hashes |= {} if start is None else {start.position: start.chain_hash}
    database = await _verify_database(reader, head, hashes, after)
    in_topic = await verify_topic(reader, topic, head=head, clock=clock, wait_s=wait_s, after=after)
    known = keys if keys is not None else [key for key, _ in await reader.audit_keys()]
    faults = checkpoint_faults(signed, hashes, known, start=start)
    published = await _published_checkpoints(checkpoints, first, lines)
    faults += _copy_faults(signed, published, "on the topic")
    if archive is not None:
        copies = await _archived_checkpoints(archive, archived, first, lines)
        faults += _archived_faults(signed, copies, archived.next_checkpoint)
    return Everywhere(
        database=database,
        topic=in_topic,
        archive=None
        if archive is None
        else await verify_archive(archive, head=archived, after=after),
        checkpoints=Verification(len(signed), (*faults, *lines)),
        signed_to=signed[-1].position if signed else 0,
        not_looked_at=archived.next_position - 1 if archive is None else 0,
        start=start,
    )


def _begun_at(signed: Sequence[Checkpoint], number: int) -> Checkpoint:
    if signed and signed[0].number == number:
        return signed[0]
    raise NoSuchCheckpoint(f"there is no checkpoint {number}, or it cannot be read")


def _state_at(start: Checkpoint) -> ChainState:
    """The record of the checkpoint is vouched for by its successor, or by the head."""
    return ChainState(start.position + 1, start.chain_hash, is_whole=False)


# Records


async def _verify_database(
    reader: MetadataReader, head: SequencerHead, hashes: dict[int, bytes], after: ChainState
) -> Verification:
    """Verify what readers get, and note the hashes at the positions that `hashes` names."""
    damage: list[ChainFault] = []
    records = read_database(reader, first_position=after.next_position, stream=head.stream)
    until_damage = _until_damage(records, hashes, damage, after.next_position)
    found = await verify(until_damage, head=head, after=after)
    at = {fault.position for fault in damage}
    others = [fault for fault in found.faults if fault.position not in at]
    return replace(found, faults=(*others, *damage))


async def _until_damage(
    records: Records, hashes: dict[int, bytes], damage: list[ChainFault], following: int
) -> Records:
    try:
        async for record in records:
            following = record.position + 1
            if record.position in hashes:
                hashes[record.position] = record.chain_hash
            yield record
    except EventInvalid as error:
        damage.append(ChainFault(following, "changed", str(error)))


async def verify_archive(
    archive: Archive, *, head: ArchiveHead, after: ChainState | None = None
) -> Verification:
    """Verify every segment as readers find them, up to what the database says is archived.

    `after`: the state before what shall be looked at; None: from the first record on.
    """
    state, faults, count = after or ChainState(), list[ChainFault](), 0
    last_hash = b""
    async for found in _segments(archive, head.stream, state.next_position):
        if isinstance(found, ChainFault):
            faults.append(found)
            continue
        fresh = [one for one in found.records if one.position >= state.next_position]
        count += len(fresh)
        last_hash = next(
            (one.chain_hash for one in fresh if one.position == head.next_position - 1), last_hash
        )
        of_segment, state = verify_chain(fresh, after=state)
        faults += of_segment
    end = SequencerHead(head.stream, 0, head.next_position, head.chain_hash)
    faults += verify_chain([], after=state, head=end)[0]
    if state.next_position > head.next_position and last_hash not in (b"", head.chain_hash):
        faults.append(ChainFault(head.next_position - 1, "changed", "the head has another hash"))
    return Verification(count, tuple(faults), state)


async def _segments(
    archive: Archive, stream: str, position: int
) -> AsyncIterator[Segment | ChainFault]:
    """Yield the segments as readers come to them; for one that is not whole, a fault."""
    while (name := await next_object(archive, stream, SEGMENTS, position)) is not None:
        span = span_of(name)
        assert span is not None, "next_object gives names of ours"
        try:
            segment = await asyncio.to_thread(decode_segment, await archive.get(name))
        except (EventInvalid, NotArchived) as error:
            yield ChainFault(max(position, span.first), "changed", f"{name}: {error}")
        else:
            is_named = segment.span == span and segment.stream == stream
            wrong = ChainFault(span.first, "changed", f"{name} has another one's records")
            yield segment if is_named else wrong
        position = span.last + 1


# Checkpoints


def checkpoint_faults(
    checkpoints: Sequence[Checkpoint],
    hashes: Mapping[int, bytes],
    keys: Keys,
    *,
    start: Checkpoint | None = None,
) -> list[ChainFault]:
    """Return what is wrong with a row of checkpoints. `hashes`: of the records at their positions.

    `start`: the first of the row, where it is not the first of all. Faults are at the positions of
    the checkpoints.
    """
    faults = []
    number, previous = FIRST_NUMBER, NO_PREVIOUS
    if start is not None:
        number, previous = start.number, start.previous
    for one in checkpoints:
        if one.number != number:
            faults.append(ChainFault(one.position, "missing", f"checkpoint {number}"))
        elif one.previous != previous:
            detail = f"checkpoint {one.number - 1}, or what {one.number} says of it"
            faults.append(ChainFault(one.position, "changed", detail))
        if not one.is_signed:
            faults.append(ChainFault(one.position, "forged", f"the signature of {one.number}"))
        elif one.public_key not in keys:
            detail = f"checkpoint {one.number} is signed by another key, {one.public_key.hex()}"
            faults.append(ChainFault(one.position, "forged", detail))
        if hashes.get(one.position) != one.chain_hash:
            detail = f"the record is not the one that checkpoint {one.number} was signed for"
            faults.append(ChainFault(one.position, "changed", detail))
        number, previous = one.number + 1, one.digest
    return faults


def _copy_faults(
    stored: Sequence[Checkpoint], copies: Sequence[Checkpoint], where: str
) -> list[ChainFault]:
    """Return how the copies, each once or more, differ from what the database has."""
    faults = []
    by_number = {one.number: one for one in stored}
    for copy in copies:
        if by_number.get(copy.number) != copy:
            detail = f"checkpoint {copy.number} {where} is not the database's"
            faults.append(ChainFault(copy.position, "changed", detail))
    seen = {copy.number for copy in copies}
    last = max(seen, default=0)
    for one in stored:
        if one.number < last and one.number not in seen:
            faults.append(ChainFault(one.position, "missing", f"checkpoint {one.number} {where}"))
    return faults


def _archived_faults(
    stored: Sequence[Checkpoint], copies: Sequence[Checkpoint], next_number: int
) -> list[ChainFault]:
    faults = _copy_faults(stored, copies, "in the archive")
    last = max((copy.number for copy in copies), default=0)
    for one in stored:
        if last < one.number < next_number:
            detail = f"checkpoint {one.number} in the archive"
            faults.append(ChainFault(one.position, "missing", detail))
    return faults


async def _stored_checkpoints(
    reader: MetadataReader, stream: str, number: int, faults: list[ChainFault]
) -> list[Checkpoint]:
    """Return those from `number` on."""
    found: list[Checkpoint] = []
    while stored := await reader.checkpoints(stream, number, limit=READ_MAX):
        for one in stored:
            found += _decoded(one.line, f"checkpoint {one.number} in the database", faults)
        number = stored[-1].number + 1
    return found


async def _published_checkpoints(
    source: EventSource, number: int, faults: list[ChainFault]
) -> list[Checkpoint]:
    """Return what the topic has from `number` on, as it came: one that was published again comes
    again."""
    first, end = await source.bounds(AUDIT_CHECKPOINTS, 0)
    await source.seek(AUDIT_CHECKPOINTS, 0, None)
    found: list[Checkpoint] = []
    offset = first
    while offset < end:
        for record in await source.fetch():
            offset = record.position.offset + 1
            found += _decoded(record.value, f"offset {offset - 1} of the topic", faults)
    return [one for one in found if one.number >= number]


async def _archived_checkpoints(
    archive: Archive, head: ArchiveHead, first: int, faults: list[ChainFault]
) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    number = first
    while number < head.next_checkpoint:
        try:
            held = await checkpoints_at(archive, head.stream, number)
        except EventInvalid as error:
            faults.append(ChainFault(0, "changed", f"checkpoint {number} in the archive: {error}"))
            held = []
        found += held
        number = max((one.number for one in held), default=number) + 1
    return [one for one in found if one.number >= first]


def _decoded(line: bytes, where: str, faults: list[ChainFault]) -> list[Checkpoint]:
    """Return the checkpoint, or none and note a fault; its position is not known then: 0."""
    try:
        return [decode_checkpoint(line)]
    except EventInvalid as error:
        faults.append(ChainFault(0, "changed", f"{where}: {error}"))
        return []
