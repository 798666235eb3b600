"""An extent's header and footer say what was written, or nothing."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.errors import Corrupt, FormatInvalid
from fileflux.core.ids import BundleId, NodeId
from fileflux.storage_node.extent_format import (
    HEADER_SIZE_BYTES,
    TRAILER_SIZE_BYTES,
    ExtentHeader,
    ExtentRow,
    encode_footer,
    encode_header,
    encode_row,
    parse_extent_header,
    parse_rows,
    parse_trailer,
)
from fileflux.storage_node.extent_scan import scan_extent
from fileflux.storage_node.samples import sample_bundle

FIXTURES = Path(__file__).parents[2] / "fixtures"
NODE = NodeId("6f2d8a54-95a1-4c39-9a0a-0d3c4c0f7e11")
HEADER = ExtentHeader(number=42, node_id=NODE, epoch=7, created_us=1_767_225_600_000_000)
ROWS = [
    ExtentRow(BundleId(bytes([n]) * 16), 64 + 1_000 * n, 1_000, 1_000 + n, 77 + n) for n in range(3)
]
END = 64 + 3_000


def footer() -> bytes:
    return encode_footer(b"".join(encode_row(row) for row in ROWS), END)


def parse_footer(raw: bytes) -> list[ExtentRow] | None:
    trailer = parse_trailer(raw[-TRAILER_SIZE_BYTES:], END + len(raw))
    return None if trailer is None else list(parse_rows(raw[:-TRAILER_SIZE_BYTES], trailer))


@given(st.integers(1, 2**63), st.uuids(), st.integers(0, 2**63), st.integers(0, 2**63))
def test_a_header_is_read_as_it_was_written(
    number: int, node: object, epoch: int, created_us: int
) -> None:
    header = ExtentHeader(
        number=number, node_id=NodeId(str(node)), epoch=epoch, created_us=created_us
    )

    assert len(encode_header(header)) == HEADER_SIZE_BYTES
    assert parse_extent_header(encode_header(header)) == header


def test_any_flipped_bit_of_a_header_is_detected() -> None:
    for bit in range(8 * HEADER_SIZE_BYTES):
        raw = bytearray(encode_header(HEADER))
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Corrupt, FormatInvalid)):
            parse_extent_header(bytes(raw))


def test_a_footer_is_read_as_it_was_written() -> None:
    assert parse_footer(footer()) == ROWS


def test_any_flipped_bit_of_a_footer_makes_it_worthless() -> None:
    for bit in range(8 * len(footer())):
        raw = bytearray(footer())
        raw[bit // 8] ^= 1 << bit % 8
        try:
            assert parse_footer(bytes(raw)) is None, bit
        except Corrupt:
            continue


def test_a_footer_of_another_file_size_seals_nothing() -> None:
    raw = footer()
    assert parse_trailer(raw[-TRAILER_SIZE_BYTES:], END + len(raw) + 1) is None
    assert parse_trailer(raw[-TRAILER_SIZE_BYTES:-1], END + len(raw)) is None


@pytest.mark.parametrize("shift", [-1, 2_000])
def test_a_footer_whose_records_overlap_is_refused(shift: int) -> None:
    rows = [ROWS[0], ExtentRow(ROWS[1].bundle_id, ROWS[1].offset + shift, 1_000, 1, 1), ROWS[2]]
    raw = encode_footer(b"".join(encode_row(row) for row in rows), END)
    with pytest.raises(Corrupt):
        parse_footer(raw)


def extent_bytes(*, sealed: bool) -> bytes:
    """What the fixtures hold: two bundles of seeds 1 and 2, perhaps sealed."""
    raw, table = bytearray(encode_header(HEADER)), bytearray()
    for seed in (1, 2):
        bundle = sample_bundle(seed)
        size, crc = bundle.view.header.sealed
        table += encode_row(ExtentRow(bundle.bundle_id, len(raw), len(bundle.data), size, crc))
        raw += bundle.data
    return bytes(raw) + (encode_footer(table, len(raw)) if sealed else b"")


@pytest.mark.parametrize("name", ["open", "sealed"])
def test_extents_that_we_once_wrote_are_read_and_written_as_ever(name: str) -> None:
    """A stored extent outlives the code that wrote it. These files never change."""
    path = FIXTURES / f"extent_v1_{name}.bin"
    scan = scan_extent(path)

    assert path.read_bytes() == extent_bytes(sealed=name == "sealed")
    assert scan.header == HEADER
    assert scan.is_sealed == (name == "sealed")
    assert [row.bundle_id for row in scan.rows] == [
        sample_bundle(1).bundle_id,
        sample_bundle(2).bundle_id,
    ]


def test_random_bytes_are_no_extent() -> None:
    rng = random.Random(5)
    for _ in range(200):
        with pytest.raises((Corrupt, FormatInvalid)):
            parse_extent_header(rng.randbytes(rng.randrange(80)))
