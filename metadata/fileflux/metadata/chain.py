"""Numbers and hashes of the audit stream: what the sequencer gives, what a reader verifies.

Every record has a global position (from 1), a sequence without gaps in its stream (from 1; a
bucket's, or the system's) and a place in the hash chain: h(n) = SHA-256(h(n-1) ‖ bytes of record
n), h(0) = 32 zero bytes. The bytes are those that the transaction stored: numbering never touches
them. Position, sequence and h(n-1) travel beside a record; h(n-1) is how a reader knows that the
record before is whole. Stream and sequence are beside the chain, but follow from what is in it: a
record names its bucket, and the sequence is counted.

A block is stored as: a version byte, h before its first record, then for each record its stream
(16 bytes), its sequence (8), its length (4) and its bytes. Pure.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from fileflux.core.errors import EventInvalid
from fileflux.core.ids import ID_SIZE_BYTES, BucketId
from fileflux.metadata.audit_record import SYSTEM_STREAM, stream_of, unpack_frame, unpack_pending
from fileflux.metadata.ports import AuditBlock, SequencerHead

HASH_SIZE_BYTES: Final = 32
FIRST_HASH: Final = bytes(HASH_SIZE_BYTES)
FIRST_POSITION: Final = 1
FIRST_SEQUENCE: Final = 1

_BLOCK_VERSION: Final = b"\x01"
_FRAME: Final = struct.Struct(f">{ID_SIZE_BYTES}sQI")


@dataclass(frozen=True, slots=True)
class NumberedRecord:
    """A record as it is published: exact bytes, with its numbers beside it."""

    position: int
    stream: BucketId
    sequence: int
    previous_hash: bytes
    payload: bytes

    @property
    def chain_hash(self) -> bytes:
        return next_hash(self.previous_hash, self.payload)


def first_head(stream: str) -> SequencerHead:
    """Return the head of a stream set that never ran."""
    return SequencerHead(stream, turn=0, next_position=FIRST_POSITION, chain_hash=FIRST_HASH)


def next_hash(previous_hash: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(previous_hash + payload).digest()


def number_blocks(
    head: SequencerHead,
    pending: Sequence[tuple[bytes, int, bytes]],
    sequences: Mapping[BucketId, int],
) -> tuple[AuditBlock, SequencerHead, dict[BucketId, int]]:
    """Number pending blocks; return the block to store, the head after it, the next sequences.

    `pending`: (block id, stamp, payload) as `MetadataReader.pending_audit` gives them, at least
    one. `sequences`: the next one of each stream that has one. Only streams that occur come back.
    """
    assert pending, "there is nothing to number"
    following = dict(sequences)
    chain_hash = head.chain_hash
    pieces = [_BLOCK_VERSION, chain_hash]
    touched: dict[BucketId, int] = {}
    count = 0
    for record in (record for _, _, payload in pending for record in unpack_pending(payload)):
        sequence = following.get(record.stream, FIRST_SEQUENCE)
        following[record.stream] = touched[record.stream] = sequence + 1
        pieces += (_FRAME.pack(record.stream, sequence, len(record.payload)), record.payload)
        chain_hash = next_hash(chain_hash, record.payload)
        count += 1
    block = AuditBlock(head.stream, head.next_position, count, b"".join(pieces), chain_hash)
    after = SequencerHead(head.stream, head.turn + 1, head.next_position + count, chain_hash)
    return block, after, touched


def pack_block(records: Sequence[NumberedRecord]) -> bytes:
    """Return the payload of a block that holds these records, at least one."""
    pieces = [_BLOCK_VERSION, records[0].previous_hash]
    for record in records:
        frame = _FRAME.pack(record.stream, record.sequence, len(record.payload))
        pieces += (frame, record.payload)
    return b"".join(pieces)


def streams_of(pending: Iterable[tuple[bytes, int, bytes]]) -> set[BucketId]:
    """Return the streams whose sequences `number_blocks` will need."""
    return {record.stream for _, _, payload in pending for record in unpack_pending(payload)}


def unpack_block(block: AuditBlock) -> list[NumberedRecord]:
    """Return a stored block's records; raise EventInvalid if it is damaged."""
    payload = block.payload
    at = 1 + HASH_SIZE_BYTES
    if payload[:1] != _BLOCK_VERSION or len(payload) < at:
        raise EventInvalid("not an audit block of a version we know")
    previous = payload[1:at]
    records: list[NumberedRecord] = []
    while at < len(payload):
        stream, sequence, size = unpack_frame(_FRAME, payload, at)
        at += _FRAME.size
        position = block.first_position + len(records)
        raw = payload[at : at + size]
        records.append(NumberedRecord(position, BucketId(stream), sequence, previous, raw))
        previous = next_hash(previous, raw)
        at += size
    if at != len(payload) or len(records) != block.count or previous != block.chain_hash:
        raise EventInvalid(f"the audit block at position {block.first_position} is damaged")
    return records


def hash_before(block: AuditBlock) -> bytes:
    """Return the hash before a block's first record, as it is stored."""
    return block.payload[1 : 1 + HASH_SIZE_BYTES]


def block_of(stream: str, records: Sequence[NumberedRecord]) -> AuditBlock:
    """Return the block that stores these records, one after another and at least one."""
    return AuditBlock(
        stream, records[0].position, len(records), pack_block(records), records[-1].chain_hash
    )


@dataclass(frozen=True, slots=True)
class ChainFault:
    """What is wrong at `position`.

    missing: no record there. changed: the bytes, or the hash beside the next record, are not what
    they were; or it stands in another stream than it names; or its sequence does not follow.
    reordered: it came after a later one. forged: a checkpoint there that no key of ours signed.
    """

    position: int
    kind: Literal["missing", "changed", "reordered", "forged"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ChainState:
    """How far a stream was verified. `sequences`: the next one of each stream seen.

    `is_whole`: every record from the first on was seen, so an unseen stream must begin with 1.
    """

    next_position: int = FIRST_POSITION
    chain_hash: bytes = FIRST_HASH
    sequences: Mapping[BucketId, int] = field(default_factory=dict)
    is_whole: bool = True


def verify_chain(
    records: Sequence[NumberedRecord],
    *,
    after: ChainState | None = None,
    head: SequencerHead | None = None,
) -> tuple[list[ChainFault], ChainState]:
    """Return every fault of a run of records, and the state to verify the next run with.

    `after`: the state before the run, `ChainState()` for the stream's beginning; None trusts the
    first record's numbers (older ones are gone by retention). `head`: where the stream ends, for
    the last run; without it a missing tail or a change of the last record cannot be seen. A record
    that comes twice, the same, is no fault: readers skip it. What is before `after` is passed over
    here, too: who has doubles compares them (`audit_topic`).
    """
    faults = _order_faults(records, after)
    by_position = {record.position: record for record in reversed(records)}
    ordered = [by_position[position] for position in sorted(by_position)]
    state = after or _trusted(ordered)
    walk = _Walk(state)
    for record in ordered:
        if record.position >= walk.next_position:
            walk.follow(record)
    state = ChainState(walk.next_position, walk.chain_hash, walk.sequences, walk.is_whole)
    if head is not None:
        walk.faults += _end_faults(state, head)
    return faults + walk.faults, state


class _Walk:
    """One pass over a run in the order of positions."""

    def __init__(self, state: ChainState) -> None:
        self.next_position = state.next_position
        self.chain_hash = state.chain_hash
        self.sequences = dict(state.sequences)
        self.is_whole = state.is_whole
        self.faults: list[ChainFault] = []

    def follow(self, record: NumberedRecord) -> None:
        if record.position > self.next_position:
            self.faults += _missing(self.next_position, record.position)
            self.sequences.clear()
            self.is_whole = False
        elif record.previous_hash != self.chain_hash:
            self.faults.append(ChainFault(max(FIRST_POSITION, record.position - 1), "changed"))
        self._follow_sequence(record)
        self.next_position = record.position + 1
        self.chain_hash = record.chain_hash

    def _follow_sequence(self, record: NumberedRecord) -> None:
        """The number of a record that was moved to another stream still counts in its own."""
        try:
            stream = stream_of(record.payload)
        except EventInvalid as error:
            self._note(record, str(error))
            return
        unseen = FIRST_SEQUENCE if self.is_whole else None
        expected = self.sequences.get(stream, unseen)
        if stream != record.stream:
            self._note(record, f"it belongs to stream {stream.hex()}, not to {record.stream.hex()}")
            if expected is not None:
                self.sequences[stream] = expected + 1
            return
        if expected not in (None, record.sequence):
            self._note(record, f"its sequence is {record.sequence}, not {expected}")
        self.sequences[stream] = record.sequence + 1

    def _note(self, record: NumberedRecord, detail: str) -> None:
        self.faults.append(ChainFault(record.position, "changed", detail))


def _order_faults(records: Sequence[NumberedRecord], after: ChainState | None) -> list[ChainFault]:
    """What an earlier run had, or lacked, may come again: of that nobody here knows the order."""
    faults = []
    seen: dict[int, NumberedRecord] = {}
    start = FIRST_POSITION if after is None else after.next_position
    highest = 0
    for record in (one for one in records if one.position >= start):
        known = seen.get(record.position)
        if known is None:
            seen[record.position] = record
            if record.position < highest:
                faults.append(ChainFault(record.position, "reordered"))
        elif known != record:
            faults.append(ChainFault(record.position, "changed", "it came twice, differently"))
        highest = max(highest, record.position)
    return faults


def _trusted(ordered: Sequence[NumberedRecord]) -> ChainState:
    if not ordered:
        return ChainState(is_whole=False)
    return ChainState(ordered[0].position, ordered[0].previous_hash, is_whole=False)


def _missing(start: int, stop: int) -> list[ChainFault]:
    return [ChainFault(start, "missing", f"{stop - start} records from here")]


def _end_faults(state: ChainState, head: SequencerHead) -> list[ChainFault]:
    if state.next_position < head.next_position:
        return _missing(state.next_position, head.next_position)
    if state.next_position == head.next_position and state.chain_hash != head.chain_hash:
        return [ChainFault(state.next_position - 1, "changed", "the head has another hash")]
    return []


__all__ = [
    "FIRST_HASH",
    "FIRST_POSITION",
    "FIRST_SEQUENCE",
    "SYSTEM_STREAM",
    "ChainFault",
    "ChainState",
    "NumberedRecord",
    "block_of",
    "first_head",
    "hash_before",
    "next_hash",
    "number_blocks",
    "pack_block",
    "streams_of",
    "unpack_block",
    "verify_chain",
]
