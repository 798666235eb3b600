"""Read and verify a bundle: from a file, from memory, or while it arrives. Pure.

A view holds the tables of one bundle, verified. It finds a chunk without touching the others and
hands out the CRCs that travel with its blocks to the reader, who verifies them again.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from fileflux.core.bundle_format import header_start, parse_header
from fileflux.core.bundle_meta import decode_meta
from fileflux.core.bundle_records import (
    BUNDLE_SIZE_MAX,
    CRC_SIZE_BYTES,
    ENTRY_SIZE_BYTES,
    FLAG_LAST_CHUNK,
    HEADER_SIZE_BYTES,
    BundleHeader,
    ChunkMeta,
    RawChunk,
)
from fileflux.core.checksum import Buffer, crc32c
from fileflux.core.errors import BundleCorrupt, ChunkCorrupt, FormatInvalid, NoSuchBundle
from fileflux.core.ids import BundleId
from fileflux.core.model import BLOCK_SIZE_BYTES

ReadAt = Callable[[int, int], Buffer]
"""(offset in the bundle, length) → the bytes there; fewer only at the bundle's end."""

_ENTRY: Final = struct.Struct(">IIQIIII")
_U32: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where a chunk lies. `offset` counts from the first byte of the bundle."""

    number: int
    flags: int
    offset: int
    length: int
    first_block: int
    meta_offset: int
    meta_length: int

    @property
    def is_last(self) -> bool:
        """Whether its meta carries the record of its upload."""
        return bool(self.flags & FLAG_LAST_CHUNK)

    @property
    def block_count(self) -> int:
        return blocks_of(self.length)


def blocks_of(length: int) -> int:
    """Return how many blocks a chunk of this length has."""
    return -(-length // BLOCK_SIZE_BYTES)


class BundleIndexView:
    """The tables of one bundle. Made by `parse_index` only, so they are consistent."""

    __slots__ = ("_crcs", "_entries", "_meta", "_rows", "header")

    def __init__(self, header: BundleHeader, tables: bytes, meta: bytes | None) -> None:
        crcs_length = CRC_SIZE_BYTES * header.block_count
        self.header = header
        self._crcs = tables[:crcs_length]
        self._entries = tables[crcs_length:]
        self._meta = meta
        self._rows = (
            {entry[0]: row for row, entry in enumerate(_ENTRY.iter_unpack(self._entries))}
            if header.is_sparse
            else None
        )

    @property
    def memory_bytes(self) -> int:
        """What a cache should count for it."""
        return len(self._crcs) + len(self._entries) + len(self._meta or b"") + 512

    def chunk(self, number: int) -> ChunkPlace:
        """Return where chunk `number` lies; raise NoSuchBundle when this record has none."""
        row = number if self._rows is None else self._rows.get(number, -1)
        if not 0 <= row < self.header.chunk_count:
            raise NoSuchBundle(f"bundle {self.header.bundle_id.hex()} has no chunk {number}")
        return _place(_ENTRY.unpack_from(self._entries, row * ENTRY_SIZE_BYTES))

    def chunks(self) -> Iterator[ChunkPlace]:
        """Yield all chunks, by number."""
        return (_place(entry) for entry in _ENTRY.iter_unpack(self._entries))

    def block_crcs(self, place: ChunkPlace, first: int, count: int) -> bytes:
        """Return the big-endian CRC32Cs of `count` blocks of a chunk, from block `first` on."""
        at = CRC_SIZE_BYTES * (place.first_block + first)
        return self._crcs[at : at + CRC_SIZE_BYTES * count]

    def meta(self, place: ChunkPlace) -> ChunkMeta:
        """Return whose bytes the chunk holds. Only in a view that was made with its meta."""
        return decode_meta(self.raw_meta(place))

    def raw_meta(self, place: ChunkPlace) -> bytes:
        assert self._meta is not None, "this view was made without the meta"
        return self._meta[place.meta_offset : place.meta_offset + place.meta_length]

    def raw_chunk(self, place: ChunkPlace, data: Buffer) -> RawChunk:
        """Return the chunk with its own CRCs and meta, for a sparse record."""
        crcs = self.block_crcs(place, 0, place.block_count)
        return RawChunk(place.number, place.flags, data, crcs, self.raw_meta(place))

    def without_meta(self) -> "BundleIndexView":
        """Return a view for a cache: the meta is the largest part, and reading needs none."""
        return BundleIndexView(self.header, self._crcs + self._entries, None)

    def verify_blocks(self, place: ChunkPlace, first: int, data: Buffer) -> None:
        """Raise ChunkCorrupt unless `data` is right, which begins at block `first` of the chunk."""
        crcs = self.block_crcs(place, first, blocks_of(len(data)))
        verify_blocks(data, crcs, f"bundle {self.header.bundle_id.hex()} chunk {place.number}")


def verify_blocks(data: Buffer, crcs: Buffer, what: str) -> None:
    """Raise ChunkCorrupt unless each block of `data` has its big-endian CRC32C in `crcs`."""
    if len(crcs) != CRC_SIZE_BYTES * blocks_of(len(data)):
        raise ChunkCorrupt(f"{what}: not as many checksums as blocks")
    view = memoryview(data)
    for number, (crc,) in enumerate(_U32.iter_unpack(crcs)):
        at = number * BLOCK_SIZE_BYTES
        if crc32c(view[at : at + BLOCK_SIZE_BYTES]) != crc:
            raise ChunkCorrupt(f"{what}: a block at {at} fails its CRC")


def parse_index(
    header: BundleHeader, tables: Buffer, meta: Buffer | None = None
) -> BundleIndexView:
    """Return the verified tables; with `meta` also compare the bundle's own crc.

    Raise BundleCorrupt when a CRC fails, FormatInvalid when the tables contradict the header.
    """
    if len(tables) != header.tables_length or crc32c(tables) != header.tables_crc:
        raise BundleCorrupt(f"bundle {header.bundle_id.hex()}: its tables fail their CRC")
    if meta is not None and not _crc_fits(header, tables, meta):
        raise BundleCorrupt(f"bundle {header.bundle_id.hex()}: its index fails its CRC")
    view = BundleIndexView(header, bytes(tables), None if meta is None else bytes(meta))
    _check_entries(view)
    return view


def _crc_fits(header: BundleHeader, tables: Buffer, meta: Buffer) -> bool:
    if len(meta) != header.meta_length:
        return False
    return crc32c(meta, crc32c(tables, crc32c(header_start(header)))) == header.crc


def _check_entries(view: BundleIndexView) -> None:
    """No gaps, no overlaps, nothing beyond the end: each entry follows from those before it."""
    header = view.header
    data_at, block_at, meta_at, number_min = HEADER_SIZE_BYTES, 0, 0, 0
    for place in view.chunks():
        is_next = place.number >= number_min if header.is_sparse else place.number == number_min
        follows = (place.offset, place.first_block, place.meta_offset)
        if not is_next or not place.length or follows != (data_at, block_at, meta_at):
            raise FormatInvalid(f"bundle {header.bundle_id.hex()}: its chunk table has gaps")
        number_min = place.number + 1
        data_at += place.length
        block_at += place.block_count
        meta_at += place.meta_length
    ends = (header.tables_offset, header.block_count, header.meta_length)
    if (data_at, block_at, meta_at) != ends:
        raise FormatInvalid(f"bundle {header.bundle_id.hex()}: its chunks do not fill it")


def _place(entry: tuple[int, ...]) -> ChunkPlace:
    number, flags, offset, length, first_block, meta_offset, meta_length = entry
    return ChunkPlace(
        number,
        flags,
        HEADER_SIZE_BYTES + offset,
        length,
        first_block,
        meta_offset,
        meta_length,
    )


def read_index(read_at: ReadAt, *, with_meta: bool = False) -> BundleIndexView:
    """Return the view of a bundle in a file. Two reads; memory bounded by the format's limits."""
    header = parse_header(read_at(0, HEADER_SIZE_BYTES))
    length = header.tables_length + (header.meta_length if with_meta else 0)
    tail = memoryview(read_at(header.tables_offset, length))
    if len(tail) != length:
        raise BundleCorrupt(f"bundle {header.bundle_id.hex()} ends early")
    tables = tail[: header.tables_length]
    return parse_index(header, tables, tail[header.tables_length :] if with_meta else None)


def check_bundle(read_at: ReadAt) -> BundleIndexView:
    """Verify every byte of a bundle; return its view, with the meta. Holds one block at a time."""
    view = read_index(read_at, with_meta=True)
    for place in view.chunks():
        for first in range(place.block_count):
            start = first * BLOCK_SIZE_BYTES
            length = min(BLOCK_SIZE_BYTES, place.length - start)
            block = read_at(place.offset + start, length)
            if len(block) != length:
                raise BundleCorrupt(f"bundle {view.header.bundle_id.hex()} ends early")
            view.verify_blocks(place, first, block)
    return view


def memory_reader(raw: Buffer) -> ReadAt:
    """Return a reader of a bundle that is in memory."""
    view = memoryview(raw)
    return lambda at, length: view[at : at + length]


class BundleReceiver:
    """A bundle while it arrives, in pieces of any size, into one buffer of its announced size.

    The buffer is what the appender will write, so nothing is copied twice. It is allocated for
    what was announced, never more, whatever arrives; a foreign or longer bundle is refused at once.
    `size` and `crc` are those of the seal; a peer may send a sparse record, which is shorter.
    """

    def __init__(self, bundle_id: BundleId, size: int, crc: int) -> None:
        self._bundle_id = bundle_id
        self._sealed = (size, crc)
        self._buffer = bytearray()
        self._filled = 0

    def begin(self, length: int) -> memoryview:
        """Return memory for exactly `length` bytes, forgetting an earlier attempt.

        Raise FormatInvalid when no bundle has that length, BundleCorrupt when this one has not.
        """
        if not HEADER_SIZE_BYTES < length <= BUNDLE_SIZE_MAX:
            raise FormatInvalid(f"no bundle has {length} bytes")
        if length > self._sealed[0]:
            raise BundleCorrupt(f"bundle {self._bundle_id.hex()} is longer than it was sealed")
        self._buffer = bytearray(length)
        self._filled = 0
        return memoryview(self._buffer)

    def arrived(self, count: int) -> None:
        """The next `count` bytes are in the memory; raise as soon as they are wrong."""
        start = self._filled
        self._filled += count
        if start < HEADER_SIZE_BYTES <= self._filled:
            self._check(parse_header(memoryview(self._buffer)[:HEADER_SIZE_BYTES]))

    def finish(self) -> tuple[bytearray, BundleIndexView]:
        """Return the whole bundle once every byte of it is verified."""
        if not self._buffer or self._filled != len(self._buffer):
            raise BundleCorrupt(f"bundle {self._bundle_id.hex()} ends early")
        return self._buffer, check_bundle(memory_reader(self._buffer))

    def _check(self, header: BundleHeader) -> None:
        if header.bundle_id != self._bundle_id or header.sealed != self._sealed:
            raise BundleCorrupt(f"bundle {self._bundle_id.hex()}: another one arrives")
        if header.size != len(self._buffer):
            raise BundleCorrupt(f"bundle {self._bundle_id.hex()} has another size than announced")
