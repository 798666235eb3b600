"""The bytes of a bundle: staging file, wire and extent record alike. Pure.

`docs/formats/bundle.md` has the layout and its reasons. This module writes bundles and knows the
header, `bundle_meta` what they say of their chunks; `bundle_view` reads and verifies them.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgpack

from fileflux.core.bundle_meta import encode_meta, meta_values
from fileflux.core.bundle_records import (
    BLOCK_COUNT_MAX,
    BUNDLE_SIZE_MAX,
    CHUNK_COUNT_MAX,
    DATA_BYTES_MAX,
    FLAG_LAST_CHUNK,
    FLAG_SPARSE,
    HEADER_SIZE_BYTES,
    META_BYTES_MAX,
    BundleHeader,
    ChunkEntry,
    ChunkMeta,
    EncodedBundle,
    RawChunk,
)
from fileflux.core.checksum import Buffer, crc32c
from fileflux.core.errors import BundleCorrupt, FormatInvalid
from fileflux.core.ids import BundleId, SealId
from fileflux.core.model import BLOCK_SIZE_BYTES, SizeClass

MAGIC: Final = b"FFB1"
VERSION: Final = 1
PLACEHOLDER: Final = bytes(HEADER_SIZE_BYTES)
"""Stands where the header will be until a large chunk has arrived: no bundle begins like this."""

_HEADER: Final = struct.Struct(">4sBBH16s16sQQIIIIQI")
_CRCS: Final = struct.Struct(">II")
_ENTRY: Final = struct.Struct(">IIQIIII")
_U32: Final = struct.Struct(">I")


# --- writing ----------------------------------------------------------------------------------


def encode_small(
    bundle_id: BundleId, seal_id: SealId, created_us: int, entries: Sequence[ChunkEntry]
) -> EncodedBundle:
    """Return the bundle of these small objects; entry n becomes chunk n. No data is copied."""
    pack = msgpack.Packer().pack
    chunks = [
        RawChunk(
            number,
            FLAG_LAST_CHUNK if entry.meta.record is not None else 0,
            entry.data,
            _block_crcs(entry.data),
            pack(meta_values(entry.meta)),
        )
        for number, entry in enumerate(entries)
    ]
    return _assemble(_header_for(bundle_id, seal_id, SizeClass.SMALL, created_us, chunks), chunks)


def encode_sparse(original: BundleHeader, kept: Sequence[RawChunk]) -> EncodedBundle:
    """Return the record that keeps only these chunks of a bundle, in ascending order.

    Their CRCs and meta are those of the original, taken over, never computed again: a rotten
    block must stay visible.
    """
    fresh = _header_for(
        original.bundle_id, original.seal_id, original.size_class, original.created_us, kept
    )
    size, crc = original.sealed
    return _assemble(replace(fresh, is_sparse=True, sealed_size=size, sealed_crc=crc), kept)


@dataclass(frozen=True, slots=True)
class FinishedLargeBundle:
    """`tail` follows the data, `header` goes to offset 0."""

    header: bytes
    tail: bytes
    size: int
    crc: int


class LargeBundleWriter:
    """One large chunk that streams into its file. Pure: the caller writes what it is given.

    Write `PLACEHOLDER`, then each piece after `update(piece)`, then the tail that `finish` returns,
    and its header over the placeholder. Any split of the pieces gives the same bundle.
    """

    def __init__(self, bundle_id: BundleId, seal_id: SealId) -> None:
        self._bundle_id = bundle_id
        self._seal_id = seal_id
        self._length = 0
        self._block_crc = 0
        self._crcs = bytearray()

    @property
    def length(self) -> int:
        """Bytes of the chunk so far."""
        return self._length

    def update(self, piece: Buffer) -> None:
        """Take the chunk's next bytes into account."""
        assert self._length + len(piece) <= DATA_BYTES_MAX, "a chunk has a limit"
        view = memoryview(piece)
        while view:
            filled = self._length % BLOCK_SIZE_BYTES
            step = min(len(view), BLOCK_SIZE_BYTES - filled)
            self._block_crc = crc32c(view[:step], self._block_crc)
            self._length += step
            view = view[step:]
            if filled + step == BLOCK_SIZE_BYTES:
                self._end_block()

    def finish(self, meta: ChunkMeta, created_us: int) -> FinishedLargeBundle:
        """Return tail and header. The chunk has at least one byte; `created_us`: it is now.

        Not when it began: by this time a salvage tells which of two uploads came last.
        """
        if self._length % BLOCK_SIZE_BYTES:
            self._end_block()
        flags = FLAG_LAST_CHUNK if meta.record is not None else 0
        crcs, raw_meta = bytes(self._crcs), encode_meta(meta)
        header = BundleHeader(
            bundle_id=self._bundle_id,
            seal_id=self._seal_id,
            size_class=SizeClass.LARGE,
            created_us=created_us,
            data_length=self._length,
            chunk_count=1,
            block_count=len(crcs) // _U32.size,
            meta_length=len(raw_meta),
        )
        table = _ENTRY.pack(0, flags, 0, self._length, 0, 0, len(raw_meta))
        sealed, header_bytes, tail = _seal(header, crcs + table, raw_meta)
        return FinishedLargeBundle(header_bytes, tail, sealed.size, sealed.crc)

    def _end_block(self) -> None:
        self._crcs += _U32.pack(self._block_crc)
        self._block_crc = 0


def _block_crcs(data: Buffer) -> bytes:
    if len(data) <= BLOCK_SIZE_BYTES:
        return _U32.pack(crc32c(data))
    view = memoryview(data)
    starts = range(0, len(view), BLOCK_SIZE_BYTES)
    return b"".join(_U32.pack(crc32c(view[at : at + BLOCK_SIZE_BYTES])) for at in starts)


def _header_for(
    bundle_id: BundleId,
    seal_id: SealId,
    size_class: SizeClass,
    created_us: int,
    chunks: Sequence[RawChunk],
) -> BundleHeader:
    return BundleHeader(
        bundle_id=bundle_id,
        seal_id=seal_id,
        size_class=size_class,
        created_us=created_us,
        data_length=sum(len(chunk.data) for chunk in chunks),
        chunk_count=len(chunks),
        block_count=sum(len(chunk.crcs) for chunk in chunks) // _U32.size,
        meta_length=sum(len(chunk.meta) for chunk in chunks),
    )


def _assemble(header: BundleHeader, chunks: Sequence[RawChunk]) -> EncodedBundle:
    entries = []
    data_at = block_at = meta_at = 0
    for chunk in chunks:
        length, meta_length = len(chunk.data), len(chunk.meta)
        assert length, "a chunk has at least one byte"
        entries.append(
            _ENTRY.pack(chunk.number, chunk.flags, data_at, length, block_at, meta_at, meta_length)
        )
        data_at += length
        block_at += len(chunk.crcs) // _U32.size
        meta_at += meta_length
    tables = b"".join([*(chunk.crcs for chunk in chunks), *entries])
    meta = b"".join([chunk.meta for chunk in chunks])
    sealed, header_bytes, tail = _seal(header, tables, meta)
    return EncodedBundle(
        [header_bytes, *(chunk.data for chunk in chunks), tail], sealed.size, sealed.crc
    )


def _seal(header: BundleHeader, tables: bytes, meta: bytes) -> tuple[BundleHeader, bytes, bytes]:
    """Return the header with its CRCs, its bytes, and the tail."""
    check_limits(header)
    start = header_start(header)
    tail = tables + meta
    sealed = replace(header, tables_crc=crc32c(tables), crc=crc32c(tail, crc32c(start)))
    trusted = start + _CRCS.pack(sealed.tables_crc, sealed.crc)
    return sealed, trusted + _U32.pack(crc32c(trusted)), tail


# --- the header -------------------------------------------------------------------------------


def parse_header(raw: Buffer) -> BundleHeader:
    """Return what the first 96 bytes say, once they can be believed.

    Raise FormatInvalid when no bundle starts here, BundleCorrupt when its header is damaged or
    cut off.
    """
    if len(raw) < HEADER_SIZE_BYTES:
        raise BundleCorrupt("a bundle ends inside its header")
    magic, version, size_class, flags, *_ = fields = _HEADER.unpack_from(raw)
    if magic != MAGIC:
        raise FormatInvalid("no bundle starts here")
    (header_crc,) = _U32.unpack_from(raw, 92)
    if crc32c(memoryview(raw)[:92]) != header_crc:
        raise BundleCorrupt("a bundle's header fails its CRC")
    if version != VERSION or flags & ~FLAG_SPARSE or size_class > SizeClass.LARGE or fields[-1]:
        raise FormatInvalid("a bundle of a version that we do not know")
    header = _header_of(fields, *_CRCS.unpack_from(raw, _HEADER.size))
    check_limits(header)
    return header


def _header_of(fields: Sequence[Any], tables_crc: int, crc: int) -> BundleHeader:
    return BundleHeader(
        bundle_id=BundleId(fields[4]),
        seal_id=SealId(fields[5]),
        size_class=SizeClass(fields[2]),
        created_us=fields[6],
        data_length=fields[7],
        chunk_count=fields[8],
        block_count=fields[9],
        meta_length=fields[10],
        sealed_crc=fields[11],
        sealed_size=fields[12],
        is_sparse=bool(fields[3] & FLAG_SPARSE),
        tables_crc=tables_crc,
        crc=crc,
    )


def check_limits(header: BundleHeader) -> None:
    """Raise FormatInvalid for lengths that no bundle has: before anything is allocated by them."""
    within = (
        1 <= header.data_length <= DATA_BYTES_MAX
        and 1 <= header.chunk_count <= CHUNK_COUNT_MAX
        and header.chunk_count <= header.block_count <= BLOCK_COUNT_MAX
        and header.meta_length <= META_BYTES_MAX
        and (header.size_class is SizeClass.SMALL or header.chunk_count == 1)
        and header.sealed_size <= BUNDLE_SIZE_MAX
        and (header.is_sparse or not (header.sealed_crc or header.sealed_size))
    )
    if not within:
        raise FormatInvalid("a bundle's lengths are over their limits")


def header_start(header: BundleHeader) -> bytes:
    """Return the 84 bytes that the bundle's crc begins with."""
    return _HEADER.pack(
        MAGIC,
        VERSION,
        header.size_class,
        FLAG_SPARSE if header.is_sparse else 0,
        header.bundle_id,
        header.seal_id,
        header.created_us,
        header.data_length,
        header.chunk_count,
        header.block_count,
        header.meta_length,
        header.sealed_crc,
        header.sealed_size,
        0,
    )
