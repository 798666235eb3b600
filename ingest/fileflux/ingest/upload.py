"""What the write engine is told about an upload, and what a bundle says about it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from fileflux.core.bundle_records import (
    UNCONDITIONAL,
    ChunkMeta,
    MultipartRecord,
    UploadRecord,
)
from fileflux.core.changes import PutObject, PutPart
from fileflux.core.checksum import Buffer
from fileflux.core.ids import BucketId, SealId, UploadId
from fileflux.core.model import HopTimes, Manifest, StorageClass

StoredChange = PutObject | PutPart
"""A change whose bytes are staged."""
Body = AsyncIterator[Buffer]
"""Pieces of a body, in order, which must not change afterwards. At its end it raises if anything
about the body is wrong (length, digest, signature): what did not end was never uploaded."""
Finish = Callable[[int, Manifest], StoredChange]
"""Called once, after the body ended: (size, manifest) → the change. Of a body that joins a shared
bundle the manifest is not known yet: it is empty and put in later, with the times of the hops."""
OnStaged = Callable[[SealId, bytes], Awaitable[None]]
"""Called with the sealed record once everything is staged and synced, before it is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadIntent:
    """One upload before its first byte. `declared_size` None: not known.

    `multipart_id`, `part_number`, `multipart`: of a part. `on_staged`: for uploads whose staging
    must survive a power cut before they are accepted; they share a bundle with nobody.
    `traceparent`: as the change's actor has it.
    """

    upload_id: UploadId
    bucket_id: BucketId
    bucket: str
    key: bytes
    storage_class: StorageClass
    received_us: int
    multipart_id: UploadId | None = None
    part_number: int | None = None
    multipart: MultipartRecord | None = None
    declared_size: int | None = None
    on_staged: OnStaged | None = None
    traceparent: str = ""

    def chunk_meta(self, number: int, record: UploadRecord | None) -> ChunkMeta:
        """Return what the bundle says about chunk `number` of this upload."""
        return ChunkMeta(
            upload_id=self.upload_id,
            bucket_id=self.bucket_id,
            bucket=self.bucket,
            key=self.key,
            multipart_id=self.multipart_id,
            part_number=self.part_number or 0,
            chunk_number=number,
            record=record,
        )

    def record(self, change: StoredChange, manifest: Manifest | None) -> UploadRecord:
        """Return the whole upload's record; `manifest` None: it has one chunk only."""
        return UploadRecord(
            size=change.size,
            etag=change.etag,
            at_us=self.received_us,
            storage_class=self.storage_class.name,
            meta=change.meta,
            manifest=manifest,
            conditions=change.conditions if isinstance(change, PutObject) else UNCONDITIONAL,
            multipart=self.multipart,
        )


def complete_change(
    change: StoredChange, manifest: Manifest, *, staged_us: int, sealed_us: int
) -> StoredChange:
    """Return the change as it is sealed: where its bytes are, and when it passed each hop."""
    hops = HopTimes(received_us=change.at_us, staged_us=staged_us, sealed_us=sealed_us)
    return replace(change, manifest=manifest, hops=hops)


def seal_size_estimate(change: StoredChange) -> int:
    """Return about how many bytes the change takes in a seal; never much less."""
    meta = change.meta
    texts = sum(len(k) + len(v) for k, v in meta.headers.items())
    texts += sum(len(k) + len(v) for k, v in meta.user.items())
    actor = change.actor
    texts += len(actor.user_agent) + len(actor.user_name) + len(actor.request_id)
    texts += len(actor.trace_id) + len(actor.traceparent)
    return 320 + len(change.key) + len(change.bucket) + len(change.etag) + texts
