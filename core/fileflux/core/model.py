"""The records that every part speaks: chunks, manifests, bundles, object metadata.

Sizes are bytes. Times are integers in microseconds since 1970 (UTC), because they are stamps first.
"""

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.errors import FormatInvalid
from fileflux.core.ids import BundleId, NodeId, UploadId

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

BLOCK_SIZE_BYTES: Final = 64 * KIB
"""The unit of checksums and of ranged reads."""
CHUNK_SIZE_BYTES: Final = 8 * MIB
"""A large object is cut into chunks of this size; the last one is shorter."""
SMALL_OBJECT_BYTES_MAX: Final = MIB
"""An object of at most this size joins a shared bundle."""
BUNDLE_UPLOADS_MAX: Final = 256
OBJECT_SIZE_BYTES_MAX: Final = 5 * GIB
PARTS_MAX: Final = 10_000


class SizeClass(enum.IntEnum):
    """A bundle holds one class only."""

    SMALL = 0
    LARGE = 1


@dataclass(frozen=True, slots=True)
class StorageClass:
    """How often content is stored (`replicas`, R) and how often before we answer (`quorum`, W)."""

    name: str
    replicas: int
    quorum: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One object's piece of a bundle: chunk `number` of `bundle_id`, `size` bytes.

    A copied part may reference only a slice of a stored chunk: `start` is where it begins.
    """

    bundle_id: BundleId
    number: int
    size: int
    start: int = 0


_CHUNK: Final = struct.Struct(">16sIII")
_MANIFEST_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The ordered chunks of one object version or part.

    `parts` is used instead of `chunks` by a completed multipart upload: (part number, size) in
    order; the chunks are in the part rows of upload `content_id`.
    """

    chunks: tuple[Chunk, ...] = ()
    parts: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> int:
        return sum(chunk.size for chunk in self.chunks) + sum(size for _, size in self.parts)

    def to_bytes(self) -> bytes:
        """Version byte, kind byte (0 chunks, 1 parts), then fixed-width big-endian entries."""
        if self.parts:
            entries = b"".join(struct.pack(">IQ", number, size) for number, size in self.parts)
            return bytes((_MANIFEST_VERSION, 1)) + entries
        entries = b"".join(_CHUNK.pack(c.bundle_id, c.number, c.size, c.start) for c in self.chunks)
        return bytes((_MANIFEST_VERSION, 0)) + entries

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Manifest":
        """Read what `to_bytes` wrote; raise FormatInvalid for anything else."""
        if len(raw) < 2 or raw[0] != _MANIFEST_VERSION or raw[1] > 1:
            raise FormatInvalid("not a manifest of a version we know")
        try:
            if raw[1]:
                return cls(parts=tuple(struct.iter_unpack(">IQ", raw[2:])))
            rows = _CHUNK.iter_unpack(raw[2:])
            return cls(
                chunks=tuple(Chunk(BundleId(b), n, size, start) for b, n, size, start in rows)
            )
        except struct.error as error:
            raise FormatInvalid("a manifest ends inside an entry") from error


@dataclass(frozen=True, slots=True)
class SealedBundle:
    """A bundle as ingest sealed it: what a node's confirmation is compared with.

    `crc` is the CRC32C of the bundle's index part (docs/formats/bundle.md), which covers the CRC
    of every block; `epoch` and `set_number` say which decision of placement was used.
    """

    bundle_id: BundleId
    size: int
    crc: int
    size_class: SizeClass
    epoch: int
    set_number: int
    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What is stored with an object besides its bytes.

    `headers`: lower-case HTTP header → value (content-type, cache-control …).
    `user`: x-amz-meta- suffix in lower case → value. `checksums`: algorithm ("CRC64NVME") → base64;
    `checksum_type`: FULL_OBJECT or COMPOSITE.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    user: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    checksum_type: str = "FULL_OBJECT"


@dataclass(frozen=True, slots=True)
class WriteConditions:
    """RFC 9110 preconditions of a write: an ETag without quotes, or `*`. None: not asked."""

    if_match: str | None = None
    if_none_match: str | None = None


@dataclass(frozen=True, slots=True)
class HopTimes:
    """When an upload passed each hop, in µs: for `fileflux trace` and the audit record."""

    received_us: int = 0
    staged_us: int = 0
    sealed_us: int = 0


__all__ = [
    "BLOCK_SIZE_BYTES",
    "BUNDLE_UPLOADS_MAX",
    "CHUNK_SIZE_BYTES",
    "GIB",
    "KIB",
    "MIB",
    "OBJECT_SIZE_BYTES_MAX",
    "PARTS_MAX",
    "SMALL_OBJECT_BYTES_MAX",
    "Chunk",
    "HopTimes",
    "Manifest",
    "ObjectMeta",
    "SealedBundle",
    "SizeClass",
    "StorageClass",
    "UploadId",
    "WriteConditions",
]
