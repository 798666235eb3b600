"""What a start believes of an extent: what verifies, in order, and nothing inside damaged bytes."""

import errno
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileflux.core.bundle_format import encode_small
from fileflux.core.bundle_records import ChunkEntry
from fileflux.core.errors import FormatInvalid
from fileflux.core.ids import BundleId, NodeId
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.extent_format import (
    HEADER_SIZE_BYTES,
    ExtentHeader,
    ExtentRow,
    encode_footer,
    encode_header,
    encode_row,
)
from fileflux.storage_node.extent_scan import Scan, scan_extent
from fileflux.storage_node.samples import received, sample_bundle

NODE = NodeId("6f2d8a54-95a1-4c39-9a0a-0d3c4c0f7e11")
HEADER = ExtentHeader(number=1, node_id=NODE, epoch=1, created_us=1)
BUNDLES = [sample_bundle(seed, lengths=(200 + seed, 90)) for seed in range(3)]


def extent(*pieces: bytes) -> bytes:
    return encode_header(HEADER) + b"".join(pieces)


def data(number: int) -> bytes:
    return bytes(BUNDLES[number].data)


def scan(tmp_path: Path, raw: bytes, start: int = HEADER_SIZE_BYTES) -> Scan:
    path = tmp_path / "0000000001.ffx"
    path.write_bytes(raw)
    return scan_extent(path, start)


def found(result: Scan) -> list[BundleId]:
    return [row.bundle_id for row in result.rows]


def test_all_whole_records_are_found(tmp_path: Path) -> None:
    raw = extent(data(0), data(1), data(2))
    result = scan(tmp_path, raw)

    assert found(result) == [bundle.bundle_id for bundle in BUNDLES]
    assert (result.end, result.torn, result.is_retired) == (len(raw), 0, False)
    for row, bundle in zip(result.rows, BUNDLES, strict=True):
        assert raw[row.offset : row.offset + row.length] == bundle.data
        assert (row.sealed_size, row.sealed_crc) == bundle.view.header.sealed


def test_a_record_cut_anywhere_is_a_torn_tail(tmp_path: Path) -> None:
    whole = extent(data(0))
    for cut in range(1, len(data(1))):
        result = scan(tmp_path, whole + data(1)[:cut])
        assert found(result) == [BUNDLES[0].bundle_id]
        assert (result.end, result.torn, result.is_retired) == (len(whole), cut, False)


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_a_tail_of_zeros_or_noise_is_cut_whatever_it_is(seed: int) -> None:
    """After a crash a file system may show the new length before the bytes."""
    rng = random.Random(seed)
    noise = rng.choice([bytes(rng.randrange(1, 9_000)), rng.randbytes(rng.randrange(1, 9_000))])
    whole = extent(data(0), data(1))
    with tempfile.TemporaryDirectory() as directory:
        result = scan(Path(directory), whole + noise)

    assert found(result) == [BUNDLES[0].bundle_id, BUNDLES[1].bundle_id]
    assert (result.end, result.torn) == (len(whole), len(noise))


def test_a_damaged_record_does_not_hide_the_whole_ones_behind_it(tmp_path: Path) -> None:
    """An unsynced batch may reach the disk in any order, and a sector may rot."""
    damaged = bytearray(data(1))
    damaged[120] ^= 1
    raw = extent(data(0), bytes(damaged), data(2))
    result = scan(tmp_path, raw)

    assert found(result) == [BUNDLES[0].bundle_id, BUNDLES[2].bundle_id]
    assert result.damaged == ((HEADER_SIZE_BYTES + len(data(0)), len(data(1))),)
    assert (result.end, result.is_retired) == (len(raw), False)


def test_nothing_is_cut_off_while_something_behind_still_begins_like_a_bundle(
    tmp_path: Path,
) -> None:
    """With its header lost nobody knows where the next record begins, but it is not thrown away."""
    lost_header = bytes(96) + data(1)[96:]
    result = scan(tmp_path, extent(data(0), lost_header, data(2)))

    assert found(result) == [BUNDLES[0].bundle_id]
    assert result.is_retired


def test_a_bundle_that_a_client_stored_as_a_file_is_never_taken_for_a_record(
    tmp_path: Path,
) -> None:
    """Whoever could plant records in damaged bytes could answer for other people's bundles."""
    forged = sample_bundle(99)
    honest = _bundle_with_content(bytes(forged.data))
    damaged = bytearray(honest.data)
    damaged[0] ^= 0xFF
    result = scan(tmp_path, extent(data(0), bytes(damaged)))

    assert forged.bundle_id not in found(result)
    assert found(result) == [BUNDLES[0].bundle_id]


def test_a_scan_begins_where_the_index_ends(tmp_path: Path) -> None:
    raw = extent(data(0), data(1))
    result = scan(tmp_path, raw, HEADER_SIZE_BYTES + len(data(0)))

    assert found(result) == [BUNDLES[1].bundle_id]


def test_a_footer_spares_reading_the_records(tmp_path: Path) -> None:
    raw = extent(data(0), data(1))
    table = b"".join(encode_row(row) for row in scan(tmp_path, raw).rows)
    sealed = raw + encode_footer(table, len(raw))
    result = scan(tmp_path, sealed)

    assert result.is_sealed
    assert result.end == len(sealed)
    assert found(result) == [BUNDLES[0].bundle_id, BUNDLES[1].bundle_id]
    assert found(scan(tmp_path, sealed, HEADER_SIZE_BYTES + 1)) == [BUNDLES[1].bundle_id]


def test_with_a_damaged_footer_the_records_are_read(tmp_path: Path) -> None:
    raw = extent(data(0), data(1))
    row = ExtentRow(BUNDLES[0].bundle_id, HEADER_SIZE_BYTES, len(data(0)), 1, 1)
    footer = bytearray(encode_footer(encode_row(row), len(raw)))
    footer[3] ^= 1
    result = scan(tmp_path, raw + bytes(footer))

    assert not result.is_sealed
    assert found(result) == [BUNDLES[0].bundle_id, BUNDLES[1].bundle_id]
    assert result.torn == len(footer)


def test_an_extent_whose_own_header_rotted_still_gives_its_records(tmp_path: Path) -> None:
    raw = bytearray(extent(data(0)))
    raw[20] ^= 1
    result = scan(tmp_path, bytes(raw))

    assert result.header is None
    assert found(result) == [BUNDLES[0].bundle_id]


def unreadable(monkeypatch: pytest.MonkeyPatch, start: int, end: int) -> None:
    """Let the disk fail to read these bytes, as ZFS does for a block that fails its checksum."""
    real = os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        if offset < end and offset + length > start:
            raise OSError(errno.EIO, "unreadable")
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", pread)


def test_bytes_that_cannot_be_read_hide_only_their_own_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = extent(data(0), data(1), data(2))
    second = HEADER_SIZE_BYTES + len(data(0))
    unreadable(monkeypatch, second + 150, second + 160)
    result = scan(tmp_path, raw)

    assert found(result) == [BUNDLES[0].bundle_id, BUNDLES[2].bundle_id]
    assert (result.is_unreadable, result.end) == (True, len(raw))


@pytest.mark.parametrize("at", [0, 150])
def test_bytes_that_cannot_be_read_are_no_torn_tail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Perhaps the disk reads them tomorrow."""
    last = HEADER_SIZE_BYTES + len(data(0))
    unreadable(monkeypatch, last + at, last + at + 10)
    result = scan(tmp_path, extent(data(0), data(1)))

    assert found(result) == [BUNDLES[0].bundle_id]
    assert result.is_unreadable


@pytest.mark.parametrize("from_end", [1, 40])
def test_with_a_footer_that_cannot_be_read_the_records_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_end: int
) -> None:
    raw = extent(data(0), data(1))
    table = b"".join(encode_row(row) for row in scan(tmp_path, raw).rows)
    sealed = raw + encode_footer(table, len(raw))
    unreadable(monkeypatch, len(sealed) - from_end, len(sealed) - from_end + 1)
    result = scan(tmp_path, sealed)

    assert found(result) == [BUNDLES[0].bundle_id, BUNDLES[1].bundle_id]
    assert (result.is_sealed, result.is_unreadable) == (False, True)


def test_another_error_of_the_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pread(*_: object) -> bytes:
        raise OSError(errno.ENXIO, "no device")

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(OSError, match="no device"):
        scan(tmp_path, extent(data(0)))


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatInvalid):
        scan(tmp_path, b"not ours" * 20)


def _bundle_with_content(content: bytes) -> IncomingBundle:
    view = BUNDLES[0].view
    entry = ChunkEntry(view.meta(view.chunk(0)), content)
    bundle_id = BundleId(b"h" * 16)
    encoded = encode_small(bundle_id, view.header.seal_id, 1, [entry])
    return received(bundle_id, b"".join(encoded.parts), encoded.crc)
