"""The writers' port over dictionaries: for unit tests, the contract suite and the simulation.

It fails as the real one does, when it is told to: serialization failures, commits of which nobody
knows whether they applied, a database that is down. Which ones is decided by a seeded random.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.errors import MetadataBusy, SettlementUnknown, Unavailable
from fileflux.metadata.memory_tables import MemoryTables, MemoryView, SerializationFailure
from fileflux.metadata.memory_tx import ConnectionBroken, MemoryFaults, MemoryTransaction
from fileflux.metadata.ports import (
    Transaction,
)

T = TypeVar("T")

BACKOFF_S: Final = 0.01
BACKOFF_S_MAX: Final = 0.5


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
        return self.faults.database_us(self.clock)

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
            except (SerializationFailure, ConnectionBroken):
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
            transaction = MemoryTransaction(view, self.faults, self.clock)
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


__all__ = ["MemoryDatabase", "MemoryFaults", "MemoryTransaction"]
