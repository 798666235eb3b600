"""Where an upload goes and for whom: what its intent and its change say alike.

The intent is what the engine knows before the first byte, the change what the transaction applies
after the last one. Made apart they could name two keys, two classes or two uploads.
"""

from dataclasses import dataclass, replace

from fileflux.core.bundle_records import UNCONDITIONAL, MultipartRecord
from fileflux.core.changes import Actor, PutObject, PutPart
from fileflux.core.ids import UploadId
from fileflux.core.model import Manifest, ObjectMeta, StorageClass, WriteConditions
from fileflux.ingest.call import Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.upload import UploadIntent
from fileflux.metadata.rows import BucketRow, UploadRow


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTarget:
    """One upload on its way to a key. `at_us`: when its request came."""

    upload_id: UploadId
    actor: Actor
    at_us: int
    bucket: BucketRow
    key: bytes
    storage_class: StorageClass

    def intent(self, declared_size: int | None = None) -> UploadIntent:
        """Return what the engine needs to begin; `declared_size` None: not known."""
        return UploadIntent(
            upload_id=self.upload_id,
            bucket_id=self.bucket.bucket_id,
            bucket=self.bucket.name,
            key=self.key,
            storage_class=self.storage_class,
            received_us=self.at_us,
            declared_size=declared_size,
            traceparent=self.actor.traceparent,
        )

    def put_object(
        self,
        size: int,
        manifest: Manifest,
        *,
        etag: str,
        meta: ObjectMeta,
        conditions: WriteConditions = UNCONDITIONAL,
    ) -> PutObject:
        """Return the change that makes the bytes the key's current version."""
        return PutObject(
            upload_id=self.upload_id,
            actor=self.actor,
            at_us=self.at_us,
            bucket_id=self.bucket.bucket_id,
            bucket=self.bucket.name,
            key=self.key,
            size=size,
            etag=etag,
            meta=meta,
            manifest=manifest,
            storage_class=self.storage_class.name,
            conditions=conditions,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTarget(UploadTarget):
    """One part on its way to a multipart upload. `origin`: what that began with, for salvage."""

    multipart_id: UploadId
    number: int
    origin: MultipartRecord

    def intent(self, declared_size: int | None = None) -> UploadIntent:
        whole = UploadTarget.intent(self, declared_size)
        return replace(
            whole,
            multipart_id=self.multipart_id,
            part_number=self.number,
            multipart=self.origin,
        )

    def put_part(self, size: int, manifest: Manifest, *, etag: str, meta: ObjectMeta) -> PutPart:
        """Return the change that makes the bytes the part of this number."""
        return PutPart(
            upload_id=self.upload_id,
            actor=self.actor,
            at_us=self.at_us,
            bucket_id=self.bucket.bucket_id,
            bucket=self.bucket.name,
            key=self.key,
            multipart_id=self.multipart_id,
            part_number=self.number,
            size=size,
            etag=etag,
            meta=meta,
            manifest=manifest,
        )


def object_target(call: Call, deps: Dependencies, key: bytes | None = None) -> UploadTarget:
    """Return a fresh upload to the request's key (or `key`), in the bucket's storage class."""
    return UploadTarget(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        bucket=call.bucket,
        key=call.key if key is None else key,
        storage_class=deps.storage_class(call.bucket.storage_class),
    )


def part_target(call: Call, deps: Dependencies, upload: UploadRow, number: int) -> PartTarget:
    """Return a fresh upload of a part, in the class that its multipart upload began with.

    The bucket's may be another one by now; the finished object says the upload's.
    """
    return PartTarget(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        bucket=call.bucket,
        key=call.key,
        storage_class=deps.storage_class(upload.storage_class),
        multipart_id=upload.upload_id,
        number=number,
        origin=MultipartRecord(
            meta=upload.meta,
            checksum_algorithm=upload.checksum_algorithm,
            checksum_type=upload.checksum_type,
            created_us=upload.created_us,
        ),
    )
