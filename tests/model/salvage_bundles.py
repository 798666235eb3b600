"""Bundles made by hand for salvages: any uploads, spread on nodes, whole, lost or forged."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fileflux.core.bundle_format import LargeBundleWriter, encode_small
from fileflux.core.bundle_records import ChunkEntry, ChunkMeta, MultipartRecord, UploadRecord
from fileflux.core.bundle_view import BundleIndexView, memory_reader, read_index
from fileflux.core.ids import BucketId, BundleId, NodeId, SealId, UploadId
from fileflux.core.model import Chunk, Manifest, ObjectMeta, WriteConditions
from fileflux.core.node_records import HeldBundle

AT_US = 1_767_225_600_000_000
SECOND_US = 1_000_000
NODES = tuple(NodeId(f"node-{n}") for n in range(4))
PHOTOS = BucketId(b"photos".ljust(16, b"."))
UNCONDITIONAL = WriteConditions()


@dataclass
class Uploads:
    """Makes uploads one after another, a second apart, and keeps what the nodes were given.

    `raw`: bundles by id. `held`: what each node has. `current`: the bytes of each acknowledged key.
    """

    rng: random.Random = field(default_factory=lambda: random.Random(1))
    now_us: int = AT_US
    raw: dict[BundleId, bytes] = field(default_factory=dict)
    held: dict[NodeId, list[HeldBundle]] = field(default_factory=lambda: {n: [] for n in NODES})
    current: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)

    def meta(self, key: bytes, **changes: Any) -> ChunkMeta:
        said: dict[str, Any] = {
            "upload_id": UploadId(self.rng.randbytes(16)),
            "bucket_id": PHOTOS,
            "bucket": "photos",
            "key": key,
            **changes,
        }
        return ChunkMeta(**said)

    def record(
        self,
        data: bytes,
        *,
        manifest: Manifest | None = None,
        conditions: WriteConditions = UNCONDITIONAL,
        multipart: MultipartRecord | None = None,
        **changes: Any,
    ) -> UploadRecord:
        said: dict[str, Any] = {
            "size": len(data),
            "etag": hashlib.md5(data).hexdigest(),
            "at_us": self.now_us,
            "storage_class": "standard",
            "meta": ObjectMeta({"content-type": "text/plain"}, {"n": str(len(data))}),
            **changes,
        }
        return UploadRecord(manifest=manifest, conditions=conditions, multipart=multipart, **said)

    def put(self, *pairs: tuple[bytes, bytes], nodes: Sequence[NodeId] | None = None) -> BundleId:
        """Store small objects in one bundle, acknowledged when nodes hold it."""
        self.now_us += SECOND_US
        entries = []
        for key, data in pairs:
            meta = self.meta(key)
            record = self.record(data)
            entries.append((ChunkMeta(**{**_fields(meta), "record": record}), data))
            self.current[(PHOTOS, key)] = data
        return self.store(entries, nodes=nodes)

    def put_large(
        self,
        key: bytes,
        *pieces: bytes,
        nodes: Sequence[NodeId] | None = None,
        **changes: Any,
    ) -> list[BundleId]:
        """Store an object, or a part of one, in a bundle per piece."""
        self.now_us += SECOND_US
        meta = self.meta(key, **changes)
        data = b"".join(pieces)
        ids = [BundleId(self.rng.randbytes(16)) for _ in pieces]
        chunks = [Chunk(n, 0, len(p)) for n, p in zip(ids, pieces, strict=True)]
        manifest = Manifest(tuple(chunks)) if len(pieces) > 1 else None
        for number, (bundle_id, piece) in enumerate(zip(ids, pieces, strict=True)):
            is_last = number == len(pieces) - 1
            record = self.record(data, manifest=manifest) if is_last else None
            self._large(
                bundle_id,
                ChunkMeta(**{**_fields(meta), "chunk_number": number, "record": record}),
                piece,
                nodes,
            )
        if meta.multipart_id is None:
            self.current[(meta.bucket_id, key)] = data
        return ids

    def store(
        self,
        entries: Sequence[tuple[ChunkMeta, bytes]],
        *,
        bundle_id: BundleId | None = None,
        nodes: Sequence[NodeId] | None = None,
    ) -> BundleId:
        """Give nodes a bundle of these chunks, whatever they say."""
        bundle_id = bundle_id or BundleId(self.rng.randbytes(16))
        made = encode_small(
            bundle_id,
            SealId(self.rng.randbytes(16)),
            self.now_us,
            [ChunkEntry(meta, data) for meta, data in entries],
        )
        self._spread(bundle_id, b"".join(made.parts), nodes)
        return bundle_id

    def data_of(self, manifest: Manifest) -> bytes:
        """Return the bytes that a manifest names, as a reader would find them."""
        pieces = []
        for chunk in manifest.chunks:
            raw = self.raw[chunk.bundle_id]
            place = index_of(raw).chunk(chunk.number)
            pieces.append(raw[place.offset : place.offset + place.length])
        return b"".join(pieces)

    def _large(
        self,
        bundle_id: BundleId,
        meta: ChunkMeta,
        data: bytes,
        nodes: Sequence[NodeId] | None,
    ) -> None:
        writer = LargeBundleWriter(bundle_id, SealId(self.rng.randbytes(16)))
        writer.update(data)
        made = writer.finish(meta, self.now_us)
        self._spread(bundle_id, made.header + data + made.tail, nodes)

    def _spread(self, bundle_id: BundleId, raw: bytes, nodes: Sequence[NodeId] | None) -> None:
        chosen = self.rng.sample(NODES, self.rng.choice([2, 3])) if nodes is None else nodes
        self.raw[bundle_id] = raw
        for node_id in chosen:
            self.held[node_id].append(HeldBundle(bundle_id, index_of(raw)))


def index_of(raw: bytes) -> BundleIndexView:
    return read_index(memory_reader(raw), with_meta=True)


def _fields(meta: ChunkMeta) -> dict[str, Any]:
    return {name: getattr(meta, name) for name in ChunkMeta.__dataclass_fields__}
