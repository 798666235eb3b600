"""Writers' door on a database that speaks PostgreSQL's protocol, CockroachDB's too.

The one place where a transaction is run again: after a serialization failure from its BEGIN, with
jitter; after a commit whose answer got lost only when `settled` says that it did not apply. A
connection that was interrupted is closed, never reused.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from fileflux.core.errors import MetadataBusy, SettlementUnknown, Unavailable
from fileflux.core.telemetry import (
    DATABASE_AMBIGUOUS,
    DATABASE_RETRIES,
    DATABASE_TRANSACTIONS,
    get_logger,
)
from fileflux.metadata.ports import Transaction
from fileflux.metadata.postgres_pool import LOST, Connection, Connections, open_connections
from fileflux.metadata.postgres_reader import PostgresReader
from fileflux.metadata.postgres_tx import BEGIN, PostgresTransaction

log = get_logger(__name__)
T = TypeVar("T")

RETRIED_SQLSTATES: Final = frozenset({"40001", "40P01"})
RETRIED_CLASSES: Final = frozenset({"CR", "25", "53", "55", "57", "58"})
"""CockroachDB's restarts; read-only, out of resources, in use, operator, system: not our fault."""
AMBIGUOUS_SQLSTATE: Final = "40003"
UNIQUE: Final = "23505"
UNIQUE_RETRIES_MAX: Final = 3
"""Somebody settled the seal or took the name since we read: the next attempt sees it."""
BACKOFF_S_MIN: Final = 0.002
BACKOFF_S_MAX: Final = 0.5
SETTLED_TIMEOUT_S: Final = 3.0
"""Beyond the deadline, to ask what became of a commit that was cut off by it."""


class _Restart(Exception):  # It is a turn of the loop, not an error.
    """The attempt did not apply and may be made again. `cause`: a SQLSTATE, or `lost`."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class _Ambiguous(Exception):
    """Nobody told whether the commit applied."""


@dataclass(slots=True)
class _Phase:
    is_committing: bool = False


class PostgresDatabase:
    """The port `Database`."""

    def __init__(self, connections: Connections, *, rng: random.Random) -> None:
        self._connections = connections
        self._rng = rng

    async def run(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        settled: Callable[[], Awaitable[T | None]] | None = None,
        deadline_s: float = 10.0,
    ) -> T:
        deadline = asyncio.get_running_loop().time() + deadline_s
        causes: Counter[str] = Counter()
        while True:
            try:
                result = await self._attempt(work, deadline)
            except _Ambiguous as error:
                DATABASE_AMBIGUOUS.inc()
                found = await _ask(settled, deadline, error)
            except _Restart as restart:
                found = await self._after_restart(restart, causes, settled, deadline)
            else:
                DATABASE_TRANSACTIONS.inc()
                return result
            if found is not None:
                return found
            await self._back_off(causes.total(), deadline)

    async def close(self) -> None:
        await self._connections.close()

    async def _after_restart(
        self,
        restart: _Restart,
        causes: Counter[str],
        settled: Callable[[], Awaitable[T | None]] | None,
        deadline: float,
    ) -> T | None:
        causes[restart.cause] += 1
        DATABASE_RETRIES.labels(restart.cause).inc()
        if restart.cause != UNIQUE:
            return None
        if causes[UNIQUE] > UNIQUE_RETRIES_MAX and restart.__cause__ is not None:
            raise restart.__cause__
        # A commit thought lost may have come through after we had asked.
        return None if settled is None else await _ask(settled, deadline, restart)

    async def _back_off(self, attempts: int, deadline: float) -> None:
        pause_s = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2 ** min(attempts, 10))
        pause_s *= self._rng.uniform(0.5, 1.0)
        if asyncio.get_running_loop().time() + pause_s >= deadline:
            raise MetadataBusy("the transaction could not be committed in time")
        await asyncio.sleep(pause_s)

    async def _attempt(self, work: Callable[[Transaction], Awaitable[T]], deadline: float) -> T:
        phase = _Phase()
        try:
            async with asyncio.timeout_at(deadline):
                return await self._transact(work, phase)
        except TimeoutError as error:
            if phase.is_committing:
                raise _Ambiguous from error
            raise MetadataBusy("the database did not answer in time") from error

    async def _transact(self, work: Callable[[Transaction], Awaitable[T]], phase: _Phase) -> T:
        try:
            connection = await self._connections.take()
        except LOST as error:
            raise _Restart("lost") from error
        try:
            await connection.execute(BEGIN)
            transaction = PostgresTransaction(connection)
            result = await work(transaction)
            await transaction.flush()
            phase.is_committing = True
            status = await connection.execute("COMMIT")
            assert status == "COMMIT", "a failed statement was swallowed"
        except Exception as error:
            await self._roll_back(connection)
            raise _explained(error, phase) from error
        except BaseException:
            await self._connections.abandon(connection)
            raise
        await self._connections.give_back(connection)
        return result

    async def _roll_back(self, connection: Connection) -> None:
        """End the transaction that failed; a connection that cannot even do that is closed."""
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except Exception as error:  # Closing ends the transaction as well.
            log.info("connection closed after a failed rollback", error=str(error))
            await self._connections.abandon(connection)
        except BaseException:
            await self._connections.abandon(connection)
            raise
        else:
            await self._connections.give_back(connection)


def _explained(error: Exception, phase: _Phase) -> Exception:
    """Return what the loop of `run` shall make of an attempt's failure."""
    sqlstate = getattr(error, "sqlstate", None) or ""
    if sqlstate in RETRIED_SQLSTATES or sqlstate.startswith("CR"):
        return _Restart(sqlstate)
    is_lost = isinstance(error, LOST) or sqlstate == AMBIGUOUS_SQLSTATE
    if phase.is_committing and is_lost:
        return _Ambiguous()
    if is_lost or sqlstate == UNIQUE or sqlstate[:2] in RETRIED_CLASSES:
        return _Restart(sqlstate or "lost")
    return error


async def _ask(
    settled: Callable[[], Awaitable[T | None]] | None, deadline: float, error: Exception
) -> T | None:
    """Ask what became of the commit until the database answers; raise SettlementUnknown."""
    if settled is None:
        raise SettlementUnknown("the commit's answer got lost") from error
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(max(deadline, loop.time()) + SETTLED_TIMEOUT_S):
            while True:
                try:
                    return await settled()
                except Unavailable:
                    await asyncio.sleep(BACKOFF_S_MAX / 5)
    except TimeoutError as late:
        raise SettlementUnknown("the database cannot be asked what was committed") from late


__all__ = ["Connections", "PostgresDatabase", "PostgresReader", "open_connections"]
