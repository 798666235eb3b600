"""Positions, sequences and the hash chain: given without a gap, and any damage is found."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.metadata_changes import Maker
from tests.model.metadata_store import Store

from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId
from fileflux.metadata.chain import (
    FIRST_HASH,
    SYSTEM_STREAM,
    ChainFault,
    ChainState,
    NumberedRecord,
    first_head,
    next_hash,
    number_blocks,
    streams_of,
    unpack_block,
    verify_chain,
)
from fileflux.metadata.ports import AuditBlock, SequencerHead

Pending = list[tuple[bytes, int, bytes]]


def some_pending(seed: int, batches: int = 8) -> Pending:
    """Return pending blocks of a few buckets and the system, in the order of their stamps."""
    rng = random.Random(seed)
    maker, store = Maker(seed), Store()
    buckets = [maker.bucket(name) for name in ("red", "blue", "green")]
    store.run(maker.user(), *buckets)
    for _ in range(batches):
        puts = [
            maker.put(rng.choice(buckets), bytes((rng.randrange(4),)))
            for _ in range(rng.randrange(1, 4))
        ]
        store.run(*puts)
    return sorted(store.tables.rows("audit_pending").values(), key=lambda b: (b[1], b[0]))


def numbered(pending: Pending, cuts: list[int]) -> tuple[list[AuditBlock], SequencerHead]:
    """Number pending blocks in runs that end at `cuts`."""
    head, blocks, sequences = first_head("main"), [], dict[BucketId, int]()
    for start, stop in zip([0, *cuts], [*cuts, len(pending)], strict=True):
        if start < stop:
            block, head, touched = number_blocks(head, pending[start:stop], sequences)
            assert touched.keys() == streams_of(pending[start:stop])
            sequences |= touched
            blocks.append(block)
    return blocks, head


def some_records(seed: int) -> tuple[list[NumberedRecord], SequencerHead]:
    blocks, head = numbered(some_pending(seed), [3])
    return [record for block in blocks for record in unpack_block(block)], head


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1 << 32), cuts=st.sets(st.integers(1, 8)))
def test_numbers_do_not_depend_on_how_blocks_are_cut(seed: int, cuts: set[int]) -> None:
    """Positions and every stream's sequence have no gap; each record has its exact bytes."""
    pending = some_pending(seed)
    blocks, head = numbered(pending, sorted(cuts))
    whole, whole_head = numbered(pending, [])
    records = [record for block in blocks for record in unpack_block(block)]

    assert records == unpack_block(whole[0])
    assert (head.next_position, head.chain_hash) == (
        whole_head.next_position,
        whole_head.chain_hash,
    )
    assert head.turn == len(blocks)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    for stream in {record.stream for record in records}:
        sequences = [record.sequence for record in records if record.stream == stream]
        assert sequences == list(range(1, len(sequences) + 1))
    assert SYSTEM_STREAM in {record.stream for record in records}
    assert verify_chain(records, after=ChainState(), head=head)[0] == []


def test_the_chain_is_what_the_format_says() -> None:
    records, head = some_records(1)

    assert records[0].previous_hash == FIRST_HASH == bytes(32)
    for before, after in pairwise(records):
        assert after.previous_hash == next_hash(before.previous_hash, before.payload)
    assert head.chain_hash == records[-1].chain_hash


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 20), index=st.integers(0, 1 << 20), kind=st.sampled_from("prsh"))
def test_every_single_change_is_found(seed: int, index: int, kind: str) -> None:
    records, head = some_records(seed)
    at = index % len(records)
    record = records[at]
    flipped = bytes((record.payload[0] ^ 1,)) + record.payload[1:]
    records[at] = {
        "p": replace(record, payload=flipped),
        "r": replace(record, payload=record.payload[:-1]),
        "s": replace(record, sequence=record.sequence + 1),
        "h": replace(record, previous_hash=bytes(32) if at else bytes(31) + b"\x01"),
    }[kind]

    faults, _ = verify_chain(records, after=ChainState(), head=head)
    assert faults
    assert {fault.kind for fault in faults} == {"changed"}
    assert min(abs(fault.position - record.position) for fault in faults) <= 1


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 20), index=st.integers(0, 1 << 20))
def test_every_removal_is_found_where_it_is(seed: int, index: int) -> None:
    records, head = some_records(seed)
    removed = records.pop(index % len(records))

    faults, _ = verify_chain(records, after=ChainState(), head=head)
    assert [(fault.position, fault.kind) for fault in faults] == [(removed.position, "missing")]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 20), index=st.integers(0, 1 << 20), other=st.integers(0, 1 << 20))
def test_every_swap_is_found(seed: int, index: int, other: int) -> None:
    """Of records with their numbers, and of payloads under the numbers of others."""
    records, head = some_records(seed)
    a, b = sorted((index % len(records), other % len(records)))
    if a == b:
        b = a + 1 if a + 1 < len(records) else a
        a = min(a, b - 1)
    swapped = list(records)
    swapped[a], swapped[b] = records[b], records[a]
    faults, _ = verify_chain(swapped, after=ChainState(), head=head)
    assert records[a].position in {f.position for f in faults if f.kind == "reordered"}

    moved = list(records)
    moved[a] = replace(records[a], payload=records[b].payload)
    moved[b] = replace(records[b], payload=records[a].payload)
    faults, _ = verify_chain(moved, after=ChainState(), head=head)
    assert {f.position for f in faults if f.kind == "changed"} >= {records[a].position}


def test_a_repeated_record_is_no_fault_unless_it_differs() -> None:
    records, head = some_records(3)

    assert verify_chain([*records, *records], after=ChainState(), head=head)[0] == []
    forged = replace(records[2], payload=b"{}")
    assert (
        ChainFault(3, "changed", "it came twice, differently")
        in (verify_chain([*records, forged], after=ChainState(), head=head)[0])
    )


def test_a_run_is_verified_page_by_page() -> None:
    records, head = some_records(4)
    state = ChainState()
    for start in range(0, len(records), 3):
        faults, state = verify_chain(records[start : start + 3], after=state)
        assert faults == []
    assert verify_chain([], after=state, head=head)[0] == []
    assert state.next_position == head.next_position


def test_a_stream_whose_beginning_is_gone_is_verified_from_there() -> None:
    records, head = some_records(5)

    assert verify_chain(records[4:], head=head)[0] == []
    assert verify_chain(records[4:-1], head=head)[0][0].kind == "missing"


def test_a_forged_end_shows_by_the_head() -> None:
    """Only the head knows what the last record was."""
    records, head = some_records(6)
    records[-1] = replace(records[-1], payload=b"{}")

    assert verify_chain(records, after=ChainState())[0] == []
    faults, _ = verify_chain(records, after=ChainState(), head=head)
    assert [(fault.position, fault.kind) for fault in faults] == [(len(records), "changed")]


@settings(max_examples=50, deadline=None)
@given(index=st.integers(0, 1 << 20))
def test_a_damaged_block_never_gives_other_bytes(index: int) -> None:
    blocks, _ = numbered(some_pending(7), [])
    payload = bytearray(blocks[0].payload)
    at = index % len(payload)
    payload[at] ^= 0x10
    whole = unpack_block(blocks[0])
    try:
        records = unpack_block(replace(blocks[0], payload=bytes(payload)))
    except EventInvalid:
        return
    # Streams and sequences are not in the chain; what they should be, a reader counts.
    assert [record.payload for record in records] == [record.payload for record in whole]


def test_a_cut_or_foreign_block_is_invalid() -> None:
    blocks, _ = numbered(some_pending(8), [])
    block = blocks[0]
    for payload in (b"", b"\x02" + block.payload[1:], block.payload[:-1], block.payload[:40]):
        with pytest.raises(EventInvalid):
            unpack_block(replace(block, payload=payload))
    with pytest.raises(EventInvalid):
        unpack_block(replace(block, count=block.count + 1))
