"""The rows that decisions read and write.

`Rows` is what one transaction loaded for a list of changes; `Writes` is what `apply` wants stored.
A `RowWrite` is also the effect that an audit record carries, so that a replay applies effects and
never decides again: `fileflux rebuild` needs no other knowledge than table, key and row.

Primary keys, as `RowWrite.key` has them: buckets (bucket_id), objects (bucket_id, key), uploads
(upload_id), parts (upload_id, part_number), holders (content_id, holder), users (user_id),
access_keys (access_key), nodes (node_id), async_uploads (upload_id), history_holds (hold_id).
Bucket names and user names are unique besides.

**Content.** A plain object's content is its own upload: the chunks stand in its manifest. A
completed multipart upload is one content too: the object's manifest has `parts`, and the chunks
stand in the part rows of upload `content_id`. Unshared content costs no more rows. With the first
copy the source's row is marked `shared`, and `holders` gets, for that content, a row without a
holder (`holder == b""`) that keeps the content's whole manifest, and a row per version or part that
holds it (`version_id`, or `part_holder(...)`). Whoever drops its row removes its holder; the last
one drops the content, which is known from the row without a holder, because a copied part itself
knows only the slices it took. A row without a holder that stands alone is content still to be
dropped (`DropContent`): it was too much, or lay too deep, for the transaction that let it go. In
the same way open uploads of a bucket that is gone are still to be aborted (`AbortMultipart`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from fileflux.core.changes import Outcome
from fileflux.core.ids import BucketId, BundleId, NodeId, SealId, UploadId, UserId
from fileflux.core.model import Manifest, ObjectMeta

ObjectKey = tuple[BucketId, bytes]
GarbageKey = tuple[BundleId, UploadId]

CONTENT_DEPTH_MAX: Final = 4
"""How many levels of copied parts one transaction follows. Somebody who appends to an object by
copying it as the first part of its successor makes them thousands deep."""
PARTS_READ_MAX: Final = 2_000
"""How many parts one transaction reads only to drop them. An object may have 10,000, a batch may
delete hundreds of objects, and each part is an effect of the audit record."""
UPLOADS_READ_MAX: Final = 100
"""How many open uploads go with their bucket at once."""


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
    """Shared content `content_id` belongs to `holder` (a version id, or upload id + part number).

    `holder` empty: nobody holds; the row keeps the content's whole `manifest` (see above). All
    other holders have no manifest.
    """

    content_id: UploadId
    holder: bytes
    row_stamp: int
    manifest: Manifest | None = None


def part_holder(upload_id: UploadId, part_number: int) -> bytes:
    """Return the holder that a part is: its upload's id, its number as 4 bytes, big endian."""
    return upload_id + part_number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorRow:
    """What a removed row leaves for 7 days, so that its successor's stamp is larger.

    Only what may come back under the same name leaves one, and `key` is that name: ("objects",
    bucket_id + key), ("buckets", bucket name), ("users", user name), ("access_keys", access key);
    names in UTF-8. The other keys hold an id that is never made again. Primary key (table, key).
    """

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
class HoldRow:
    """History that is kept until a time: what is from `from_position` (at `from_us`) on.

    `created_us`: by the database's clock; it stays when `until_us` moves.
    """

    hold_id: UploadId
    kind: str
    reason: str
    from_position: int
    from_us: int
    until_us: int
    created_us: int
    row_stamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageRow:
    """Chunks of a bundle that nobody references any more. The compactor's work list.

    `size`: of these chunks, in bytes. `at_us`: the stamp with which they were dropped; 0 in a row
    that is new, which gets its transaction's. Primary key (bundle_id, dropped_by).
    """

    bundle_id: BundleId
    chunk_numbers: tuple[int, ...]
    size: int
    dropped_by: UploadId
    at_us: int = field(default=0, compare=False)


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
    `bucket_names`: for CreateBucket. `emptiness`: buckets of which one object row is looked for
    whose key is not in `objects`. `objects`: rows that may be dropped, so their content is loaded
    too (see `Rows`). `sources`: object rows that a copy reads; they are not dropped unless they
    also stand in `objects`. `leaving_users`: of which all keys and the number of buckets are read.
    `contents`: of which the row without a holder and one holder, if there is one, are read.
    `copied`: the same of contents whose parts are read as others' are, if they fit.
    `garbage`: bundles of which the garbage that no compactor has claimed is read. `deletions`:
    keys of which is read when they were deleted last.
    """

    bucket_ids: frozenset[BucketId] = frozenset()
    bucket_names: frozenset[str] = frozenset()
    objects: frozenset[ObjectKey] = frozenset()
    sources: frozenset[ObjectKey] = frozenset()
    multiparts: Mapping[UploadId, frozenset[int] | None] = field(default_factory=dict)
    emptiness: frozenset[BucketId] = frozenset()
    user_ids: frozenset[UserId] = frozenset()
    user_names: frozenset[str] = frozenset()
    leaving_users: frozenset[UserId] = frozenset()
    contents: frozenset[UploadId] = frozenset()
    access_keys: frozenset[str] = frozenset()
    node_ids: frozenset[NodeId] = frozenset()
    async_ids: frozenset[UploadId] = frozenset()
    hold_ids: frozenset[UploadId] = frozenset()
    copied: frozenset[UploadId] = frozenset()
    garbage: frozenset[BundleId] = frozenset()
    deletions: frozenset[ObjectKey] = frozenset()


@dataclass(slots=True, kw_only=True)
class Rows:
    """What one transaction read. Absent rows are absent from the mappings.

    `clock_us`: `clock_timestamp()` read after the snapshot. `stamp_max`: the largest row_stamp or
    floor stamp read; floors are read for every object key, bucket name, user name and access key of
    the footprint, and for a bucket in `emptiness` it covers the largest floor of any of its keys
    and the largest row_stamp of any of its uploads, open or not; garbage counts with its `at_us`.

    `buckets`, `users`: those asked by id and those found by name. `non_empty`: buckets of
    `emptiness` with an object whose key is not in `Footprint.objects` (those of the footprint are
    loaded, so the decision knows what becomes of them). `open_uploads`: of buckets in `emptiness`,
    by id, UPLOADS_READ_MAX at most and as many as have PARTS_READ_MAX parts together; they stand in
    `uploads` and all their parts in `parts`. `owned_buckets` and, in `keys`, all their keys: of
    `leaving_users`.

    Loaded rows are closed under "what drops with it", so that garbage is known exactly:
    1. every object of `Footprint.objects` whose manifest has `parts`: all part rows of upload
       `content_id` (its upload row is not needed);
    2. every loaded object, source or part that is `shared`: of the holders of its `content_id` the
       row without a holder, the holders that are loaded rows themselves, and one more if there is
       one (more do no harm). `ORDER BY holder LIMIT n + 2`, n = loaded rows that share this
       content, is enough: the empty holder sorts first, and at most n of the rest are our own.
       This holds at the end: if later steps find more rows that share it, it is read again;
    3. every row without a holder whose manifest has `parts`: all part rows of upload `content_id`,
       then again 2 for these, and so on until nothing new is found, CONTENT_DEPTH_MAX times at
       most. May be left out for a content that has a holder which is no loaded row.
    By 1 and 3 together at most PARTS_READ_MAX part rows are read: a content whose manifest names
    more than are left of them is left out whole. Only `Footprint.contents` are read whatever their
    size.
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
    holds: dict[UploadId, HoldRow] = field(default_factory=dict)
    garbage: dict[GarbageKey, GarbageRow] = field(default_factory=dict)
    deletions: dict[ObjectKey, int] = field(default_factory=dict)


Row = (
    BucketRow
    | ObjectRow
    | UploadRow
    | PartRow
    | HolderRow
    | UserRow
    | KeyRow
    | NodeRow
    | AsyncRow
    | HoldRow
)
AUDITED_TABLES = (  # Floors follow from the effects: `row_keys.floor_of`.
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
    "history_holds",
)


@dataclass(frozen=True, slots=True)
class RowWrite:
    """One audited effect: put `row` under `key` of `table`, or (row None) remove it.

    `key`: the table's primary key, in its columns' order, e.g. (bucket_id, key) of `objects`.
    Removing may also leave a floor with the transaction's stamp: see `FloorRow`, `Writes.floors`.
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

    Put the rows that are there, delete where `row` is None (it may never have been stored: made
    and removed by the same batch). `floors`: insert or replace. `garbage_taken`: rows to remove,
    since somebody references their chunks again; then `garbage`: insert, keyed by (bundle_id,
    dropped_by), what is left of those among them. `bundles_live`: bundles that this transaction
    makes live, with their whole row (insert or update). `audit`: in order; they become one
    `audit_pending` block, see `audit_record.pending_block`. `stamp`: of the transaction.

    `usage`: what the batch adds to each bucket's (objects, bytes). Not for this transaction: a
    counter row per bucket would make every two writers of a bucket conflict. The same numbers are
    in each record's facts, and the sequencer's projection adds them up.
    """

    stamp: int
    rows: dict[tuple[str, tuple[object, ...]], RowWrite] = field(default_factory=dict)
    bundles_live: list[BundleRow] = field(default_factory=list)
    floors: list[FloorRow] = field(default_factory=list)
    garbage_taken: list[GarbageKey] = field(default_factory=list)
    garbage: list[GarbageRow] = field(default_factory=list)
    audit: list[AuditRecord] = field(default_factory=list)
    usage: dict[BucketId, tuple[int, int]] = field(default_factory=dict)
