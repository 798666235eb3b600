"""One attempt of a transaction: reads go to the database, writes wait and go together.

Writes are kept until the commit (or until a read might miss one) and then sent as one statement:
two round trips and the commit are what a usual write costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fileflux.core.errors import LaneLost
from fileflux.core.ids import BucketId, BundleId, SealId
from fileflux.metadata.audit_record import pending_block
from fileflux.metadata.ports import (
    ArchiveHead,
    AuditBlock,
    LanePosition,
    SealingRows,
    SequencerHead,
    StoredCheckpoint,
)
from fileflux.metadata.postgres_loads import FootprintLoader
from fileflux.metadata.postgres_pool import Connection
from fileflux.metadata.queries import statement, together
from fileflux.metadata.rows import Footprint, ReplicaRow, Rows, Settlement, Writes
from fileflux.metadata.rows_codec import replica_row, settlement_row
from fileflux.metadata.rows_columns import (
    columns_of,
    garbage_columns,
    key_columns,
    put_columns,
    settlement_columns,
)
from fileflux.metadata.sealing_found import SealingFound

BEGIN = "BEGIN ISOLATION LEVEL SERIALIZABLE"


@dataclass(frozen=True, slots=True)
class _Write:
    """A named statement that waits. `expected`: rows that must come back, or it is LaneLost."""

    name: str
    table: str
    arguments: Sequence[Any]
    expected: int | None = None


class PostgresTransaction:
    """The port `Transaction` on one connection, between BEGIN and COMMIT."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writes: list[_Write] = []
        self._replicas: list[ReplicaRow] = []

    async def load_settlements(self, seal_ids: Sequence[SealId]) -> dict[SealId, Settlement]:
        await self.flush()
        found = await self._fetch("load_settlements", list(seal_ids))
        return {record["seal_id"]: settlement_row(record) for record in found}

    async def load_rows(self, footprint: Footprint) -> Rows:
        return (await self.load_sealing((), (), footprint)).rows

    async def load_replicas(
        self, bundle_ids: Sequence[BundleId]
    ) -> dict[BundleId, tuple[ReplicaRow, ...]]:
        await self.flush()
        replicas: dict[BundleId, tuple[ReplicaRow, ...]] = {}
        for record in await self._fetch("load_replicas", list(bundle_ids)):
            replica = replica_row(record)
            replicas[replica.bundle_id] = (*replicas.get(replica.bundle_id, ()), replica)
        return replicas

    async def load_bundle_states(self, bundle_ids: Sequence[BundleId]) -> dict[BundleId, str]:
        await self.flush()
        found = await self._fetch("load_bundle_states", list(bundle_ids))
        return {record["bundle_id"]: record["state"] for record in found}

    async def load_sealing(
        self, seal_ids: Sequence[SealId], bundle_ids: Sequence[BundleId], footprint: Footprint
    ) -> SealingRows:
        if self._writes:
            await self.flush()
        keys = list(footprint.objects | footprint.sources)
        records = await self._fetch(
            "load_sealing",
            list(seal_ids),
            list(bundle_ids),
            list(footprint.bucket_ids),
            [bucket_id for bucket_id, _ in keys],
            [key for _, key in keys],
        )
        found = SealingFound(records)
        self._overlay_replicas(found.replicas, bundle_ids)
        await FootprintLoader(self._connection, found.rows).load(footprint)
        replicas = {bundle_id: tuple(rows) for bundle_id, rows in found.replicas.items()}
        return SealingRows(found.settlements, replicas, found.bundle_states, found.rows)

    def _overlay_replicas(
        self, replicas: dict[BundleId, list[ReplicaRow]], bundle_ids: Sequence[BundleId]
    ) -> None:
        """Put the replicas that wait to be written in place of those that were read."""
        wanted = set(bundle_ids)
        for replica in self._replicas:
            if replica.bundle_id in wanted:
                rows = replicas.setdefault(replica.bundle_id, [])
                rows[:] = [row for row in rows if row.node_id != replica.node_id]
                rows.append(replica)

    async def clock_us(self) -> int:
        clock_us: int = await self._connection.fetchval(statement("load_clock"))
        return clock_us

    async def store_writes(self, writes: Writes) -> None:
        self._store_rows(writes)
        if writes.floors:
            self._add("put_floors", "floors", _floor_columns(writes))
        if writes.bundles_live:
            columns = columns_of(
                writes.bundles_live,
                *("bundle_id", "size_class", "state", "wanted", "size", "crc", "at_us"),
            )
            self._add("put_bundles", "bundles", columns)
        if writes.garbage_taken:
            self._add("delete_garbage", "garbage", key_columns(writes.garbage_taken))
        if writes.garbage:
            self._add("put_garbage", "garbage", garbage_columns(writes.garbage, writes.stamp))
        block = pending_block(writes)
        if block is not None:
            self._add("add_audit_pending", "audit_pending", (block[0], writes.stamp, block[1]))

    def _store_rows(self, writes: Writes) -> None:
        puts: dict[str, list[object]] = {}
        deletes: dict[str, list[tuple[object, ...]]] = {}
        for write in writes.rows.values():
            if write.row is None:
                deletes.setdefault(write.table, []).append(write.key)
            else:
                puts.setdefault(write.table, []).append(write.row)
        # First what goes: a name that moves to another row is unique.
        for table, keys in deletes.items():
            self._add(f"delete_{table}", table, key_columns(keys))
        for table, rows in puts.items():
            self._add(f"put_{table}", table, put_columns(table, rows))

    async def store_settlements(self, settlements: Sequence[Settlement]) -> None:
        if settlements:
            self._add("add_settlements", "settlements", settlement_columns(settlements))

    async def store_replicas(self, replicas: Sequence[ReplicaRow]) -> None:
        self._replicas += replicas

    async def move_positions(
        self, before: Sequence[LanePosition], after: Sequence[LanePosition]
    ) -> None:
        assert [p.turn + 1 for p in before] == [p.turn for p in after], "a turn at a time"
        if after:
            columns = columns_of(
                after, "topic", "partition", "turn", "offset", "before_us", "before_crc"
            )
            self._add("move_positions", "positions", columns, expected=len(after))

    async def move_head(self, before: SequencerHead, after: SequencerHead) -> None:
        assert before.turn + 1 == after.turn, "a turn at a time"
        arguments = (after.stream, after.turn, after.next_position, after.chain_hash)
        self._add("move_head", "sequencer_heads", arguments, expected=1)

    async def number_pending(
        self, block_ids: Sequence[bytes], block: AuditBlock, sequences: Mapping[BucketId, int]
    ) -> None:
        stored = (block.stream, block.first_position, block.count, block.payload, block.chain_hash)
        self._add("add_audit_block", "audit_blocks", stored, expected=1)
        columns = [list(sequences), list(sequences.values())]
        self._add("put_bucket_sequences", "bucket_sequences", columns)
        ids = list(block_ids)
        self._add("delete_audit_pending", "audit_pending", [ids], expected=len(ids))

    async def move_archive_head(self, before: ArchiveHead, after: ArchiveHead) -> None:
        assert before.turn + 1 == after.turn, "a turn at a time"
        reached = (after.stream, after.turn, after.next_position, after.chain_hash)
        arguments = (*reached, after.kept_from, after.next_checkpoint)
        self._add("move_archive_head", "archive_heads", arguments, expected=1)

    async def drop_blocks(self, stream: str, first: int, end: int) -> None:
        self._add("drop_audit_blocks", "audit_blocks", (stream, first, end))

    async def add_checkpoint(
        self, checkpoint: StoredCheckpoint, *, public_key: bytes, at_us: int
    ) -> None:
        named = (checkpoint.stream, checkpoint.number)
        arguments = (*named, checkpoint.position, checkpoint.line)
        self._add("add_checkpoint", "audit_checkpoints", arguments, expected=1)
        self._add("add_audit_key", "audit_keys", (public_key, at_us))

    async def forget(self, first: bytes, end: bytes, *, before_us: int) -> None:
        self._add("forget_settlements", "settlements", (first, end, before_us))
        self._add("forget_floors", "floors", (first, end, before_us))

    async def add_usage(self, usage: Mapping[BucketId, tuple[int, int]]) -> None:
        if usage:
            objects, sizes = zip(*usage.values(), strict=True)
            self._add("add_usage", "usage", [list(usage), list(objects), list(sizes)])

    async def flush(self) -> None:
        """Send the writes that wait, at most one per table and statement."""
        if self._replicas:
            self._add("put_replicas", "replicas", _replica_columns(self._replicas))
            self._replicas = []
        while self._writes:
            batch, self._writes = _first_of_each_table(self._writes)
            names = tuple(write.name for write in batch)
            arguments = [argument for write in batch for argument in write.arguments]
            counts = await self._connection.fetchrow(together(names), *arguments)
            assert counts is not None, "a SELECT of counts has one row"
            for write, count in zip(batch, counts.values(), strict=True):
                if write.expected is not None and count != write.expected:
                    raise LaneLost(f"{write.name}: {count} of {write.expected} rows were ours")

    def _add(
        self, name: str, table: str, arguments: Sequence[Any], expected: int | None = None
    ) -> None:
        self._writes.append(_Write(name, table, arguments, expected))

    async def _fetch(self, name: str, *arguments: Any) -> list[Any]:
        return await self._connection.fetch(statement(name), *arguments)


def _first_of_each_table(writes: list[_Write]) -> tuple[list[_Write], list[_Write]]:
    """Split off what one statement may hold: nothing overtakes a write of its own table."""
    first: dict[str, _Write] = {}
    later = []
    for write in writes:
        if write.table in first:
            later.append(write)
        else:
            first[write.table] = write
    return list(first.values()), later


def _floor_columns(writes: Writes) -> list[list[Any]]:
    return columns_of(writes.floors, "table", "key", "stamp")


def _replica_columns(replicas: Sequence[ReplicaRow]) -> list[list[Any]]:
    """The last confirmation of a bundle by a node, each once: an upsert takes no row twice."""
    latest = {(replica.bundle_id, replica.node_id): replica for replica in replicas}
    rows = list(latest.values())
    return columns_of(rows, "bundle_id", "node_id", "epoch", "size", "crc")
