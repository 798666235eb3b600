"""The bytes of an extent file around its bundles: header and footer. Pure.

`docs/formats/extent.md` has the layout. The records between are bundles, byte for byte.
"""

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.bundle_records import HEADER_SIZE_BYTES as BUNDLE_HEADER_SIZE_BYTES
from fileflux.core.checksum import Buffer, crc32c
from fileflux.core.errors import ExtentCorrupt, FormatInvalid
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.model import GIB

EXTENT_MAGIC: Final = b"FFX1"
FOOTER_MAGIC: Final = b"FFXE"
VERSION: Final = 1
HEADER_SIZE_BYTES: Final = 64
ROW_SIZE_BYTES: Final = 36
TRAILER_SIZE_BYTES: Final = 32
EXTENT_SIZE_MAX: Final = GIB
"""A file that would grow beyond it is sealed first."""
ROW_COUNT_MAX: Final = EXTENT_SIZE_MAX // BUNDLE_HEADER_SIZE_BYTES

_HEADER: Final = struct.Struct(">4sB3sQ16sQQ12s")
_ROW: Final = struct.Struct(">16sQIII")
_TRAILER: Final = struct.Struct(">4sB3sIQII")
_U32: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtentHeader:
    """Whose file it is."""

    number: int
    node_id: NodeId
    epoch: int
    created_us: int


@dataclass(frozen=True, slots=True)
class ExtentRow:
    """Where a bundle lies in its extent, and what its seal said of it."""

    bundle_id: BundleId
    offset: int
    length: int
    sealed_size: int
    sealed_crc: int


@dataclass(frozen=True, slots=True)
class Trailer:
    """The last 32 bytes of a sealed extent."""

    row_count: int
    rows_offset: int
    rows_crc: int


def encode_header(header: ExtentHeader) -> bytes:
    start = _HEADER.pack(
        EXTENT_MAGIC,
        VERSION,
        bytes(3),
        header.number,
        uuid.UUID(header.node_id).bytes,
        header.epoch,
        header.created_us,
        bytes(12),
    )
    return start + _U32.pack(crc32c(start))


def parse_extent_header(raw: Buffer) -> ExtentHeader:
    """Return whose file starts with these 64 bytes; raise FormatInvalid or ExtentCorrupt."""
    if len(raw) < HEADER_SIZE_BYTES or bytes(raw[:4]) != EXTENT_MAGIC:
        raise FormatInvalid("no extent starts here")
    if _U32.unpack_from(raw, _HEADER.size)[0] != crc32c(memoryview(raw)[: _HEADER.size]):
        raise ExtentCorrupt("an extent's header fails its CRC")
    _, version, _, number, node, epoch, created_us, _ = _HEADER.unpack_from(raw)
    if version != VERSION:
        raise FormatInvalid("an extent of a version that we do not know")
    node_id = NodeId(str(uuid.UUID(bytes=node)))
    return ExtentHeader(number=number, node_id=node_id, epoch=epoch, created_us=created_us)


def encode_row(row: ExtentRow) -> bytes:
    return _ROW.pack(row.bundle_id, row.offset, row.length, row.sealed_size, row.sealed_crc)


def encode_footer(table: Buffer, rows_offset: int) -> bytes:
    """Return what seals an extent with these encoded rows, whose last record ends there."""
    start = _TRAILER.pack(
        FOOTER_MAGIC,
        VERSION,
        bytes(3),
        len(table) // ROW_SIZE_BYTES,
        rows_offset,
        0,
        crc32c(table),
    )
    return bytes(table) + start + _U32.pack(crc32c(start))


def parse_trailer(raw: Buffer, file_size: int) -> Trailer | None:
    """Return what the last 32 bytes of a file say; None when they do not seal it."""
    if len(raw) != TRAILER_SIZE_BYTES or bytes(raw[:4]) != FOOTER_MAGIC:
        return None
    if _U32.unpack_from(raw, _TRAILER.size)[0] != crc32c(memoryview(raw)[: _TRAILER.size]):
        return None
    _, version, _, row_count, rows_offset, _, rows_crc = _TRAILER.unpack_from(raw)
    ends_at = rows_offset + row_count * ROW_SIZE_BYTES + TRAILER_SIZE_BYTES
    if version != VERSION or row_count > ROW_COUNT_MAX or ends_at != file_size:
        return None
    return Trailer(row_count, rows_offset, rows_crc)


def parse_rows(raw: Buffer, trailer: Trailer) -> Sequence[ExtentRow]:
    """Return the footer's rows; raise ExtentCorrupt when they fail their CRC or overlap."""
    if len(raw) != trailer.row_count * ROW_SIZE_BYTES or crc32c(raw) != trailer.rows_crc:
        raise ExtentCorrupt("an extent's footer fails its CRC")
    rows = [ExtentRow(BundleId(row[0]), *row[1:]) for row in _ROW.iter_unpack(raw)]
    end = HEADER_SIZE_BYTES
    for row in rows:
        if row.offset < end or row.length <= BUNDLE_HEADER_SIZE_BYTES:
            raise ExtentCorrupt("an extent's footer contradicts itself")
        end = row.offset + row.length
    if end > trailer.rows_offset:
        raise ExtentCorrupt("an extent's footer names more than there is")
    return rows
