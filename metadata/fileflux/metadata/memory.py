"""The writers' port over dictionaries: for unit tests, the contract suite and the simulation.

It fails as the real one does, when it is told to: serialization failures, commits of which nobody
knows whether they applied, a database that is down. Which ones is decided by a seeded random.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.errors import LaneLost, MetadataBusy, SettlementUnknown, Unavailable
from fileflux.core.ids import BucketId, BundleId, SealId
from fileflux.metadata.audit_record import pending_block
from fileflux.metadata.memory_loads import load_rows
from fileflux.metadata.memory_tables import MemoryTables, MemoryView, SerializationFailure
from fileflux.metadata.ports import (
    AuditBlock,
    LanePosition,
    SealingRows,
    SequencerHead,
    Transaction,
)
from fileflux.metadata.rows import Footprint, ReplicaRow, Rows, Settlement, Writes

T = TypeVar("T")

BACKOFF_S: Final = 0.01
BACKOFF_S_MAX: Final = 0.5


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


class _Down(Exception):
    """The connection broke before anything was committed."""


class _Ambiguous(Exception):
    """The connection broke during COMMIT."""


class MemoryDatabase:
    """The port `Database`. `MemoryReader(database)` reads it."""

    def __init__(self, clock: Clock | None = None, *, faults: MemoryFaults | None = None) -> None:
        self.clock = clock or SystemClock()
        self.faults = faults or MemoryFaults()
        self.tables = MemoryTables()
        self.attempts = 0

    def now_us(self) -> int:
        return self.clock.now_us() + self.faults.clock_offset_us

    async def run(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        settled: Callable[[], Awaitable[T | None]] | None = None,
        deadline_s: float = 10.0,
    ) -> T:
        deadline = self.clock.monotonic_s() + deadline_s
        backoff_s = BACKOFF_S
        while True:
            try:
                return await self._attempt(work)
            except _Ambiguous:
                answer = await self._ask(settled, deadline)
                if answer is not None:
                    return answer
            except (SerializationFailure, _Down):
                pass
            if self.clock.monotonic_s() >= deadline:
                raise MetadataBusy("the transaction's deadline has passed")
            await self.clock.sleep(backoff_s * self.faults.rng.random())
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    async def close(self) -> None:
        """Nothing to close."""

    async def _attempt(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        self.attempts += 1
        view = self.tables.open()
        try:
            transaction = MemoryTransaction(self, view)
            result = await work(transaction)
            await transaction.statement()
            self._commit(view)
            return result
        finally:
            view.close()

    def _commit(self, view: MemoryView) -> None:
        if not self.faults.happens(self.faults.ambiguous_commits):
            view.commit()
            return
        if self.faults.happens(0.5):
            view.commit()
        raise _Ambiguous

    async def _ask(
        self, settled: Callable[[], Awaitable[T | None]] | None, deadline: float
    ) -> T | None:
        """Return what came of an ambiguous commit, None if it did not apply."""
        while settled is not None:
            try:
                return await settled()
            except Unavailable:
                if self.clock.monotonic_s() >= deadline:
                    break
                await self.clock.sleep(BACKOFF_S)
        raise SettlementUnknown("nobody could say whether the transaction applied")


def put_writes(view: MemoryView, writes: Writes) -> None:
    """Store what `apply` wants stored."""
    for write in writes.rows.values():
        view.put(write.table, write.key, write.row)
    for floor in writes.floors:
        view.put("floors", (floor.table, floor.key), floor)
    for bundle in writes.bundles_live:
        view.put("bundles", (bundle.bundle_id,), bundle)
    for garbage in writes.garbage:
        view.put("garbage", (garbage.bundle_id, garbage.dropped_by), garbage)
    block = pending_block(writes)
    if block is not None:
        block_id, payload = block
        view.put("audit_pending", (block_id,), (block_id, writes.stamp, payload))


class MemoryTransaction:
    """The port `Transaction` over one view."""

    def __init__(self, database: MemoryDatabase, view: MemoryView) -> None:
        self._database = database
        self._view = view

    async def statement(self) -> None:
        """Let others run, then fail if it is time to."""
        await asyncio.sleep(0)
        faults = self._database.faults
        if faults.is_down:
            raise _Down
        if faults.happens(faults.serialization_failures):
            raise SerializationFailure

    async def load_settlements(self, seal_ids: Sequence[SealId]) -> dict[SealId, Settlement]:
        await self.statement()
        found = {seal_id: self._view.get("settlements", (seal_id,)) for seal_id in seal_ids}
        return {seal_id: row for seal_id, row in found.items() if row is not None}

    async def load_rows(self, footprint: Footprint) -> Rows:
        await self.statement()
        return load_rows(self._view, footprint, clock_us=self._database.now_us())

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
        return self._database.now_us()

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
