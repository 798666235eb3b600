"""A bundle says what was put into it, or that it is damaged: nothing in between."""

import random
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileflux.core.bundle_format import (
    PLACEHOLDER,
    LargeBundleWriter,
    encode_small,
    encode_sparse,
    parse_header,
)
from fileflux.core.bundle_meta import decode_meta, encode_meta
from fileflux.core.bundle_records import (
    BUNDLE_SIZE_MAX,
    HEADER_SIZE_BYTES,
    ChunkEntry,
    ChunkMeta,
    EncodedBundle,
    MultipartRecord,
    UploadRecord,
)
from fileflux.core.bundle_view import BundleIndexView, BundleReceiver, check_bundle, read_index
from fileflux.core.checksum import crc32c
from fileflux.core.errors import BundleCorrupt, ChunkCorrupt, Corrupt, FormatInvalid, NoSuchBundle
from fileflux.core.ids import BucketId, BundleId, SealId, UploadId
from fileflux.core.model import (
    BLOCK_SIZE_BYTES,
    Chunk,
    Manifest,
    ObjectMeta,
    SizeClass,
    WriteConditions,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"
BUNDLE = BundleId(bytes(range(16)))
SEAL = SealId(bytes(range(16, 32)))
AT_US = 1_767_225_600_000_000

texts = st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=3)
ids = st.binary(min_size=16, max_size=16)
sizes = st.one_of(
    st.integers(1, 300),
    st.sampled_from([BLOCK_SIZE_BYTES - 1, BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES + 1, 150_000]),
)
manifests = st.one_of(
    st.none(),
    st.lists(
        st.builds(Chunk, ids, st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=3
    ).map(lambda chunks: Manifest(tuple(chunks))),
)
origins = st.builds(
    MultipartRecord,
    meta=st.builds(ObjectMeta, texts, texts),
    checksum_algorithm=st.text(max_size=10),
    checksum_type=st.text(max_size=11),
    created_us=st.integers(0, 2**60),
)
records = st.builds(
    UploadRecord,
    size=st.integers(1, 2**40),
    etag=st.text(max_size=40),
    at_us=st.integers(0, 2**60),
    storage_class=st.text(max_size=10),
    meta=st.builds(ObjectMeta, texts, texts, texts, st.sampled_from(["FULL_OBJECT", "COMPOSITE"])),
    manifest=manifests,
    conditions=st.builds(WriteConditions, st.none() | st.text(), st.none() | st.text()),
    multipart=st.none() | origins,
)
metas = st.builds(
    ChunkMeta,
    upload_id=ids,
    bucket_id=ids,
    bucket=st.text(max_size=20),
    key=st.binary(max_size=40),
    multipart_id=st.one_of(st.none(), ids),
    part_number=st.integers(0, 10_000),
    chunk_number=st.integers(0, 640),
    record=st.one_of(st.none(), records),
)


def entry(number: int, size: int, seed: int = 0) -> ChunkEntry:
    """A small object whose bytes follow from its number."""
    record = UploadRecord(
        size=size,
        etag=f"etag-{number}",
        at_us=AT_US + number,
        storage_class="standard",
        meta=ObjectMeta({"content-type": "text/plain"}, {"colour": "blue"}, {"CRC64NVME": "AAAA"}),
    )
    meta = ChunkMeta(
        upload_id=UploadId(number.to_bytes(16, "big")),
        bucket_id=BucketId(b"b" * 16),
        bucket="bucket",
        key=b"key/%d" % number,
        record=record,
    )
    return ChunkEntry(meta, random.Random(seed * 1_000 + number).randbytes(size))


def small(*lengths: int) -> tuple[EncodedBundle, bytes]:
    bundle = encode_small(BUNDLE, SEAL, AT_US, [entry(n, size) for n, size in enumerate(lengths)])
    return bundle, b"".join(bundle.parts)


def large(size: int, pieces: list[int] | None = None) -> tuple[bytes, int]:
    """The file of one large chunk, written in pieces of these sizes, and its crc."""
    data = random.Random(size).randbytes(size)
    writer = LargeBundleWriter(BUNDLE, SEAL)
    at = 0
    for piece in [*(pieces or []), size]:
        writer.update(data[at : at + piece])
        at += piece
    meta = replace(
        entry(7, 1).meta, part_number=3, chunk_number=0, multipart_id=UploadId(b"m" * 16)
    )
    finished = writer.finish(meta, AT_US)
    raw = finished.header + data + finished.tail
    assert finished.size == len(raw)
    return raw, finished.crc


def check(raw: bytes) -> BundleIndexView:
    view = memoryview(raw)
    return check_bundle(lambda at, length: view[at : at + length])


@given(st.lists(st.tuples(metas, sizes), min_size=1, max_size=6), st.integers(0, 2**60))
@settings(max_examples=60, deadline=None)
def test_what_goes_into_a_bundle_comes_out(
    chunks: list[tuple[ChunkMeta, int]], created_us: int
) -> None:
    entries = [
        ChunkEntry(m, random.Random(n).randbytes(size)) for n, (m, size) in enumerate(chunks)
    ]
    bundle = encode_small(BUNDLE, SEAL, created_us, entries)
    raw = b"".join(bundle.parts)

    view = check(raw)
    assert (view.header.size, view.header.crc) == (len(raw), bundle.crc) == view.header.sealed
    assert (view.header.bundle_id, view.header.seal_id) == (BUNDLE, SEAL)
    assert view.header.created_us == created_us
    for number, one in enumerate(entries):
        place = view.chunk(number)
        assert raw[place.offset : place.offset + place.length] == one.data
        assert view.meta(place) == one.meta
        assert place.is_last == (one.meta.record is not None)


@given(metas)
def test_meta_is_read_as_it_was_written(meta: ChunkMeta) -> None:
    assert decode_meta(encode_meta(meta)) == meta


@given(st.binary(max_size=200))
def test_meta_that_is_not_ours_is_refused_and_nothing_else_happens(raw: bytes) -> None:
    try:
        decode_meta(raw)
    except FormatInvalid:
        return
    pytest.fail("random bytes are not a chunk's meta")


def test_meta_of_a_later_version_may_say_more() -> None:
    """Elements are appended; a reader of today ignores them."""
    raw = encode_meta(entry(0, 1).meta)
    assert raw[0] == 0x98  # An array of eight.

    assert decode_meta(b"\x99" + raw[1:] + b"\xc0") == entry(0, 1).meta


@given(st.integers(1, 200_000), st.lists(st.integers(0, 70_000), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_large_chunk_gives_the_same_bundle_however_it_is_cut(size: int, cuts: list[int]) -> None:
    pieces = [min(cut, size) for cut in cuts]

    assert large(size, pieces) == large(size)
    assert check(large(size)[0]).header.size_class is SizeClass.LARGE


@pytest.mark.parametrize("raw", [small(5, 70_000, 1)[1], large(70_000)[0]], ids=["small", "large"])
def test_any_flipped_bit_is_detected(raw: bytes) -> None:
    rng = random.Random(4)
    edges = [*range(HEADER_SIZE_BYTES + 4), *range(len(raw) - 700, len(raw))]
    places = edges + rng.sample(range(len(raw)), 300)
    for at in places:
        damaged = bytearray(raw)
        damaged[at] ^= 1 << rng.randrange(8)
        with pytest.raises((Corrupt, FormatInvalid)):
            check(bytes(damaged))


def test_a_bundle_cut_anywhere_is_detected() -> None:
    raw = small(300, 20)[1]
    for length in range(len(raw)):
        with pytest.raises(Corrupt):
            check(raw[:length])


def test_an_unfinished_file_is_no_bundle() -> None:
    raw = large(1_000)[0]
    with pytest.raises(FormatInvalid):
        check(PLACEHOLDER + raw[HEADER_SIZE_BYTES:])


@given(st.binary(min_size=92, max_size=92), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_hostile_header_never_makes_us_read_or_hold_more_than_the_limits(
    start: bytes, is_ours: bool
) -> None:
    """Even one whose own CRC is right."""
    if is_ours:
        start = b"FFB1\x01\x00\x00\x00" + start[8:80] + bytes(4) + start[84:]
    raw = start + struct.pack(">I", crc32c(start))
    asked: list[int] = []

    def read_at(at: int, length: int) -> bytes:
        asked.append(length)
        return raw[at : at + length]

    with pytest.raises((Corrupt, FormatInvalid)):
        check_bundle(read_at)
    assert sum(asked) <= BUNDLE_SIZE_MAX


@pytest.mark.parametrize("sealed_size", [BUNDLE_SIZE_MAX + 1, 1 << 63])
def test_a_sparse_record_of_a_bundle_that_cannot_have_been_is_refused(sealed_size: int) -> None:
    """Its sealed size becomes a row of whoever reads it."""
    view = check(small(300, 20)[1])
    kept = [view.raw_chunk(view.chunk(0), entry(0, 300).data)]
    raw = bytearray(b"".join(encode_sparse(view.header, kept).parts))
    raw[72:80] = sealed_size.to_bytes(8, "big")
    raw[92:96] = crc32c(raw[:92]).to_bytes(4, "big")

    with pytest.raises(FormatInvalid, match="over their limits"):
        parse_header(raw)


@given(st.integers(0, 59))
def test_a_chunk_table_with_gaps_is_refused_even_when_its_crcs_are_right(seed: int) -> None:
    """Whoever can write CRCs still cannot make one chunk show another one's bytes."""
    raw = bytearray(small(300, 20, 5)[1])
    header = parse_header(raw)
    entries_at = header.tables_offset + 4 * header.block_count
    rng = random.Random(seed)
    at = entries_at + 32 * rng.randrange(3) + rng.choice([0, 8, 12, 16, 20, 24, 28]) + 3
    raw[at] = (raw[at] + rng.randrange(1, 256)) % 256
    tables = bytes(raw[header.tables_offset : header.meta_offset])
    raw[84:88] = struct.pack(">I", crc32c(tables))
    raw[88:92] = struct.pack(">I", crc32c(raw[header.tables_offset :], crc32c(raw[:84])))
    raw[92:96] = struct.pack(">I", crc32c(raw[:92]))

    with pytest.raises(FormatInvalid):
        check(bytes(raw))


def test_one_rotten_block_leaves_the_other_chunks_readable() -> None:
    raw = bytearray(small(10, BLOCK_SIZE_BYTES + 10, 10)[1])
    view = read_index(lambda at, length: bytes(raw[at : at + length]), with_meta=True)
    second = view.chunk(1)
    raw[second.offset + BLOCK_SIZE_BYTES] ^= 1

    view.verify_blocks(second, 0, raw[second.offset : second.offset + BLOCK_SIZE_BYTES])
    with pytest.raises(ChunkCorrupt):
        view.verify_blocks(second, 1, raw[second.offset + BLOCK_SIZE_BYTES :][:10])
    third = view.chunk(2)
    view.verify_blocks(third, 0, raw[third.offset : third.offset + third.length])


def test_a_sparse_record_keeps_numbers_crcs_and_the_sealed_identity() -> None:
    bundle, raw = small(10, 70_000, 30, 40)
    view = check(raw)
    kept = [
        view.raw_chunk(place, raw[place.offset : place.offset + place.length])
        for place in (view.chunk(1), view.chunk(3))
    ]
    sparse_raw = b"".join(encode_sparse(view.header, kept).parts)

    sparse = check(sparse_raw)
    assert sparse.header.is_sparse
    assert sparse.header.sealed == (len(raw), bundle.crc)
    assert [place.number for place in sparse.chunks()] == [1, 3]
    assert sparse.meta(sparse.chunk(3)) == view.meta(view.chunk(3))
    with pytest.raises(NoSuchBundle):
        sparse.chunk(2)
    again = sparse.raw_chunk(sparse.chunk(3), kept[1].data)
    twice = check(b"".join(encode_sparse(sparse.header, [again]).parts))
    assert twice.header.sealed == (len(raw), bundle.crc)


def test_rot_is_not_blessed_by_rewriting() -> None:
    """A rewritten bundle has the CRCs of the original, so that a rotten block stays visible."""
    raw = bytearray(small(10, 20)[1])
    view = check(bytes(raw))
    place = view.chunk(1)
    raw[place.offset] ^= 1
    rotten = view.raw_chunk(place, bytes(raw[place.offset : place.offset + place.length]))

    with pytest.raises(ChunkCorrupt):
        check(b"".join(encode_sparse(view.header, [rotten]).parts))


def receive(receiver: BundleReceiver, raw: bytes, cuts: list[int]) -> None:
    """Let `raw` arrive in pieces of these sizes, and the rest."""
    memory = receiver.begin(len(raw))
    at = 0
    for cut in [*cuts, len(raw)]:
        piece = raw[at : at + cut]
        memory[at : at + len(piece)] = piece
        at += len(piece)
        receiver.arrived(len(piece))


@given(st.lists(st.integers(1, 4_000), max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_bundle_is_received_in_any_split(cuts: list[int]) -> None:
    bundle, raw = small(300, 5_000)
    receiver = BundleReceiver(BUNDLE, bundle.size, bundle.crc)
    receive(receiver, raw, cuts)

    buffer, view = receiver.finish()
    assert bytes(buffer) == raw
    assert view.header.chunk_count == 2


def test_a_receiver_refuses_what_was_not_announced() -> None:
    bundle, raw = small(300)
    announced = [
        (BundleId(b"x" * 16), bundle.size, bundle.crc),
        (BUNDLE, bundle.size, bundle.crc ^ 1),
        (BUNDLE, bundle.size + 1, bundle.crc),
        (BUNDLE, bundle.size - 1, bundle.crc),
    ]
    for bundle_id, size, crc in announced:
        with pytest.raises(BundleCorrupt):
            receive(BundleReceiver(bundle_id, size, crc), raw, [])
    cut_off = BundleReceiver(BUNDLE, bundle.size, bundle.crc)
    cut_off.begin(bundle.size)
    with pytest.raises(BundleCorrupt):
        cut_off.finish()
    with pytest.raises(FormatInvalid):
        BundleReceiver(BUNDLE, 2**40, 0).begin(BUNDLE_SIZE_MAX + 1)


def test_a_receiver_starts_again_when_a_source_broke_off() -> None:
    bundle, raw = small(300)
    receiver = BundleReceiver(BUNDLE, bundle.size, bundle.crc)
    receiver.begin(bundle.size)[:200] = raw[:200]
    receiver.arrived(200)
    receive(receiver, raw, [])

    assert bytes(receiver.finish()[0]) == raw


def test_a_peers_sparse_record_is_received_as_the_sealed_bundle() -> None:
    bundle, raw = small(10, 20)
    view = check(raw)
    place = view.chunk(1)
    kept = view.raw_chunk(place, raw[place.offset : place.offset + place.length])
    sparse = b"".join(encode_sparse(view.header, [kept]).parts)
    receiver = BundleReceiver(BUNDLE, bundle.size, bundle.crc)
    receive(receiver, sparse, [])

    assert receiver.finish()[1].header.sealed == (bundle.size, bundle.crc)


def test_verifying_from_a_file_holds_tables_and_one_block() -> None:
    raw = large(8 * 1024 * 1024)[0]
    view = memoryview(raw)
    tracemalloc.start()
    check_bundle(lambda at, length: bytes(view[at : at + length]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * BLOCK_SIZE_BYTES


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("bundle_v1_small.bin", small(5, BLOCK_SIZE_BYTES + 1, 300)[1]),
        ("bundle_v1_large.bin", large(BLOCK_SIZE_BYTES + 10)[0]),
    ],
)
def test_bundles_that_we_once_wrote_are_read_and_written_as_ever(name: str, raw: bytes) -> None:
    """A stored bundle outlives the code that wrote it. These files never change."""
    stored = (FIXTURES / name).read_bytes()

    assert stored == raw
    assert check(stored).header.created_us == AT_US


def test_a_stored_sparse_bundle_is_read_as_ever() -> None:
    view = check((FIXTURES / "bundle_v1_sparse.bin").read_bytes())

    assert [place.number for place in view.chunks()] == [0, 2]
    assert view.header.sealed == (len(small(5, 66_000, 300)[1]), small(5, 66_000, 300)[0].crc)


def test_an_upload_without_conditions_or_parts_costs_no_byte_more() -> None:
    """What salvage gained is written for few uploads; of all others the bytes stay as they were."""
    meta = entry(0, 1).meta
    assert meta.record is not None
    before = len(encode_meta(meta))
    once = replace(meta.record, conditions=WriteConditions(if_none_match="*"))

    assert len(msgpack.unpackb(encode_meta(meta))[7]) == 9
    assert len(encode_meta(replace(meta, record=once))) - before == 10


@pytest.mark.parametrize(
    "more", [[], {"if": 5}, {"upload": 5}, {"upload": [{}, {}, "", "", "now"]}, {"upload": [{}]}]
)
def test_an_upload_that_says_nonsense_besides_is_refused(more: object) -> None:
    values = msgpack.unpackb(encode_meta(entry(0, 1).meta))
    values[7].append(more)
    with pytest.raises(FormatInvalid):
        decode_meta(msgpack.packb(values))


def test_an_upload_of_a_later_version_may_say_more() -> None:
    values = msgpack.unpackb(encode_meta(entry(0, 1).meta))
    values[7] += [{"unless": "*", "colour": 7}, "later"]
    record = decode_meta(msgpack.packb(values)).record

    assert record is not None
    assert record.conditions == WriteConditions(if_none_match="*")
