"""What a bundle says about its chunks, and how large a bundle may be. `docs/formats/bundle.md`."""

from dataclasses import dataclass
from typing import Final

from fileflux.core.checksum import Buffer
from fileflux.core.ids import BucketId, BundleId, SealId, UploadId
from fileflux.core.model import (
    BLOCK_SIZE_BYTES,
    MIB,
    Manifest,
    ObjectMeta,
    SizeClass,
    WriteConditions,
)

HEADER_SIZE_BYTES: Final = 96
ENTRY_SIZE_BYTES: Final = 32
CRC_SIZE_BYTES: Final = 4

DATA_BYTES_MAX: Final = 16 * MIB
"""Twice what ingest writes, so that its limits can move without a new format."""
CHUNK_COUNT_MAX: Final = 1_024
META_BYTES_MAX: Final = 4 * MIB
BLOCK_COUNT_MAX: Final = DATA_BYTES_MAX // BLOCK_SIZE_BYTES + CHUNK_COUNT_MAX
TABLES_BYTES_MAX: Final = CRC_SIZE_BYTES * BLOCK_COUNT_MAX + ENTRY_SIZE_BYTES * CHUNK_COUNT_MAX
BUNDLE_SIZE_MAX: Final = HEADER_SIZE_BYTES + DATA_BYTES_MAX + TABLES_BYTES_MAX + META_BYTES_MAX

FLAG_SPARSE: Final = 1
FLAG_LAST_CHUNK: Final = 1

UNCONDITIONAL: Final = WriteConditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipartRecord:
    """What a multipart upload was created with, which each of its parts repeats.

    `meta`: of the object to be. `created_us`: when CreateMultipartUpload was received.
    """

    meta: ObjectMeta
    checksum_algorithm: str
    checksum_type: str
    created_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRecord:
    """Everything about an upload that its bytes do not say, for salvage.

    `manifest` None: the chunk that carries this record is the whole upload. `conditions`: of a
    write that may have been refused by them. `multipart`: of a part.
    """

    size: int
    etag: str
    at_us: int
    storage_class: str
    meta: ObjectMeta
    manifest: Manifest | None = None
    conditions: WriteConditions = UNCONDITIONAL
    multipart: MultipartRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkMeta:
    """Whose bytes a chunk holds. `record` is set on the last chunk of an upload only.

    `chunk_number` counts within the object or part. A part names its multipart upload;
    `part_number` is 0 for anything else.
    """

    upload_id: UploadId
    bucket_id: BucketId
    bucket: str
    key: bytes
    multipart_id: UploadId | None = None
    part_number: int = 0
    chunk_number: int = 0
    record: UploadRecord | None = None


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One small object on its way into a shared bundle. `data` has 1 byte or more."""

    meta: ChunkMeta
    data: Buffer


@dataclass(frozen=True, slots=True)
class RawChunk:
    """A chunk as it lies in a bundle: `crcs` are its blocks' big-endian CRC32Cs, `meta` msgpack."""

    number: int
    flags: int
    data: Buffer
    crcs: bytes
    meta: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleHeader:
    """The first 96 bytes. `crc` is the bundle's identity wherever it is compared."""

    bundle_id: BundleId
    seal_id: SealId
    size_class: SizeClass
    created_us: int
    data_length: int
    chunk_count: int
    block_count: int
    meta_length: int
    sealed_crc: int = 0
    sealed_size: int = 0
    is_sparse: bool = False
    tables_crc: int = 0
    crc: int = 0

    @property
    def tables_offset(self) -> int:
        return HEADER_SIZE_BYTES + self.data_length

    @property
    def tables_length(self) -> int:
        return CRC_SIZE_BYTES * self.block_count + ENTRY_SIZE_BYTES * self.chunk_count

    @property
    def meta_offset(self) -> int:
        return self.tables_offset + self.tables_length

    @property
    def size(self) -> int:
        """Bytes of the whole record."""
        return self.meta_offset + self.meta_length

    @property
    def sealed(self) -> tuple[int, int]:
        """(size, crc) as they were sealed: what an inventory reports."""
        return (self.sealed_size, self.sealed_crc) if self.is_sparse else (self.size, self.crc)


@dataclass(frozen=True, slots=True)
class EncodedBundle:
    """A bundle as buffers to be written one after another (`writev`)."""

    parts: list[Buffer]
    size: int
    crc: int
