"""What decisions and readers see of the database.

`Database.run` gives a SERIALIZABLE transaction to a function and runs it again after a
serialization failure (40001, 40P01), so the function has no effect but through `Transaction`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fileflux.core.errors import FileFluxError
from fileflux.core.ids import BucketId, BundleId, NodeId, SealId, UploadId, UserId
from fileflux.core.model import Manifest
from fileflux.metadata.rows import (
    BucketRow,
    Footprint,
    HoldRow,
    KeyRow,
    ObjectRow,
    PartRow,
    ReplicaRow,
    Rows,
    Settlement,
    UploadRow,
    UserRow,
    Writes,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LanePosition:
    """How far a lane has been applied, and who may move it.

    `turn` is raised by compare-and-set; `offset` is the next record to read (None: the first);
    `before_us` and `before_crc` are the time and CRC32C of the record before it: a wiped topic is
    noticed by them.
    """

    topic: str
    partition: int
    turn: int
    offset: int | None
    before_us: int = 0
    before_crc: int = 0


@dataclass(frozen=True, slots=True)
class AuditBlock:
    """A run of numbered audit records as stored; made by `chain.number_blocks`.

    `payload`: the records' exact bytes, each with its bucket and sequence (`chain.unpack_block`).
    The chain goes over each record's bytes; `chain_hash` is that after the last one.
    """

    stream: str
    first_position: int
    count: int
    payload: bytes
    chain_hash: bytes


@dataclass(frozen=True, slots=True)
class SequencerHead:
    """Where the stream set stands. `turn` moves by compare-and-set.

    A stream set that never ran: turn 0, next_position 1, chain_hash 32 zero bytes.
    """

    stream: str
    turn: int
    next_position: int
    chain_hash: bytes


@dataclass(frozen=True, slots=True)
class ArchiveHead:
    """How far a stream set is archived. `turn` moves by compare-and-set.

    `next_position`: the first that is not archived; `chain_hash`: of the record before it.
    `kept_from`: the first position that the database still has. `next_checkpoint`: the first number
    that is not archived. Where nothing was ever archived: turn 0, the others from the beginning.
    """

    stream: str
    turn: int
    next_position: int
    chain_hash: bytes
    kept_from: int
    next_checkpoint: int


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed checkpoint. `line`: its exact bytes (`checkpoint.decode_checkpoint`)."""

    stream: str
    number: int
    position: int
    line: bytes


class BlockArchive(Protocol):
    """Blocks of ranges that left the database."""

    async def block_at(self, stream: str, position: int) -> AuditBlock | None:
        """Return the archived range that holds a position; None if the archive lacks it.

        Raise ArchiveUnavailable; EventInvalid if the range was changed.
        """


@dataclass(frozen=True, slots=True)
class SealingRows:
    """Everything that a sealing transaction reads, at one snapshot.

    `replicas` includes those that this transaction stored before. `bundle_states` knows only
    bundles that have a row: an unknown one is staged.
    """

    settlements: Mapping[SealId, Settlement]
    replicas: Mapping[BundleId, tuple[ReplicaRow, ...]]
    bundle_states: Mapping[BundleId, str]
    rows: Rows


class Transaction(Protocol):
    """One attempt. Every method is a statement or two."""

    async def load_settlements(self, seal_ids: Sequence[SealId]) -> dict[SealId, Settlement]: ...

    async def load_rows(self, footprint: Footprint) -> Rows: ...

    async def load_replicas(
        self, bundle_ids: Sequence[BundleId]
    ) -> dict[BundleId, tuple[ReplicaRow, ...]]: ...

    async def load_bundle_states(self, bundle_ids: Sequence[BundleId]) -> dict[BundleId, str]: ...

    async def load_sealing(
        self, seal_ids: Sequence[SealId], bundle_ids: Sequence[BundleId], footprint: Footprint
    ) -> SealingRows:
        """All four loads in as few statements as the database allows."""

    async def clock_us(self) -> int: ...

    async def store_writes(self, writes: Writes) -> None:
        """Store rows, floors, garbage, bundle states and one audit_pending block.

        The block is `audit_record.pending_block(writes)`: (block id, payload), None if the batch
        changed no audited row. `Writes.usage` is not stored here.
        """

    async def store_settlements(self, settlements: Sequence[Settlement]) -> None:
        """Insert; a seal settled by somebody else since is a serialization failure."""

    async def store_replicas(self, replicas: Sequence[ReplicaRow]) -> None:
        """Insert or replace; applying twice is the same as once."""

    async def move_positions(
        self, before: Sequence[LanePosition], after: Sequence[LanePosition]
    ) -> None:
        """Compare-and-set by turn, one at a time; raise LaneLost when somebody moved one since."""

    async def move_head(self, before: SequencerHead, after: SequencerHead) -> None:
        """Compare-and-set by turn, one at a time; raise LaneLost."""

    async def number_pending(
        self, block_ids: Sequence[bytes], block: AuditBlock, sequences: Mapping[BucketId, int]
    ) -> None:
        """Insert the block, store the next sequence per bucket, delete the pending blocks.

        A pending block that is gone already was numbered by somebody else: LaneLost.
        """

    async def move_archive_head(self, before: ArchiveHead, after: ArchiveHead) -> None:
        """Compare-and-set by turn, one at a time; raise LaneLost."""

    async def drop_blocks(self, stream: str, first: int, end: int) -> None:
        """Remove the audit blocks whose first position is from `first` on and before `end`."""

    async def add_checkpoint(
        self, checkpoint: StoredCheckpoint, *, public_key: bytes, at_us: int
    ) -> None:
        """Insert, and list the key that signed; raise LaneLost if the number is taken."""

    async def forget(self, first: bytes, end: bytes, *, before_us: int) -> None:
        """Remove settlements and floors that are older, of ids and keys from `first` to `end`."""

    async def add_usage(self, usage: Mapping[BucketId, tuple[int, int]]) -> None:
        """Add to each bucket's (objects, bytes). The sequencer's projection, nobody else's."""


class Database(Protocol):
    """Writers' door to the database."""

    async def run(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        settled: Callable[[], Awaitable[T | None]] | None = None,
        deadline_s: float = 10.0,
    ) -> T:
        """Run `work` SERIALIZABLE, again after 40001; raise MetadataBusy at the deadline.

        After an ambiguous commit `settled()` is asked (on a new connection) whether it applied; its
        answer is returned, None means it did not and `work` runs again. If that cannot be asked
        until the deadline, or there is no `settled`: SettlementUnknown. Other exceptions of `work`
        roll back and come out as they are.
        """

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One key's answer to a GET or HEAD, in one statement.

    `replicas` holds, for every bundle of a small object, the nodes that committed it. `problem`:
    there is a row, but nobody can read it; a value, since others were asked for beside it.
    """

    bucket: BucketRow | None
    row: ObjectRow | None
    replicas: Mapping[BundleId, tuple[NodeId, ...]]
    problem: FileFluxError | None = None

    def current(self) -> ObjectRow | None:
        """Return the current version, None if there is none; raise `problem`."""
        if self.problem is not None:
            raise self.problem
        return self.row


@dataclass(frozen=True, slots=True)
class ListedKeys:
    """A page: rows and common prefixes merged in byte order. `next_after`: the last one of them.

    It may be short although `truncated`. Rows come without their manifests (empty ones). A key
    stands on the page if it is larger than `after`; a common prefix if one of its keys is, unless
    `after` is that common prefix itself.
    """

    rows: tuple[ObjectRow, ...]
    common_prefixes: tuple[bytes, ...]
    truncated: bool
    next_after: bytes | None


@dataclass(frozen=True, slots=True)
class SealState:
    """What a silent waiter asks: the settlement if there is one, else the committed nodes."""

    settlement: Settlement | None
    committed: Mapping[BundleId, frozenset[NodeId]]


class MetadataReader(Protocol):
    """Readers' door. Each call is one statement (a coalesced batch), never a transaction."""

    async def find_objects(self, wanted: Sequence[tuple[str, bytes]]) -> list[FoundObject]:
        """(bucket name, key) → answers in the same order, for all GETs that wait."""

    async def find_buckets(self, names: Sequence[str]) -> dict[str, BucketRow]: ...

    async def list_buckets(self, owner_id: UserId) -> list[BucketRow]:
        """By name; without their notification configurations."""

    async def buckets_notifying(self, owner_id: UserId, destination: str) -> list[BucketRow]:
        """The same, of those whose notification configurations name a destination."""

    async def list_objects(
        self,
        bucket_id: BucketId,
        *,
        prefix: bytes,
        delimiter: bytes,
        after: bytes,
        max_keys: int,
    ) -> ListedKeys: ...

    async def replicas_of(
        self, bundle_ids: Sequence[BundleId]
    ) -> dict[BundleId, tuple[NodeId, ...]]: ...

    async def find_upload(self, upload_id: UploadId) -> UploadRow | None: ...

    async def list_parts(
        self, upload_id: UploadId, *, after: int, max_parts: int
    ) -> list[PartRow]: ...

    async def part_manifests(
        self, upload_id: UploadId, part_numbers: Sequence[int]
    ) -> dict[int, Manifest]: ...

    async def list_uploads(
        self,
        bucket_id: BucketId,
        *,
        prefix: bytes,
        delimiter: bytes,
        key_after: bytes,
        upload_after: bytes,
        max_uploads: int,
    ) -> tuple[list[UploadRow], list[bytes], bool]:
        """(open uploads by key and id, common prefixes, truncated): both count as `max_uploads`.

        Those after (key_after, upload_after); without `upload_after`, after all of that key's.
        Common prefixes as in `ListedKeys`. May be short although truncated.
        """

    async def find_key(self, access_key: str) -> tuple[KeyRow, UserRow] | None: ...

    async def find_user(self, name: str) -> UserRow | None: ...

    async def list_keys(self, user_id: UserId) -> list[KeyRow]: ...

    async def find_async(self, upload_id: UploadId) -> str | None: ...

    async def seal_states(
        self, seals: Mapping[SealId, Sequence[BundleId]]
    ) -> dict[SealId, SealState]: ...

    async def clock_us(self) -> int:
        """The database's clock: deadlines are in its time."""

    async def audit_blocks(
        self, stream: str, first_position: int, *, limit: int
    ) -> list[AuditBlock]:
        """At most `limit` blocks in order, the first one that which holds `first_position`.

        What left the database comes from the archive, a range at a time, if the reader has one;
        without it the first block may begin behind `first_position`. Empty: there is no more.
        """

    async def archive_head(self, stream: str) -> ArchiveHead: ...

    async def checkpoints(
        self, stream: str, first_number: int, *, limit: int
    ) -> list[StoredCheckpoint]:
        """At most `limit` checkpoints in the order of their numbers, from `first_number` on."""

    async def last_checkpoint(self, stream: str) -> StoredCheckpoint | None: ...

    async def audit_keys(self) -> list[tuple[bytes, int]]:
        """(public key, time of its first signature in µs) of every key that signed, in order."""

    async def audit_page(
        self, stream: str, first_position: int, *, limit: int, bytes_max: int
    ) -> list[AuditBlock]:
        """As `audit_blocks`; all but the last one have less than `bytes_max` together."""

    async def audit_head(self, stream: str) -> SequencerHead: ...

    async def holds_anything(self) -> bool:
        """Tell whether there is any audited row, or any audit record, numbered or pending."""

    async def pending_audit(self, *, limit: int) -> list[tuple[bytes, int, bytes]]:
        """(block id, stamp, payload) of every pending block, one snapshot, by (stamp, block id)."""

    async def bucket_sequences(self, bucket_ids: Sequence[BucketId]) -> dict[BucketId, int]:
        """The next sequence of each bucket that has one; `chain.SYSTEM_STREAM` is a bucket here."""

    async def lane_positions(
        self, lanes: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], LanePosition]:
        """Every lane asked; one that nobody moved yet has turn 0 and no offset."""

    async def node_intents(self) -> dict[NodeId, tuple[str, float]]: ...

    async def holds(self) -> list[HoldRow]:
        """Every hold, also those that have run out, by the position from which on they keep."""

    async def usage_of(self, bucket_ids: Sequence[BucketId]) -> dict[BucketId, tuple[int, int]]:
        """(objects, bytes) of each bucket, about a second old; a missing one holds nothing yet."""
