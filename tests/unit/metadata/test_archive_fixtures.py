"""Segments and checkpoints that were written once are read for ever (`docs/formats/archive.md`)."""

import gzip
import runpy
from pathlib import Path
from typing import Final

import pytest

from fileflux.core.errors import EventInvalid
from fileflux.metadata.archive import Span, span_of
from fileflux.metadata.archive_format import (
    decode_segment,
    encode_segment,
    segment_of,
)
from fileflux.metadata.chain import NumberedRecord, block_of, unpack_block
from fileflux.metadata.checkpoint import decode_checkpoints, encode_checkpoint
from fileflux.metadata.ports import AuditBlock
from fileflux.metadata.record_lines import line_of

ROOT: Final = Path(__file__).parents[3]
FIXTURES: Final = ROOT / "tests/fixtures"
SEGMENT: Final = FIXTURES / "archive_v1_segment.jsonl.gz"
CHECKPOINTS: Final = FIXTURES / "archive_v1_checkpoints.jsonl"
KEY: Final = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
"""Of the private key 00 01 02 … 1f."""
CHAIN_HASH: Final = bytes.fromhex(
    "5c7fcaa96b7f88f228a6e6ab85901b2e1f8d2ff9033b782e00e8a6dae4b5b814"
)


def records() -> list[NumberedRecord]:
    """Return the records of the block that the segment was made of."""
    payload = (FIXTURES / "audit_v1_block.bin").read_bytes()
    return unpack_block(AuditBlock("main", 1, 17, payload, CHAIN_HASH))


def test_a_segment_of_version_1_has_its_records_byte_for_byte() -> None:
    segment = decode_segment(SEGMENT.read_bytes())

    assert list(segment.records) == records()
    assert (segment.stream, segment.chain_hash, segment.span) == ("main", CHAIN_HASH, Span(17, 1))
    assert unpack_block(block_of(segment.stream, segment.records)) == records()


def test_a_segment_is_written_as_version_1_was() -> None:
    """gzip's own bytes may differ with its library; what they hold may not."""
    written = encode_segment(segment_of("main", records()))

    assert gzip.decompress(written) == gzip.decompress(SEGMENT.read_bytes())


def test_checkpoints_of_version_1_are_signed_and_in_a_row() -> None:
    first, second = decode_checkpoints(CHECKPOINTS.read_bytes())

    assert first.is_signed
    assert second.is_signed
    assert (first.number, first.position, first.previous) == (1, 10, bytes(32))
    assert (second.number, second.position, second.previous) == (2, 17, first.digest)
    assert (second.chain_hash, second.public_key.hex()) == (CHAIN_HASH, KEY)
    lines = [encode_checkpoint(one) + b"\n" for one in (first, second)]
    assert b"".join(lines) == CHECKPOINTS.read_bytes()


def test_what_is_signed_is_the_text_that_the_format_says() -> None:
    _, second = decode_checkpoints(CHECKPOINTS.read_bytes())

    assert second.text.decode().splitlines() == [
        "fileflux audit checkpoint v1",
        "main",
        "2",
        "17",
        CHAIN_HASH.hex(),
        "2026-11-30T17:01:00.000000Z",
        second.previous.hex(),
        KEY,
    ]


def test_the_verifier_of_one_file_finds_version_1_whole() -> None:
    verify = runpy.run_path(str(ROOT / "examples/verify_audit.py"))["verify"]

    assert verify([SEGMENT, CHECKPOINTS], {KEY})["whole"]


def test_names_tell_what_is_inside() -> None:
    name = Span(17, 1).name("main", "segments")

    assert name == ("main/segments/upto-00000000000000000017-from-00000000000000000001.jsonl.gz")
    assert span_of(name) == Span(17, 1)
    assert [span_of(other) for other in ("main/segments/x", name + ".part", "upto-1-from-1")] == [
        None
    ] * 3


@pytest.mark.parametrize("kept", [0, 1, 9, 10, 200])
def test_a_segment_that_was_cut_is_refused(kept: int) -> None:
    with pytest.raises(EventInvalid):
        decode_segment(SEGMENT.read_bytes()[:kept])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1,"stream"', b'"version":2,"stream"'),
        (b'"last_position":17', b'"last_position":16'),
        (b'"first_position":1', b'"first_position":2'),
        (b'"chain_hash":"5c', b'"chain_hash":"5d'),
        (b'"digest":"', b'"digest":"0'),
        (b'"operation":"CreateUser"', b'"operation":"CreateOser"'),
        (b'{"position":"00000000000000000017"', b'{"position":"00000000000000000018"'),
        (b'{"format":"fileflux-audit-segment",', b"{"),
    ],
    ids=lambda value: value.decode()[:24],
)
def test_a_segment_of_which_anything_was_changed_is_refused(old: bytes, new: bytes) -> None:
    lines = gzip.decompress(SEGMENT.read_bytes())
    assert lines.count(old) == 1

    with pytest.raises(EventInvalid):
        decode_segment(gzip.compress(lines.replace(old, new)))


def test_what_follows_a_segment_or_is_endless_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EventInvalid, match="followed by something"):
        decode_segment(SEGMENT.read_bytes() + b"more")
    monkeypatch.setattr("fileflux.metadata.archive_format.SEGMENT_BYTES_MAX", 1_000)
    with pytest.raises(EventInvalid, match="too large"):
        decode_segment(SEGMENT.read_bytes())


def test_records_that_are_no_run_make_no_segment() -> None:
    found = records()

    with pytest.raises(EventInvalid, match="position 3 does not continue"):
        segment_of("main", [*found[:1], *found[2:]])
    assert line_of(found[0]).startswith(b'{"position":"00000000000000000001","stream":"')
