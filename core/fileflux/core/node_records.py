"""What a node holds, as its bundles' records tell it: pages of bundles without data. Pure.

For `fileflux salvage`, when nobody else remembers. A page is records one behind the other, by id:

    16  bundle id
     1  state: 0 held, 1 it cannot be read
     4  length (big endian) of what follows: header, tables and meta of the bundle; 0 if unreadable

The reader verifies each record by its own CRC, whoever sent it.
"""

import struct
from dataclasses import dataclass
from typing import Final

from fileflux.core.bundle_format import parse_header
from fileflux.core.bundle_records import (
    HEADER_SIZE_BYTES,
    META_BYTES_MAX,
    TABLES_BYTES_MAX,
    BundleHeader,
)
from fileflux.core.bundle_view import BundleIndexView, parse_index
from fileflux.core.checksum import Buffer
from fileflux.core.errors import BundleCorrupt, Corrupt, FormatInvalid
from fileflux.core.ids import ID_SIZE_BYTES, BundleId
from fileflux.core.model import MIB

RECORDS_PAGE_MAX: Final = 1_000
RECORDS_PAGE_BYTES: Final = 2 * MIB
"""A node ends a page with the record that passes it."""
RECORD_BYTES_MAX: Final = HEADER_SIZE_BYTES + TABLES_BYTES_MAX + META_BYTES_MAX
PAGE_BYTES_MAX: Final = RECORDS_PAGE_BYTES + RECORD_BYTES_MAX + MIB

HELD: Final = 0
UNREADABLE: Final = 1
_FRAME: Final = struct.Struct(f">{ID_SIZE_BYTES}sBI")


@dataclass(frozen=True, slots=True)
class HeldBundle:
    """A bundle that a node holds. `index` None: `problem` says why it cannot be read.

    `rotten`: chunks whose data fails its checksums, if somebody looked.
    """

    bundle_id: BundleId
    index: BundleIndexView | None
    problem: str = ""
    rotten: frozenset[int] = frozenset()


def encode_record(bundle_id: BundleId, record: bytes | None) -> bytes:
    """Return one entry of a page. `record`: header, tables and meta; None: unreadable."""
    if record is None:
        return _FRAME.pack(bundle_id, UNREADABLE, 0)
    return _FRAME.pack(bundle_id, HELD, len(record)) + record


def decode_records(raw: bytes | bytearray) -> list[HeldBundle]:
    """Return a page; what is damaged inside a record is told with it.

    Raise FormatInvalid when it is no page.
    """
    view = memoryview(raw)
    found, at = [], 0
    while at < len(view):
        if at + _FRAME.size > len(view):
            raise FormatInvalid("a page of records ends inside a frame")
        bundle_id, state, length = _FRAME.unpack_from(view, at)
        at += _FRAME.size
        if state > UNREADABLE or at + length > len(view) or length > RECORD_BYTES_MAX:
            raise FormatInvalid("not a page of records")
        found.append(_held(BundleId(bundle_id), view[at : at + length]))
        at += length
    return found


def _held(bundle_id: BundleId, record: memoryview) -> HeldBundle:
    if not record:
        return HeldBundle(bundle_id, None, "the node cannot read it")
    try:
        index = parse_record(record)
    except (Corrupt, FormatInvalid) as error:
        return HeldBundle(bundle_id, None, str(error))
    if index.header.bundle_id != bundle_id:
        return HeldBundle(bundle_id, None, "the node sent another bundle")
    return HeldBundle(bundle_id, index)


def parse_record(record: Buffer) -> BundleIndexView:
    """Return the verified index of header, tables and meta; raise Corrupt or FormatInvalid."""
    header = parse_header(record)
    meta_at = HEADER_SIZE_BYTES + header.tables_length
    view = memoryview(record)
    if len(view) != record_length(header):
        raise BundleCorrupt(f"bundle {header.bundle_id.hex()}: its record has another length")
    return parse_index(header, view[HEADER_SIZE_BYTES:meta_at], view[meta_at:])


def record_length(header: BundleHeader) -> int:
    """Return how many bytes a bundle's record has: all but its data."""
    return HEADER_SIZE_BYTES + header.tables_length + header.meta_length
