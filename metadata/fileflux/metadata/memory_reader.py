"""The readers' port over the dictionaries of a `MemoryDatabase`. Listings by the plainest way."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from fileflux.core.errors import MetadataBusy
from fileflux.core.ids import BucketId, BundleId, NodeId, SealId, UploadId, UserId
from fileflux.core.model import Manifest
from fileflux.metadata.archive_blocks import first_archive_head, with_archived
from fileflux.metadata.chain import first_head
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.notification import ENTRY, from_config
from fileflux.metadata.ports import (
    ArchiveHead,
    AuditBlock,
    BlockArchive,
    FoundObject,
    LanePosition,
    ListedKeys,
    SealState,
    SequencerHead,
    StoredCheckpoint,
)
from fileflux.metadata.rows import (
    AUDITED_TABLES,
    BucketRow,
    HoldRow,
    KeyRow,
    ObjectRow,
    PartRow,
    UploadRow,
    UserRow,
)


class MemoryReader:
    """The port `MetadataReader`. `archive`: where blocks are that left the database."""

    def __init__(self, database: MemoryDatabase, archive: BlockArchive | None = None) -> None:
        self._archive = archive
        self._database = database
        self._tables = database.tables

    async def find_objects(self, wanted: Sequence[tuple[str, bytes]]) -> list[FoundObject]:
        await self._statement()
        names = {bucket.name: bucket for bucket in self._buckets()}
        return [self._found(names.get(name), key) for name, key in wanted]

    def _found(self, bucket: BucketRow | None, key: bytes) -> FoundObject:
        row: ObjectRow | None = None
        if bucket is not None:
            row = self._tables.get("objects", (bucket.bucket_id, key))
        chunks = row.manifest.chunks if row is not None else ()
        replicas = {}
        if len(chunks) == 1:
            replicas = {chunks[0].bundle_id: self._nodes_of(chunks[0].bundle_id)}
        return FoundObject(bucket=bucket, row=row, replicas=replicas)

    async def find_buckets(self, names: Sequence[str]) -> dict[str, BucketRow]:
        await self._statement()
        return {bucket.name: bucket for bucket in self._buckets() if bucket.name in names}

    async def list_buckets(self, owner_id: UserId) -> list[BucketRow]:
        await self._statement()
        return [_without_notification(bucket) for bucket in self._owned(owner_id)]

    async def buckets_notifying(self, owner_id: UserId, destination: str) -> list[BucketRow]:
        await self._statement()
        return [
            _without_notification(bucket)
            for bucket in self._owned(owner_id)
            if any(part.destination == destination for part in from_config(bucket.config))
        ]

    async def list_objects(
        self, bucket_id: BucketId, *, prefix: bytes, delimiter: bytes, after: bytes, max_keys: int
    ) -> ListedKeys:
        await self._statement()
        page: dict[bytes, ObjectRow | None] = {}
        for _, key in self._tables.begins_with("objects", bucket_id):
            if not key.startswith(prefix) or key <= after:
                continue
            group = _group_of(key, prefix, delimiter)
            if group is None:
                page[key] = replace(
                    self._tables.get("objects", (bucket_id, key)), manifest=Manifest()
                )
            elif group != after:
                page[group] = None
        names = list(page)[:max_keys]
        return ListedKeys(
            rows=tuple(row for name in names if (row := page[name]) is not None),
            common_prefixes=tuple(name for name in names if page[name] is None),
            truncated=0 < max_keys < len(page),
            next_after=names[-1] if names else None,
        )

    async def replicas_of(
        self, bundle_ids: Sequence[BundleId]
    ) -> dict[BundleId, tuple[NodeId, ...]]:
        await self._statement()
        found = {bundle_id: self._nodes_of(bundle_id) for bundle_id in bundle_ids}
        return {bundle_id: nodes for bundle_id, nodes in found.items() if nodes}

    async def find_upload(self, upload_id: UploadId) -> UploadRow | None:
        await self._statement()
        upload: UploadRow | None = self._tables.get("uploads", (upload_id,))
        return upload

    async def list_parts(self, upload_id: UploadId, *, after: int, max_parts: int) -> list[PartRow]:
        await self._statement()
        return [part for part in self._parts(upload_id) if part.part_number > after][:max_parts]

    async def part_manifests(
        self, upload_id: UploadId, part_numbers: Sequence[int]
    ) -> dict[int, Manifest]:
        await self._statement()
        wanted = set(part_numbers)
        parts = (part for part in self._parts(upload_id) if part.part_number in wanted)
        return {part.part_number: part.manifest for part in parts}

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
        await self._statement()
        page: dict[tuple[bytes, bytes], UploadRow | None] = {}
        for upload in self._open_uploads(bucket_id, prefix):
            place = (upload.key, upload.upload_id)
            if place <= (key_after, upload_after) or (upload.key == key_after and not upload_after):
                continue
            group = _group_of(upload.key, prefix, delimiter)
            if group is None:
                page[place] = upload
            elif group != key_after:
                page[(group, b"")] = None
        places = list(page)[:max_uploads]
        uploads = [row for place in places if (row := page[place]) is not None]
        groups = [place[0] for place in places if page[place] is None]
        return uploads, groups, 0 < max_uploads < len(page)

    async def find_key(self, access_key: str) -> tuple[KeyRow, UserRow] | None:
        await self._statement()
        key: KeyRow | None = self._tables.get("access_keys", (access_key,))
        user = self._tables.get("users", (key.user_id,)) if key is not None else None
        return None if key is None or user is None else (key, user)

    async def find_user(self, name: str) -> UserRow | None:
        await self._statement()
        users: Iterable[UserRow] = self._tables.rows("users").values()
        return next((user for user in users if user.name == name), None)

    async def list_keys(self, user_id: UserId) -> list[KeyRow]:
        await self._statement()
        keys: Iterable[KeyRow] = self._tables.rows("access_keys").values()
        owned = [key for key in keys if key.user_id == user_id]
        return sorted(owned, key=lambda key: key.access_key)

    async def find_async(self, upload_id: UploadId) -> str | None:
        await self._statement()
        row = self._tables.get("async_uploads", (upload_id,))
        return row.state if row is not None else None

    async def seal_states(
        self, seals: Mapping[SealId, Sequence[BundleId]]
    ) -> dict[SealId, SealState]:
        await self._statement()
        return {
            seal_id: SealState(
                settlement=self._tables.get("settlements", (seal_id,)),
                committed={bundle: frozenset(self._nodes_of(bundle)) for bundle in bundles},
            )
            for seal_id, bundles in seals.items()
        }

    async def clock_us(self) -> int:
        await self._statement()
        return self._database.now_us()

    async def audit_blocks(
        self, stream: str, first_position: int, *, limit: int
    ) -> list[AuditBlock]:
        await self._statement()
        keys = self._tables.begins_with("audit_blocks", stream)
        blocks: list[AuditBlock] = [self._tables.get("audit_blocks", key) for key in keys]
        wanted = [block for block in blocks if block.first_position + block.count > first_position]
        return await with_archived(wanted[:limit], self, self._archive, stream, first_position)

    async def audit_page(
        self, stream: str, first_position: int, *, limit: int, bytes_max: int
    ) -> list[AuditBlock]:
        page: list[AuditBlock] = []
        for block in await self.audit_blocks(stream, first_position, limit=limit):
            if sum(len(taken.payload) for taken in page) >= bytes_max:
                break
            page.append(block)
        return page

    async def audit_head(self, stream: str) -> SequencerHead:
        await self._statement()
        head: SequencerHead | None = self._tables.get("heads", (stream,))
        return head or first_head(stream)

    async def holds_anything(self) -> bool:
        await self._statement()
        tables = (*AUDITED_TABLES, "audit_pending", "audit_blocks")
        return any(self._tables.rows(table) for table in tables)

    async def archive_head(self, stream: str) -> ArchiveHead:
        await self._statement()
        head: ArchiveHead | None = self._tables.get("archive_heads", (stream,))
        return head or first_archive_head(stream)

    async def checkpoints(
        self, stream: str, first_number: int, *, limit: int
    ) -> list[StoredCheckpoint]:
        await self._statement()
        keys = self._tables.begins_with("checkpoints", stream)
        return [self._tables.get("checkpoints", k) for k in keys if k[1] >= first_number][:limit]

    async def last_checkpoint(self, stream: str) -> StoredCheckpoint | None:
        stored = await self.checkpoints(stream, 1, limit=1 << 30)
        return stored[-1] if stored else None

    async def audit_keys(self) -> list[tuple[bytes, int]]:
        await self._statement()
        return sorted(self._tables.rows("audit_keys").values(), key=lambda key: (key[1], key[0]))

    async def pending_audit(self, *, limit: int) -> list[tuple[bytes, int, bytes]]:
        await self._statement()
        blocks: Iterable[tuple[bytes, int, bytes]] = self._tables.rows("audit_pending").values()
        return sorted(blocks, key=lambda block: (block[1], block[0]))[:limit]

    async def bucket_sequences(self, bucket_ids: Sequence[BucketId]) -> dict[BucketId, int]:
        await self._statement()
        found = {bucket_id: self._tables.get("sequences", (bucket_id,)) for bucket_id in bucket_ids}
        return {bucket_id: sequence for bucket_id, sequence in found.items() if sequence}

    async def lane_positions(
        self, lanes: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], LanePosition]:
        await self._statement()
        return {
            lane: self._tables.get("positions", lane) or LanePosition(*lane, turn=0, offset=None)
            for lane in lanes
        }

    async def node_intents(self) -> dict[NodeId, tuple[str, float]]:
        await self._statement()
        nodes = self._tables.rows("nodes").values()
        return {node.node_id: (node.intent, node.weight) for node in nodes}

    async def holds(self) -> list[HoldRow]:
        await self._statement()
        rows: list[HoldRow] = list(self._tables.rows("history_holds").values())
        return sorted(rows, key=lambda row: (row.from_position, row.hold_id))

    async def usage_of(self, bucket_ids: Sequence[BucketId]) -> dict[BucketId, tuple[int, int]]:
        await self._statement()
        found = {bucket_id: self._tables.get("usage", (bucket_id,)) for bucket_id in bucket_ids}
        return {bucket_id: usage for bucket_id, usage in found.items() if usage is not None}

    async def _statement(self) -> None:
        await asyncio.sleep(0)
        if self._database.faults.is_down:
            raise MetadataBusy("the database does not answer")

    def _buckets(self) -> list[BucketRow]:
        return list(self._tables.rows("buckets").values())

    def _owned(self, owner_id: UserId) -> list[BucketRow]:
        owned = [bucket for bucket in self._buckets() if bucket.owner_id == owner_id]
        return sorted(owned, key=lambda bucket: bucket.name)

    def _nodes_of(self, bundle_id: BundleId) -> tuple[NodeId, ...]:
        return tuple(node_id for _, node_id in self._tables.begins_with("replicas", bundle_id))

    def _parts(self, upload_id: UploadId) -> list[PartRow]:
        keys = self._tables.begins_with("parts", upload_id)
        return [self._tables.get("parts", key) for key in keys]

    def _open_uploads(self, bucket_id: BucketId, prefix: bytes) -> Iterator[UploadRow]:
        uploads: Iterable[UploadRow] = self._tables.rows("uploads").values()
        for upload in sorted(uploads, key=lambda upload: (upload.key, upload.upload_id)):
            if (
                upload.bucket_id == bucket_id
                and upload.state == "open"
                and upload.key.startswith(prefix)
            ):
                yield upload


def _group_of(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """Return the common prefix that stands for a key on a page, None if the key itself does."""
    head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (b"", b"", b"")
    return prefix + head + delimiter if found else None


def _without_notification(bucket: BucketRow) -> BucketRow:
    kept = {name: value for name, value in bucket.config.items() if name != ENTRY}
    return replace(bucket, config=kept)
