"""What the pipeline's own processes, and who waits for them, read of the database."""

from collections.abc import Mapping, Sequence

from fileflux.core.ids import BucketId, BundleId, NodeId, SealId
from fileflux.metadata.archive_blocks import first_archive_head, with_archived
from fileflux.metadata.chain import first_head
from fileflux.metadata.ports import (
    ArchiveHead,
    AuditBlock,
    BlockArchive,
    LanePosition,
    SealState,
    SequencerHead,
    StoredCheckpoint,
)
from fileflux.metadata.postgres_fetch import StatementReader
from fileflux.metadata.postgres_pool import Connections
from fileflux.metadata.rows import HoldRow
from fileflux.metadata.rows_codec import hold_row, settlement_row


class PipelineReader(StatementReader):
    """Settlements, positions, the audit stream, intent, usage.

    `archive`: where blocks are that left the database.
    """

    def __init__(self, connections: Connections, archive: BlockArchive | None = None) -> None:
        super().__init__(connections)
        self._archive = archive

    async def seal_states(
        self, seals: Mapping[SealId, Sequence[BundleId]]
    ) -> dict[SealId, SealState]:
        bundle_ids = list({bundle_id for bundles in seals.values() for bundle_id in bundles})
        settlements = {}
        nodes: dict[BundleId, set[NodeId]] = {bundle_id: set() for bundle_id in bundle_ids}
        for found in await self._fetch("seal_states", list(seals), bundle_ids):
            if found["seal_id"] is not None:
                settlements[found["seal_id"]] = settlement_row(found)
            else:
                nodes[found["bundle_id"]].add(found["node_id"])
        return {
            seal_id: SealState(
                settlement=settlements.get(seal_id),
                committed={bundle_id: frozenset(nodes[bundle_id]) for bundle_id in bundles},
            )
            for seal_id, bundles in seals.items()
        }

    async def clock_us(self) -> int:
        clock_us: int = (await self._fetch("load_clock"))[0]["clock_us"]
        return clock_us

    async def audit_blocks(
        self, stream: str, first_position: int, *, limit: int
    ) -> list[AuditBlock]:
        found = await self._fetch("audit_blocks", stream, first_position, limit)
        blocks = [AuditBlock(*record.values()) for record in found]
        return await with_archived(blocks, self, self._archive, stream, first_position)

    async def audit_page(
        self, stream: str, first_position: int, *, limit: int, bytes_max: int
    ) -> list[AuditBlock]:
        found = await self._fetch("audit_page", stream, first_position, limit, bytes_max)
        return [AuditBlock(*record.values()) for record in found]

    async def audit_head(self, stream: str) -> SequencerHead:
        found = await self._fetch("audit_head", stream)
        return SequencerHead(*found[0].values()) if found else first_head(stream)

    async def holds_anything(self) -> bool:
        return bool((await self._fetch("holds_anything"))[0]["holds"])

    async def archive_head(self, stream: str) -> ArchiveHead:
        found = await self._fetch("archive_head", stream)
        return ArchiveHead(*found[0].values()) if found else first_archive_head(stream)

    async def checkpoints(
        self, stream: str, first_number: int, *, limit: int
    ) -> list[StoredCheckpoint]:
        found = await self._fetch("checkpoints", stream, first_number, limit)
        return [StoredCheckpoint(*record.values()) for record in found]

    async def last_checkpoint(self, stream: str) -> StoredCheckpoint | None:
        found = await self._fetch("last_checkpoint", stream)
        return StoredCheckpoint(*found[0].values()) if found else None

    async def audit_keys(self) -> list[tuple[bytes, int]]:
        found = await self._fetch("audit_keys")
        return [(record["public_key"], record["first_us"]) for record in found]

    async def pending_audit(self, *, limit: int) -> list[tuple[bytes, int, bytes]]:
        found = await self._fetch("pending_audit", limit)
        return [(record["block_id"], record["stamp"], record["payload"]) for record in found]

    async def bucket_sequences(self, bucket_ids: Sequence[BucketId]) -> dict[BucketId, int]:
        found = await self._fetch("bucket_sequences", list(bucket_ids))
        return {record["bucket_id"]: record["next_sequence"] for record in found}

    async def lane_positions(
        self, lanes: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], LanePosition]:
        topics, partitions = zip(*lanes, strict=True) if lanes else ((), ())
        found = await self._fetch("lane_positions", list(topics), list(partitions))
        stored = {(record["topic"], record["lane"]): LanePosition(*record) for record in found}
        return {lane: stored.get(lane, LanePosition(*lane, turn=0, offset=None)) for lane in lanes}

    async def node_intents(self) -> dict[NodeId, tuple[str, float]]:
        found = await self._fetch("node_intents")
        return {record["node_id"]: (record["intent"], record["weight"]) for record in found}

    async def holds(self) -> list[HoldRow]:
        return [hold_row(found) for found in await self._fetch("holds")]

    async def usage_of(self, bucket_ids: Sequence[BucketId]) -> dict[BucketId, tuple[int, int]]:
        found = await self._fetch("usage_of", list(bucket_ids))
        return {record["bucket_id"]: (record["objects"], record["bytes"]) for record in found}
