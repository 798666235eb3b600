"""Makes changes for tests of metadata: every field has a value, a test names those it is about."""

import hashlib
import random
from collections.abc import Sequence
from typing import Any

from fileflux.core.changes import (
    AbortMultipart,
    AcceptAsync,
    Actor,
    CompletedPart,
    CompleteMultipart,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateMultipart,
    CreateUser,
    DeleteBucket,
    DeleteObject,
    DropContent,
    PutObject,
    PutPart,
)
from fileflux.core.ids import BucketId, BundleId, Incarnation, NodeId, SealId, UploadId, UserId
from fileflux.core.model import Chunk, Manifest, ObjectMeta, SealedBundle, SizeClass
from fileflux.events.schema import UploadsSealed
from fileflux.metadata.rows import ObjectRow, UploadRow
from fileflux.metadata.seals import AcceptedSeal

ACTOR = Actor(user_id=UserId(b"u" * 16), user_name="ada", key_id="AKIDADA", request_id="r-1")
AT_US = 1_767_225_600_000_000
NODES = (NodeId("node-a"), NodeId("node-b"), NodeId("node-c"))


class Maker:
    """Makes changes with fresh ids from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)

    def id(self) -> Any:
        return self._rng.randbytes(16)

    def chunks(self, *sizes: int) -> Manifest:
        """Return a manifest of fresh chunks, all in one fresh bundle."""
        bundle_id = BundleId(self.id())
        return Manifest(tuple(Chunk(bundle_id, n, size) for n, size in enumerate(sizes)))

    def user(self, name: str = "ada", user_id: UserId = ACTOR.user_id) -> CreateUser:
        return CreateUser(**self._base(), user_id=user_id, name=name, password_hash="argon2")

    def bucket(self, name: str = "photos", bucket_id: BucketId | None = None) -> CreateBucket:
        return CreateBucket(
            **self._base(),
            bucket_id=bucket_id or self.id(),
            bucket=name,
            owner_id=ACTOR.user_id,
            storage_class="standard",
        )

    def put(self, bucket: CreateBucket, key: bytes, **fields: Any) -> PutObject:
        manifest = fields.pop("manifest", None) or self.chunks(100)
        given: dict[str, Any] = {
            "size": manifest.size,
            "etag": hashlib.md5(repr(manifest).encode()).hexdigest(),
            "meta": ObjectMeta(headers={"content-type": "text/plain"}),
            "storage_class": "standard",
        } | fields
        return PutObject(**self._in(bucket), key=key, manifest=manifest, **given)

    def delete(self, bucket: CreateBucket, key: bytes, **fields: Any) -> DeleteObject:
        return DeleteObject(**self._in(bucket), key=key, **fields)

    def copy(
        self, bucket: CreateBucket, key: bytes, source: ObjectRow, **fields: Any
    ) -> CopyObject:
        given: dict[str, Any] = {
            "source_version": source.version_id,
            "meta": None,
            "storage_class": "standard",
        } | fields
        return CopyObject(
            **self._in(bucket),
            key=key,
            source_bucket_id=source.bucket_id,
            source_bucket="source",
            source_key=source.key,
            **given,
        )

    def create_multipart(self, bucket: CreateBucket, key: bytes, **fields: Any) -> CreateMultipart:
        given: dict[str, Any] = {"meta": ObjectMeta(), "storage_class": "standard"} | fields
        return CreateMultipart(**self._in(bucket), key=key, **given)

    def part(self, upload: CreateMultipart, number: int, **fields: Any) -> PutPart:
        manifest = fields.pop("manifest", None) or self.chunks(5 << 20)
        given: dict[str, Any] = {
            "size": manifest.size,
            "etag": hashlib.md5(repr(manifest).encode()).hexdigest(),
            "meta": ObjectMeta(),
        } | fields
        return PutPart(**self._of(upload), part_number=number, manifest=manifest, **given)

    def copy_part(
        self, upload: CreateMultipart, number: int, source: ObjectRow, manifest: Manifest, **f: Any
    ) -> CopyPart:
        given: dict[str, Any] = {
            "size": manifest.size,
            "etag": hashlib.md5(repr(manifest).encode()).hexdigest(),
            "meta": ObjectMeta(),
            "source_version": source.version_id,
        } | f
        return CopyPart(
            **self._of(upload),
            part_number=number,
            manifest=manifest,
            source_bucket_id=source.bucket_id,
            source_key=source.key,
            **given,
        )

    def complete(
        self,
        upload: CreateMultipart,
        listed: Sequence[PutPart | CopyPart | CompletedPart],
        **fields: Any,
    ) -> CompleteMultipart:
        parts = tuple(
            part if isinstance(part, CompletedPart) else CompletedPart(part.part_number, part.etag)
            for part in listed
        )
        return CompleteMultipart(**self._of(upload), parts=parts, **fields)

    def abort(self, upload: CreateMultipart) -> AbortMultipart:
        return AbortMultipart(**self._of(upload))

    def delete_bucket(self, bucket: CreateBucket) -> DeleteBucket:
        return DeleteBucket(**self._in(bucket))

    def accept(self, put: PutObject) -> AcceptAsync:
        return AcceptAsync(
            upload_id=put.upload_id,
            actor=ACTOR,
            at_us=AT_US,
            bucket_id=put.bucket_id,
            bucket=put.bucket,
            key=put.key,
            size=put.size,
        )

    def abort_orphan(self, upload: UploadRow) -> AbortMultipart:
        """Return the abortion of an upload whose bucket is gone."""
        return AbortMultipart(
            **self._base(),
            bucket_id=upload.bucket_id,
            bucket="",
            key=upload.key,
            multipart_id=upload.upload_id,
        )

    def drop(self, content_id: UploadId) -> DropContent:
        return DropContent(**self._base(), content_id=content_id)

    def seal(self, *changes: PutObject | PutPart, states: dict[BundleId, str]) -> AcceptedSeal:
        """Return the seal that brings these changes, with their bundles' states."""
        sizes: dict[BundleId, int] = {}
        for change in changes:
            for chunk in change.manifest.chunks:
                sizes[chunk.bundle_id] = sizes.get(chunk.bundle_id, 0) + chunk.size
        seal = UploadsSealed(
            seal_id=SealId(self.id()),
            incarnation=Incarnation(self.id()),
            lane=0,
            size_class=SizeClass.SMALL,
            storage_class="standard",
            replicas=3,
            quorum=2,
            deadline_us=AT_US,
            sealed_us=AT_US,
            bundles=tuple(
                SealedBundle(bundle_id, size, 7, SizeClass.SMALL, 4, 2, NODES)
                for bundle_id, size in sizes.items()
            ),
            changes=changes,
        )
        return AcceptedSeal(seal=seal, states=states)

    def _base(self) -> dict[str, Any]:
        return {"upload_id": UploadId(self.id()), "actor": ACTOR, "at_us": AT_US}

    def _in(self, bucket: CreateBucket) -> dict[str, Any]:
        return {**self._base(), "bucket_id": bucket.bucket_id, "bucket": bucket.bucket}

    def _of(self, upload: CreateMultipart) -> dict[str, Any]:
        return {
            **self._base(),
            "bucket_id": upload.bucket_id,
            "bucket": upload.bucket,
            "key": upload.key,
            "multipart_id": upload.upload_id,
        }
