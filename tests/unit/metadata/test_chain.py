"""Positions, sequences and the hash chain: given without a gap, and any damage is found."""

import random
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.metadata_changes import Maker
from tests.model.metadata_store import Store

from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId, UploadId
from fileflux.metadata.audit_record import encode_record, stream_of
from fileflux.metadata.chain import (
    FIRST_HASH,
    SYSTEM_STREAM,
    ChainFault,
    ChainState,
    NumberedRecord,
    block_of,
    first_head,
    next_hash,
    number_blocks,
    streams_of,
    unpack_block,
    verify_chain,
)
from fileflux.metadata.ports import AuditBlock, SequencerHead
from fileflux.metadata.rows import AuditRecord

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


@cache
def _some_blocks(seed: int) -> tuple[list[AuditBlock], SequencerHead]:
    return numbered(some_pending(seed), [3])


def some_records(seed: int) -> tuple[list[NumberedRecord], SequencerHead]:
    blocks, head = _some_blocks(seed)
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


@pytest.mark.parametrize("cut", range(1, 10))
def test_what_was_published_again_is_no_fault_wherever_the_pages_end(cut: int) -> None:
    records, head = some_records(4)
    twice = [*records[:6], *records[2:]]
    faults, state = verify_chain(twice[:cut], after=ChainState())
    others, state = verify_chain(twice[cut:], after=state, head=head)

    assert [*faults, *others] == []


def test_a_stream_whose_beginning_is_gone_is_verified_from_there() -> None:
    records, head = some_records(5)

    assert verify_chain(records[4:], head=head)[0] == []
    assert verify_chain(records[4:-1], head=head)[0][0].kind == "missing"


def test_a_forged_end_shows_by_the_head() -> None:
    """Only the head knows what the last record was."""
    records, head = some_records(6)
    records[-1] = replace(records[-1], payload=records[-1].payload + b" ")

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
    # Streams and sequences are not in the chain: `verify_chain` takes them from the records.
    assert [record.payload for record in records] == [record.payload for record in whole]


def test_a_cut_or_foreign_block_is_invalid() -> None:
    blocks, _ = numbered(some_pending(8), [])
    block = blocks[0]
    for payload in (b"", b"\x02" + block.payload[1:], block.payload[:-1], block.payload[:40]):
        with pytest.raises(EventInvalid):
            unpack_block(replace(block, payload=payload))
    with pytest.raises(EventInvalid):
        unpack_block(replace(block, count=block.count + 1))


def renumbered(records: list[NumberedRecord]) -> list[NumberedRecord]:
    """Give the records sequences without a gap in the streams that they claim: a forger would."""
    following = dict[BucketId, int]()
    counted = []
    for record in records:
        sequence = following.get(record.stream, 1)
        following[record.stream] = sequence + 1
        counted.append(replace(record, sequence=sequence))
    return counted


def stored_again(records: list[NumberedRecord]) -> list[NumberedRecord]:
    """Put the records into the database's block, and read it: whoever may write it did this."""
    return unpack_block(block_of("main", records))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 20), index=st.integers(0, 1 << 20), other=st.integers(0, 1 << 20))
def test_a_record_that_was_given_to_another_stream_is_found(
    seed: int, index: int, other: int
) -> None:
    """Even where all sequences were counted anew, and the database's hashes are all true."""
    records, head = some_records(seed)
    record = records[index % len(records)]
    others = [*sorted({r.stream for r in records} - {record.stream}), BucketId(b"\x07" * 16)]
    moved = replace(record, stream=others[other % len(others)])
    forged = [moved if r is record else r for r in records]

    for history in (forged, renumbered(forged)):
        faults, _ = verify_chain(stored_again(history), after=ChainState(), head=head)
        assert record.position in {f.position for f in faults if f.kind == "changed"}


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 20), index=st.integers(0, 1 << 20), by=st.integers(1, 9))
def test_a_stream_that_was_numbered_anew_is_found(seed: int, index: int, by: int) -> None:
    """From a record on, or from its first one."""
    records, head = some_records(seed)
    at = records[index % len(records)]
    forged = [
        replace(r, sequence=r.sequence + by)
        if r.stream == at.stream and r.position >= at.position
        else r
        for r in records
    ]

    faults, _ = verify_chain(stored_again(forged), after=ChainState(), head=head)
    assert [(f.position, f.kind) for f in faults] == [(at.position, "changed")]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 20), cuts=st.sets(st.integers(1, 12)))
def test_streams_that_changed_their_names_are_found(seed: int, cuts: set[int]) -> None:
    """Two buckets' whole histories under each other's ids: every number is as it should be."""
    records, head = some_records(seed)
    one, two = sorted({r.stream for r in records} - {SYSTEM_STREAM})[:2]
    names = {one: two, two: one}
    forged = [replace(r, stream=names.get(r.stream, r.stream)) for r in records]
    state, found = ChainState(), set[int]()
    for start, stop in pairwise(sorted({0, len(records), *cuts})):
        faults, state = verify_chain(forged[start:stop], after=state)
        found |= {fault.position for fault in faults}

    assert found >= {r.position for r in records if r.stream in names}
    assert state.chain_hash == head.chain_hash


@given(names=st.lists(st.text(), min_size=3, max_size=3), data=st.data())
def test_the_stream_is_read_from_the_record_whatever_its_strings_say(
    names: list[str], data: st.DataObject
) -> None:
    bucket_id = data.draw(st.none() | st.binary(min_size=16, max_size=16).map(BucketId))
    fake = '"bucket_id":"' + "0f" * 16 + '","bucket_id":null'
    name, agent, key = (text + fake for text in names)
    record = AuditRecord(
        record_id=UploadId(bytes(16)),
        bucket_id=bucket_id,
        bucket=name,
        operation="PutObject",
        key=key.encode("utf-8", "surrogatepass"),
        at_us=1,
        stamp=2,
        actor={"user_agent": agent, "bucket_id": "0f" * 16},
        facts={},
        effects=(),
    )
    assert stream_of(encode_record(record)) == (bucket_id or SYSTEM_STREAM)


def test_what_names_no_stream_is_no_record() -> None:
    for payload in (b"{}", b'{"data":{"bucket_id":"12"}}', b'{"data":{"bucket_id":nul'):
        with pytest.raises(EventInvalid):
            stream_of(payload)
