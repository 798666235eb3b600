"""Segments of the audit stream ⇄ bytes (docs/formats/archive.md). Pure.

A segment is gzip over lines of JSON: a header, then the line of each record (`record_lines`), from
which the bytes that the chain covers come back by cutting.
"""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fileflux.core.errors import EventInvalid
from fileflux.core.model import MIB
from fileflux.metadata.archive import Span
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.record_lines import decode_line, line_of

FORMAT: Final = "fileflux-audit-segment"
VERSION: Final = 1
SEGMENT_BYTES_MAX: Final = 256 * MIB
"""Unpacked. Ours have 8 MiB and one block; more would be a bomb, not a segment."""
LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of records without a gap. `chain_hash`: after the last one."""

    stream: str
    records: tuple[NumberedRecord, ...]
    chain_hash: bytes

    @property
    def span(self) -> Span:
        return Span(self.records[-1].position, self.records[0].position)


def segment_of(stream: str, records: Sequence[NumberedRecord]) -> Segment:
    """Return the segment of these records, at least one; raise EventInvalid if they are no run."""
    chain_hash = records[0].previous_hash
    for place, record in enumerate(records):
        if record.position != records[0].position + place or record.previous_hash != chain_hash:
            raise EventInvalid(f"position {record.position} does not continue the chain")
        chain_hash = record.chain_hash
    return Segment(stream, tuple(records), chain_hash)


def encode_segment(segment: Segment) -> bytes:
    """Return the bytes of a segment; the same ones for the same records and zlib."""
    body = b"".join(line_of(record) for record in segment.records)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "stream": segment.stream,
        "first_position": segment.span.first,
        "last_position": segment.span.last,
        "previous_hash": segment.records[0].previous_hash.hex(),
        "chain_hash": segment.chain_hash.hex(),
        "digest": hashlib.sha256(body).hexdigest(),
    }
    return gzip.compress(orjson.dumps(header) + b"\n" + body, LEVEL, mtime=0)


def decode_segment(raw: bytes) -> Segment:
    """Return a segment; raise EventInvalid unless it is whole, unchanged and of our version."""
    head, _, body = unpacked(raw).partition(b"\n")
    try:
        header = orjson.loads(head)
        if (header["format"], header["version"]) != (FORMAT, VERSION):
            raise EventInvalid("not an audit segment of a version we know")
        _check_digest(header, body)
        segment = segment_of(header["stream"], _records_of(body))
        if _numbers_of(header) != (segment.span, segment.chain_hash):
            raise EventInvalid("the segment's header names other records")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise EventInvalid(f"not an audit segment: {error!r}") from error
    return segment


def _records_of(body: bytes) -> list[NumberedRecord]:
    return [decode_line(line) for line in body.removesuffix(b"\n").split(b"\n")]


def _numbers_of(header: dict[str, Any]) -> tuple[Span, bytes]:
    span = Span(header["last_position"], header["first_position"])
    return span, bytes.fromhex(header["chain_hash"])


def _check_digest(header: dict[str, Any], body: bytes) -> None:
    if hashlib.sha256(body).hexdigest() != header["digest"]:
        raise EventInvalid("the segment's records have another digest than its header says")


def unpacked(raw: bytes) -> bytes:
    """Return what gzip packed, SEGMENT_BYTES_MAX at most; raise EventInvalid."""
    unpacking = zlib.decompressobj(wbits=31)
    try:
        data = unpacking.decompress(raw, SEGMENT_BYTES_MAX)
    except zlib.error as error:
        raise EventInvalid(f"not an audit segment: {error}") from error
    if not unpacking.eof or unpacking.unused_data:
        raise EventInvalid("the segment is cut, too large, or followed by something else")
    return data
