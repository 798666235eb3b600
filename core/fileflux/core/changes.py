"""What a client asked to change, and what came of it.

A change is a frozen request that has passed signature, authorization and the checks of its body.
Changes with bytes travel in a seal (`UploadsSealed`); changes without bytes go to the database
directly. Both are decided by `fileflux.metadata.apply`, which answers each with an `Outcome`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fileflux.core.ids import BucketId, NodeId, UploadId, UserId
from fileflux.core.model import HopTimes, Manifest, ObjectMeta, WriteConditions


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked, as the audit record keeps it. Never a secret, a signature or a token.

    `traceparent`: the request's place in a trace (W3C), or what its client sent; `trace_id` of it.
    """

    user_id: UserId
    user_name: str
    key_id: str
    source_address: str = ""
    user_agent: str = ""
    request_id: str = ""
    trace_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`upload_id` is made by whoever asks, before anything else; it names the change for ever.

    It becomes the version id and content id of an object, the id of a multipart upload, the id of
    the record in the audit stream. `at_us`: when the request was received.
    """

    upload_id: UploadId
    actor: Actor
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _InBucket(Change):
    bucket_id: BucketId
    bucket: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PutObject(_InBucket):
    """A new object version whose bytes are staged. No chunks: an empty object, a direct change.

    `is_async`: its `async_uploads` row is updated in the same transaction.
    """

    key: bytes
    size: int
    etag: str
    meta: ObjectMeta
    manifest: Manifest
    storage_class: str
    conditions: WriteConditions = WriteConditions()
    hops: HopTimes = HopTimes()
    is_async: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PutPart(_InBucket):
    """One part of a multipart upload; a later one with the same number replaces it."""

    key: bytes
    multipart_id: UploadId
    part_number: int
    size: int
    etag: str
    meta: ObjectMeta
    manifest: Manifest
    hops: HopTimes = HopTimes()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteObject(_InBucket):
    """Remove the current version; deleting what is not there succeeds."""

    key: bytes
    conditions: WriteConditions = WriteConditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyObject(_InBucket):
    """Make `key` share the content of a source version. No bytes move.

    `source_version` is the version that ingest read; if the source is another one by now the
    outcome is `SourceChanged` and ingest reads again. `meta` None: copy the source's.
    """

    key: bytes
    source_bucket_id: BucketId
    source_bucket: str
    source_key: bytes
    source_version: UploadId
    meta: ObjectMeta | None
    storage_class: str
    conditions: WriteConditions = WriteConditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMultipart(_InBucket):
    """`upload_id` is the multipart upload's id. `checksum_algorithm` may be empty."""

    key: bytes
    meta: ObjectMeta
    storage_class: str
    checksum_algorithm: str = ""
    checksum_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPart(_InBucket):
    """A part that references slices of a stored version. `manifest` holds (chunk, start, size).

    The source row is marked shared and the part becomes a holder of its content.
    """

    key: bytes
    multipart_id: UploadId
    part_number: int
    size: int
    etag: str
    meta: ObjectMeta
    manifest: Manifest
    source_bucket_id: BucketId
    source_key: bytes
    source_version: UploadId


@dataclass(frozen=True, slots=True)
class CompletedPart:
    """A part as the client lists it: ETag without quotes, checksums as given (may be empty)."""

    part_number: int
    etag: str
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteMultipart(_InBucket):
    """Make the listed parts one object. Answered again for 7 days by its stored outcome.

    `checksums`, `checksum_type`: what the client claims for the whole object; empty if nothing.
    """

    key: bytes
    multipart_id: UploadId
    parts: tuple[CompletedPart, ...]
    checksums: Mapping[str, str] = field(default_factory=dict)
    checksum_type: str = ""
    object_size: int | None = None
    conditions: WriteConditions = WriteConditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortMultipart(_InBucket):
    key: bytes
    multipart_id: UploadId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBucket(_InBucket):
    """`bucket_id` is new. Owned already by the same user: outcome BucketAlreadyOwnedByYou."""

    owner_id: UserId
    storage_class: str
    config: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBucket(_InBucket):
    """Only an empty bucket; open multipart uploads do not block it (their content is garbage)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureBucket(_InBucket):
    """Set or (None) remove entries of the bucket's configuration, `class` among them."""

    entries: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateUser(Change):
    """`password_hash`: Argon2, may be empty. A taken name: outcome EntityAlreadyExists."""

    user_id: UserId
    name: str
    password_hash: str
    is_root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPassword(Change):
    user_id: UserId
    password_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteUser(Change):
    """Only a user without buckets (outcome DeleteConflict); the keys go with it."""

    user_id: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKey(Change):
    """`secret` is encrypted with the master key: SigV4 needs it back, topics never see it clear."""

    user_id: UserId
    access_key: str
    secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SetKeyActive(Change):
    access_key: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteKey(Change):
    access_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNodeIntent(Change):
    """What operators want of a node: `active`, `drain` or `remove`, and its weight (1.0)."""

    node_id: NodeId
    intent: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptAsync(_InBucket):
    """Record an accepted `Prefer: respond-async` upload before 202 is answered.

    `upload_id` is also that of the PutObject that will follow in a seal `seal_id`.
    """

    key: bytes
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DropContent(Change):
    """Drop content that nobody holds any more; the compactor's.

    A transaction follows copies of copies only so deep. What lies deeper stays as a row without a
    holder in `holders`, and this change takes it the next levels down.
    """

    content_id: UploadId


@dataclass(frozen=True, slots=True)
class PastPart:
    """A part of a completed multipart upload as it once was stored.

    `content_id`: the part's own change, or (`shared`) the content that it was copied from.
    """

    part_number: int
    size: int
    etag: str
    meta: ObjectMeta
    manifest: Manifest
    content_id: UploadId
    modified_us: int
    shared: bool = False


@dataclass(frozen=True, slots=True)
class PastContent:
    """Content as it once was, whole, so that it can be brought back when it was dropped since."""

    content_id: UploadId
    manifest: Manifest
    parts: tuple[PastPart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreVersion(_InBucket):
    """Make a past version of a key its newest one, while the bytes are still there.

    `seen_version`: what the key had when this was planned (None: nothing); if it is another one by
    now the outcome is `PreconditionFailed`. `contents`: the version's content and all that its
    copied parts hold; the outcome is `ContentGone` if the nodes may have removed some of it.
    `past_version` and `past_position` say what is restored, and as of where in the audit stream.
    `after_stamp`: of the newest record that the plan knew; what comes back is newer than that.
    `seen_stamp`: of the key's own newest record; a key that is absent and was deleted later than
    that came and went meanwhile, which is `PreconditionFailed` as well. 0: nobody looked.
    """

    key: bytes
    size: int
    etag: str
    meta: ObjectMeta
    storage_class: str
    manifest: Manifest
    content_id: UploadId
    contents: tuple[PastContent, ...]
    seen_version: UploadId | None
    past_version: UploadId
    past_position: int
    after_stamp: int = 0
    seen_stamp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteNewer(_InBucket):
    """Remove a key that did not exist at `past_position`, if it is still the version seen."""

    key: bytes
    seen_version: UploadId
    past_position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateHold(Change):
    """Keep what history names from a moment on: audit records, and the bytes dropped since.

    Again with the same `hold_id`: the hold lasts until another time. `kind`: who made it, an
    operator or a restore. `until_us`: 30 days ahead at most. `from_us`: when the first of the
    records that are kept took effect.
    """

    hold_id: UploadId
    kind: str
    reason: str
    from_position: int
    from_us: int
    until_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseHold(Change):
    hold_id: UploadId


OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one change: enough to answer the client now and on a re-emission.

    `status` is `ok` or an S3 error code (NoSuchBucket, PreconditionFailed, NoSuchUpload,
    InvalidPart, Aborted, Expired, SourceChanged …); a refusal is an outcome, never an exception.
    """

    upload_id: UploadId
    status: str = OK
    version_id: UploadId | None = None
    etag: str = ""
    stamp: int = 0
    size: int = 0
    checksums: Mapping[str, str] = field(default_factory=dict)
    checksum_type: str = ""
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.status == OK
