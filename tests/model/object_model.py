"""What the S3 operations do, as plainly as it can be said: dictionaries of values, nothing shared.

Content is a value here: an object keeps the slices that a GET sends (`slices`) and the chunks that
must stay as long as it lives (`whole`; of a copied part these are all chunks of its source). What
was ever staged and stands in no living `whole` is garbage. There are no rows, holders or stamps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fileflux.core.changes import (
    AbortMultipart,
    Change,
    CompleteMultipart,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateMultipart,
    DeleteBucket,
    DeleteObject,
    PutObject,
    PutPart,
)
from fileflux.core.ids import BucketId, BundleId, UploadId
from fileflux.core.model import Chunk, WriteConditions

PART_BYTES_MIN = 5 << 20
ChunkName = tuple[BundleId, int]


@dataclass(frozen=True)
class Content:
    """An object or a part. `version` is the change that made it."""

    version: UploadId
    etag: str | None
    slices: tuple[Chunk, ...]
    whole: frozenset[ChunkName]

    @property
    def size(self) -> int:
        return sum(chunk.size for chunk in self.slices)


@dataclass
class Upload:
    bucket_id: BucketId
    key: bytes
    parts: dict[int, Content] = field(default_factory=dict)
    is_open: bool = True
    completed_by: UploadId | None = None


class ObjectModel:
    """Every bucket's visible objects, every upload, every chunk that was ever staged."""

    def __init__(self) -> None:
        self.names: dict[str, BucketId] = {}
        self.objects: dict[BucketId, dict[bytes, Content]] = {}
        self.uploads: dict[UploadId, Upload] = {}
        self.staged: set[ChunkName] = set()

    def apply(self, change: Change) -> str:
        """Do it; return the status that a client would see."""
        decide: dict[type, Callable[[Any], str]] = {
            CreateBucket: self._create_bucket,
            DeleteBucket: self._delete_bucket,
            PutObject: self._put,
            DeleteObject: self._delete,
            CopyObject: self._copy,
            CreateMultipart: self._create_multipart,
            PutPart: self._put_part,
            CopyPart: self._copy_part,
            CompleteMultipart: self._complete,
            AbortMultipart: self._abort,
        }
        return decide[type(change)](change)

    def garbage(self) -> set[ChunkName]:
        living = set[ChunkName]()
        for content in self._living():
            living |= content.whole
        return self.staged - living

    def _living(self) -> Iterator[Content]:
        for objects in self.objects.values():
            yield from objects.values()
        for upload in self.uploads.values():
            if upload.is_open:
                yield from upload.parts.values()

    def _create_bucket(self, change: CreateBucket) -> str:
        if change.bucket in self.names:
            return "BucketAlreadyOwnedByYou"
        self.names[change.bucket] = change.bucket_id
        self.objects[change.bucket_id] = {}
        return "ok"

    def _delete_bucket(self, change: DeleteBucket) -> str:
        if change.bucket_id not in self.objects:
            return "NoSuchBucket"
        if self.objects[change.bucket_id]:
            return "BucketNotEmpty"
        del self.objects[change.bucket_id]
        self.names = {n: b for n, b in self.names.items() if b != change.bucket_id}
        for upload in self.uploads.values():
            if upload.bucket_id == change.bucket_id:
                upload.is_open = False
        return "ok"

    def _write_status(self, bucket_id: BucketId, key: bytes, conditions: WriteConditions) -> str:
        if bucket_id not in self.objects:
            return "NoSuchBucket"
        now = self.objects[bucket_id].get(key)
        if conditions.if_match is not None:
            if now is None:
                return "NoSuchKey"
            if conditions.if_match != "*" and conditions.if_match != now.etag:
                return "PreconditionFailed"
        if conditions.if_none_match == "*" and now is not None:
            return "PreconditionFailed"
        return "ok"

    def _put(self, change: PutObject) -> str:
        chunks = change.manifest.chunks
        names = frozenset((chunk.bundle_id, chunk.number) for chunk in chunks)
        self.staged |= names
        status = self._write_status(change.bucket_id, change.key, change.conditions)
        if status == "ok":
            content = Content(change.upload_id, change.etag, chunks, names)
            self.objects[change.bucket_id][change.key] = content
        return status

    def _delete(self, change: DeleteObject) -> str:
        status = self._write_status(change.bucket_id, change.key, change.conditions)
        if status == "ok":
            self.objects[change.bucket_id].pop(change.key, None)
        return status

    def _source(self, change: CopyObject | CopyPart) -> Content | None:
        source = self.objects.get(change.source_bucket_id, {}).get(change.source_key)
        return source if source is not None and source.version == change.source_version else None

    def _copy(self, change: CopyObject) -> str:
        status = self._write_status(change.bucket_id, change.key, change.conditions)
        if status != "ok":
            return status
        source = self._source(change)
        if source is None:
            return "SourceChanged"
        content = Content(change.upload_id, source.etag, source.slices, source.whole)
        self.objects[change.bucket_id][change.key] = content
        return "ok"

    def _create_multipart(self, change: CreateMultipart) -> str:
        if change.bucket_id not in self.objects:
            return "NoSuchBucket"
        self.uploads[change.upload_id] = Upload(change.bucket_id, change.key)
        return "ok"

    def _upload_status(
        self, change: PutPart | CopyPart | CompleteMultipart | AbortMultipart
    ) -> str:
        if change.bucket_id not in self.objects:
            return "NoSuchBucket"
        upload = self.uploads.get(change.multipart_id)
        return "ok" if upload is not None and upload.is_open else "NoSuchUpload"

    def _put_part(self, change: PutPart) -> str:
        chunks = change.manifest.chunks
        names = frozenset((chunk.bundle_id, chunk.number) for chunk in chunks)
        self.staged |= names
        status = self._upload_status(change)
        if status == "ok":
            part = Content(change.upload_id, change.etag, chunks, names)
            self.uploads[change.multipart_id].parts[change.part_number] = part
        return status

    def _copy_part(self, change: CopyPart) -> str:
        status = self._upload_status(change)
        if status != "ok":
            return status
        source = self._source(change)
        if source is None:
            return "SourceChanged"
        whole = source.whole if change.manifest.chunks else frozenset[ChunkName]()
        part = Content(change.upload_id, change.etag, change.manifest.chunks, whole)
        self.uploads[change.multipart_id].parts[change.part_number] = part
        return "ok"

    def _complete(self, change: CompleteMultipart) -> str:
        upload = self.uploads.get(change.multipart_id)
        if upload is not None and upload.completed_by is not None:
            return "ok"
        status = self._upload_status(change)
        if status != "ok" or upload is None:
            return status
        status = self._write_status(change.bucket_id, change.key, change.conditions)
        if status == "ok":
            status = _list_status(upload, change)
        if status == "ok":
            self._store_whole(change, upload)
        return status

    def _store_whole(self, change: CompleteMultipart, upload: Upload) -> None:
        parts = [upload.parts[part.part_number] for part in change.parts]
        content = Content(
            version=change.upload_id,
            etag=None,
            slices=tuple(chunk for part in parts for chunk in part.slices),
            whole=frozenset(name for part in parts for name in part.whole),
        )
        self.objects[change.bucket_id][change.key] = content
        upload.is_open = False
        upload.completed_by = change.upload_id

    def _abort(self, change: AbortMultipart) -> str:
        status = self._upload_status(change)
        if status == "ok":
            self.uploads[change.multipart_id].is_open = False
        return status


def _list_status(upload: Upload, change: CompleteMultipart) -> str:
    numbers = [part.part_number for part in change.parts]
    if not numbers:
        return "MalformedXML"
    if numbers != sorted(set(numbers)):
        return "InvalidPartOrder"
    for part in change.parts:
        if part.part_number not in upload.parts:
            return "InvalidPart"
        if upload.parts[part.part_number].etag != part.etag:
            return "InvalidPart"
    if any(upload.parts[number].size < PART_BYTES_MIN for number in numbers[:-1]):
        return "EntityTooSmall"
    return "ok"
