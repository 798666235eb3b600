"""The rows that decisions read and write.

`Rows` is what one transaction loaded for a list of changes; `Writes` is what `apply` wants stored.
A `RowWrite` is also the effect that an audit record carries, so that a replay applies effects and
never decides again: `fileflux rebuild` needs no other knowledge than table, key and row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fileflux.core.changes import Outcome
from fileflux.core.ids import BucketId, BundleId, NodeId, SealId, UploadId, UserId
from fileflux.core.model import Manifest, ObjectMeta

ObjectKey = tuple[BucketId, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRow:
    """`config`: JSON object (class, webhooks … by name)."""

    bucket_id: BucketId
    name: str
    owner_id: UserId
    storage_class: str
    created_us: int
    config: Mapping[str, object]
    row_stamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """The current, visible version of a key. Older ones and delete markers live in `versions`.

    `content_id`: the upload that brought the bytes. `shared`: somebody else may hold the content,
    so its `holders` rows decide.
    """

    bucket_id: BucketId
    key: bytes
    version_id: UploadId
    stamp: int
    row_stamp: int
    size: int
    etag: str
    meta: ObjectMeta
    manifest: Manifest
    content_id: UploadId
    storage_class: str
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRow:
    """A multipart upload. `state`: open, completed (its parts are an object's content) or aborted.

    `outcome` is kept for a retried COMPLETE.
    """

    upload_id: UploadId
    bucket_id: BucketId
    key: bytes
    meta: ObjectMeta
    storage_class: str
    checksum_algorithm: str
    checksum_type: str
    created_us: int
    state: Literal["open", "completed", "aborted"]
    owner_id: UserId
    row_stamp: int
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """`content_id`: the part's own change id, or the source's content for UploadPartCopy."""

    upload_id: UploadId
    part_number: int
    size: int
    etag: str
    meta: ObjectMeta
    manifest: Manifest
    content_id: UploadId
    modified_us: int
    row_stamp: int
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderRow:
    """Shared content `content_id` belongs to `holder` (a version id, or upload id + part number)."""

    content_id: UploadId
    holder: bytes
    row_stamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorRow:
    """What a removed row leaves for 7 days, so that its successor's stamp is larger."""

    table: str
    key: bytes
    stamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    user_id: UserId
    name: str
    password_hash: str
    is_root: bool
    created_us: int
    row_stamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """`secret`: encrypted with the master key."""

    access_key: str
    user_id: UserId
    secret: bytes
    active: bool
    created_us: int
    row_stamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """Operators' intent for a node."""

    node_id: NodeId
    intent: str
    weight: float
    row_stamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncRow:
    """An accepted asynchronous upload: `state` is accepted, ok, or an error code."""

    upload_id: UploadId
    bucket_id: BucketId
    key: bytes
    state: str
    created_us: int
    row_stamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageRow:
    """Chunks of a bundle that nobody references any more. The compactor's work list."""

    bundle_id: BundleId
    chunk_numbers: tuple[int, ...]
    size: int
    dropped_by: UploadId


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRow:
    """`state`: staged, live (a seal made it so) or dead (garbage collection won)."""

    bundle_id: BundleId
    size_class: int
    state: Literal["staged", "live", "dead"]
    wanted: int
    size: int
    crc: int
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRow:
    """A node confirmed a bundle. Inventoried: refilled from the nodes, never audited."""

    bundle_id: BundleId
    node_id: NodeId
    epoch: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The stored outcome of a seal or of a direct batch. First writer wins."""

    seal_id: SealId
    outcomes: tuple[Outcome, ...]
    aborted: bool
    settled_us: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a list of changes needs to read. Made by `apply.footprint(changes)`, pure.

    `multiparts`: uploads with the parts named (None: all of them).
    `bucket_names`: for CreateBucket. `emptiness`: buckets of which one object row is looked for.
    """

    bucket_ids: frozenset[BucketId] = frozenset()
    bucket_names: frozenset[str] = frozenset()
    objects: frozenset[ObjectKey] = frozenset()
    multiparts: Mapping[UploadId, frozenset[int] | None] = field(default_factory=dict)
    emptiness: frozenset[BucketId] = frozenset()
    user_ids: frozenset[UserId] = frozenset()
    user_names: frozenset[str] = frozenset()
    access_keys: frozenset[str] = frozenset()
    node_ids: frozenset[NodeId] = frozenset()
    async_ids: frozenset[UploadId] = frozenset()


@dataclass(slots=True, kw_only=True)
class Rows:
    """What one transaction read. Absent rows are absent from the mappings.

    `clock_us`: `clock_timestamp()` read after the snapshot. `holders` are those of every shared
    content that the loaded objects and parts refer to. `stamp_max`: the largest row_stamp or floor
    stamp read. `owned_buckets`: for DeleteUser. `open_uploads`: of the buckets in `emptiness`.
    """

    clock_us: int
    stamp_max: int = 0
    buckets: dict[BucketId, BucketRow] = field(default_factory=dict)
    bucket_names: dict[str, BucketId] = field(default_factory=dict)
    non_empty: set[BucketId] = field(default_factory=set)
    objects: dict[ObjectKey, ObjectRow] = field(default_factory=dict)
    uploads: dict[UploadId, UploadRow] = field(default_factory=dict)
    open_uploads: dict[BucketId, set[UploadId]] = field(default_factory=dict)
    parts: dict[tuple[UploadId, int], PartRow] = field(default_factory=dict)
    holders: dict[UploadId, dict[bytes, HolderRow]] = field(default_factory=dict)
    users: dict[UserId, UserRow] = field(default_factory=dict)
    user_names: dict[str, UserId] = field(default_factory=dict)
    owned_buckets: dict[UserId, int] = field(default_factory=dict)
    keys: dict[str, KeyRow] = field(default_factory=dict)
    nodes: dict[NodeId, NodeRow] = field(default_factory=dict)
    async_uploads: dict[UploadId, AsyncRow] = field(default_factory=dict)


Row = (
    BucketRow | ObjectRow | UploadRow | PartRow | HolderRow | UserRow | KeyRow | NodeRow | AsyncRow
)
AUDITED_TABLES = (
    "buckets",
    "objects",
    "versions",
    "uploads",
    "parts",
    "holders",
    "users",
    "access_keys",
    "nodes",
    "async_uploads",
)


@dataclass(frozen=True, slots=True)
class RowWrite:
    """One audited effect: put `row` under `key` of `table`, or (row None) remove it.

    `key`: the table's primary key, in its columns' order, e.g. (bucket_id, key) of `objects`.
    Removing also leaves a floor with the transaction's stamp.
    """

    table: str
    key: tuple[object, ...]
    row: Row | None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change as the audit stream will tell it. `bucket_id` None: the stream `system`.

    `operation`: S3's or our name (PutObject, CreateUser …). `effects`: every audited row that the
    change wrote, in order. `facts`: JSON-ready details for readers (size, etag, hops, placement …).
    """

    record_id: UploadId
    bucket_id: BucketId | None
    bucket: str
    operation: str
    key: bytes | None
    at_us: int
    stamp: int
    actor: Mapping[str, str]
    facts: Mapping[str, object]
    effects: tuple[RowWrite, ...]


@dataclass(slots=True, kw_only=True)
class Writes:
    """What a transaction shall store. `rows` holds the last write per (table, key) of the batch.

    `bundles_live`: bundles that this transaction makes live. `audit`: in order; they become one
    `audit_pending` block. `stamp`: of the transaction.
    """

    stamp: int
    rows: dict[tuple[str, tuple[object, ...]], RowWrite] = field(default_factory=dict)
    bundles_live: list[BundleRow] = field(default_factory=list)
    garbage: list[GarbageRow] = field(default_factory=list)
    audit: list[AuditRecord] = field(default_factory=list)
    usage: dict[BucketId, tuple[int, int]] = field(default_factory=dict)
