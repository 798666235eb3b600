"""One transaction over a view of dictionaries, and what may go wrong in it."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fileflux.core.clock import Clock
from fileflux.core.errors import LaneLost
from fileflux.core.ids import BucketId, BundleId, SealId
from fileflux.metadata.audit_record import pending_block
from fileflux.metadata.memory_loads import load_rows
from fileflux.metadata.memory_tables import MemoryView, SerializationFailure
from fileflux.metadata.ports import (
    ArchiveHead,
    AuditBlock,
    LanePosition,
    SealingRows,
    SequencerHead,
    StoredCheckpoint,
)
from fileflux.metadata.rows import Footprint, ReplicaRow, Rows, Settlement, Writes


@dataclass(slots=True)
class MemoryFaults:
    """What goes wrong. Rates are chances from 0 to 1; tests change them while the database runs.

    `serialization_failures`: per statement and per commit. `ambiguous_commits`: per commit; half of
    them apply. `is_down`: nothing answers. `clock_offset_us`: how far the database's clock is off.
    """

    rng: random.Random = field(default_factory=lambda: random.Random(0))
    serialization_failures: float = 0.0
    ambiguous_commits: float = 0.0
    is_down: bool = False
    clock_offset_us: int = 0

    def happens(self, rate: float) -> bool:
        return rate > 0 and self.rng.random() < rate

    def database_us(self, clock: Clock) -> int:
        """Return what the database's clock says."""
        return clock.now_us() + self.clock_offset_us


class ConnectionBroken(Exception):
    """The connection broke before anything was committed."""


def put_writes(view: MemoryView, writes: Writes) -> None:
    """Store what `apply` wants stored."""
    for write in writes.rows.values():
        view.put(write.table, write.key, write.row)
    for floor in writes.floors:
        view.put("floors", (floor.table, floor.key), floor)
    for bundle in writes.bundles_live:
        view.put("bundles", (bundle.bundle_id,), bundle)
    for taken in writes.garbage_taken:
        view.remove("garbage", taken)
    for garbage in writes.garbage:
        row = replace(garbage, at_us=garbage.at_us or writes.stamp)
        view.put("garbage", (garbage.bundle_id, garbage.dropped_by), row)
    block = pending_block(writes)
    if block is not None:
        block_id, payload = block
        view.put("audit_pending", (block_id,), (block_id, writes.stamp, payload))


class MemoryTransaction:
    """The port `Transaction` over one view."""

    def __init__(self, view: MemoryView, faults: MemoryFaults, clock: Clock) -> None:
        self._view = view
        self._faults = faults
        self._clock = clock

    async def statement(self) -> None:
        """Let others run, then fail if it is time to."""
        await asyncio.sleep(0)
        if self._faults.is_down:
            raise ConnectionBroken
        if self._faults.happens(self._faults.serialization_failures):
            raise SerializationFailure

    async def load_settlements(self, seal_ids: Sequence[SealId]) -> dict[SealId, Settlement]:
        await self.statement()
        found = {seal_id: self._view.get("settlements", (seal_id,)) for seal_id in seal_ids}
        return {seal_id: row for seal_id, row in found.items() if row is not None}

    async def load_rows(self, footprint: Footprint) -> Rows:
        await self.statement()
        return load_rows(self._view, footprint, clock_us=self._faults.database_us(self._clock))

    async def load_replicas(
        self, bundle_ids: Sequence[BundleId]
    ) -> dict[BundleId, tuple[ReplicaRow, ...]]:
        await self.statement()
        found = {
            bundle_id: tuple(row for _, row in self._view.begins_with("replicas", bundle_id))
            for bundle_id in bundle_ids
        }
        return {bundle_id: rows for bundle_id, rows in found.items() if rows}

    async def load_bundle_states(self, bundle_ids: Sequence[BundleId]) -> dict[BundleId, str]:
        await self.statement()
        found = {bundle_id: self._view.get("bundles", (bundle_id,)) for bundle_id in bundle_ids}
        return {bundle_id: row.state for bundle_id, row in found.items() if row is not None}

    async def load_sealing(
        self, seal_ids: Sequence[SealId], bundle_ids: Sequence[BundleId], footprint: Footprint
    ) -> SealingRows:
        return SealingRows(
            await self.load_settlements(seal_ids),
            await self.load_replicas(bundle_ids),
            await self.load_bundle_states(bundle_ids),
            await self.load_rows(footprint),
        )

    async def clock_us(self) -> int:
        await self.statement()
        return self._faults.database_us(self._clock)

    async def store_writes(self, writes: Writes) -> None:
        await self.statement()
        put_writes(self._view, writes)

    async def store_settlements(self, settlements: Sequence[Settlement]) -> None:
        await self.statement()
        for settlement in settlements:
            if self._view.get("settlements", (settlement.seal_id,)) is not None:
                raise SerializationFailure
            self._view.put("settlements", (settlement.seal_id,), settlement)

    async def store_replicas(self, replicas: Sequence[ReplicaRow]) -> None:
        await self.statement()
        for replica in replicas:
            self._view.put("replicas", (replica.bundle_id, replica.node_id), replica)

    async def move_positions(
        self, before: Sequence[LanePosition], after: Sequence[LanePosition]
    ) -> None:
        await self.statement()
        assert [p.turn + 1 for p in before] == [p.turn for p in after], "a turn at a time"
        for position in before:
            stored = self._view.get("positions", (position.topic, position.partition))
            if (stored.turn if stored else 0) != position.turn:
                raise LaneLost(f"{position.topic}/{position.partition}: turn {position.turn}")
        for position in after:
            self._view.put("positions", (position.topic, position.partition), position)

    async def move_head(self, before: SequencerHead, after: SequencerHead) -> None:
        await self.statement()
        assert before.turn + 1 == after.turn, "a turn at a time"
        stored = self._view.get("heads", (before.stream,))
        if (stored.turn if stored else 0) != before.turn:
            raise LaneLost(f"{before.stream}: turn {before.turn}")
        self._view.put("heads", (after.stream,), after)

    async def number_pending(
        self, block_ids: Sequence[bytes], block: AuditBlock, sequences: Mapping[BucketId, int]
    ) -> None:
        await self.statement()
        for block_id in block_ids:
            if self._view.get("audit_pending", (block_id,)) is None:
                raise LaneLost(f"{block.stream}: a pending block is numbered already")
            self._view.remove("audit_pending", (block_id,))
        self._view.put("audit_blocks", (block.stream, block.first_position), block)
        for bucket_id, sequence in sequences.items():
            self._view.put("sequences", (bucket_id,), sequence)

    async def move_archive_head(self, before: ArchiveHead, after: ArchiveHead) -> None:
        await self.statement()
        assert before.turn + 1 == after.turn, "a turn at a time"
        stored = self._view.get("archive_heads", (before.stream,))
        if (stored.turn if stored else 0) != before.turn:
            raise LaneLost(f"{before.stream}: archive turn {before.turn}")
        self._view.put("archive_heads", (after.stream,), after)

    async def drop_blocks(self, stream: str, first: int, end: int) -> None:
        await self.statement()
        for key, block in self._view.begins_with("audit_blocks", stream):
            if first <= block.first_position < end:
                self._view.remove("audit_blocks", key)

    async def add_checkpoint(
        self, checkpoint: StoredCheckpoint, *, public_key: bytes, at_us: int
    ) -> None:
        await self.statement()
        key = (checkpoint.stream, checkpoint.number)
        if self._view.get("checkpoints", key) is not None:
            raise LaneLost(f"{checkpoint.stream}: somebody else signed number {checkpoint.number}")
        self._view.put("checkpoints", key, checkpoint)
        if self._view.get("audit_keys", (public_key,)) is None:
            self._view.put("audit_keys", (public_key,), (public_key, at_us))

    async def forget(self, first: bytes, end: bytes, *, before_us: int) -> None:
        await self.statement()
        settled = self._view.where(
            "settlements", lambda key, row: first <= key[0] < end and row.settled_us < before_us
        )
        floors = self._view.where(
            "floors", lambda key, row: first <= key[1] < end and row.stamp < before_us
        )
        for table, rows in (("settlements", settled), ("floors", floors)):
            for key, _ in rows:
                self._view.remove(table, key)

    async def add_usage(self, usage: Mapping[BucketId, tuple[int, int]]) -> None:
        await self.statement()
        for bucket_id, (objects, size) in usage.items():
            stored = self._view.get("usage", (bucket_id,)) or (0, 0)
            self._view.put("usage", (bucket_id,), (stored[0] + objects, stored[1] + size))
