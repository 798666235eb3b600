"""Connections to a database that speaks PostgreSQL's protocol.

A connection that was interrupted inside a transaction is closed, never reused. On PostgreSQL the
session's planner prefers index look-ups: a SERIALIZABLE transaction that scans a small table locks
all of it, and every statement here is a look-up by key. CockroachDB gets no session setting.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast

import asyncpg

from fileflux.core.errors import MetadataBusy
from fileflux.core.telemetry import get_logger

log = get_logger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
STATEMENT_TIMEOUT_S: Final = 30.0
TELL_EVERY_S: Final = 10.0
POSTGRES_SETTINGS: Final[Mapping[str, str]] = {
    "application_name": "fileflux",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # Every statement is a look-up by key: planning it anew for each array costs more than it finds.
    "plan_cache_mode": "force_generic_plan",
}

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
REFUSED: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,  # A wrong password is one of them.
    asyncpg.InvalidCatalogNameError,
)
"""What a server says that lets us not in: a secret or a database is changed, restored, moved."""
LOST: Final = (
    *REFUSED,
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    # A server that dies says so on every connection; what is sent before asyncpg hears of the end
    # finds "another operation in progress".
    asyncpg.InternalClientError,
)
"""What says that the connection is gone, or that there was none to have."""


class Connections:
    """A bounded pool. Take one, give it back; what was interrupted is closed on its return."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, is_cockroach: bool) -> None:
        self._pool = pool
        self._told_s = -TELL_EVERY_S
        self.is_cockroach = is_cockroach

    async def take(self) -> Connection:
        """Return a connection nobody else has; raises what `LOST` lists."""
        try:
            taken = await self._pool.acquire(timeout=CONNECT_TIMEOUT_S)
        except REFUSED as error:
            self._tell(error)
            raise
        # The pool's proxy has the connection's methods, but no common type.
        return cast("Connection", taken)

    def _tell(self, error: Exception) -> None:
        """Only a person can change that; everybody who waits tries again until then."""
        now_s = time.monotonic()
        if now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            log.warning("the database lets nobody in; trying again", cause=str(error))

    async def give_back(self, connection: Connection) -> None:
        """Return it to the pool."""
        await self._pool.release(cast("Any", connection))  # Shields itself.

    async def abandon(self, connection: Connection) -> None:
        """Close it at once, whatever it is doing: its transaction rolls back on the server."""
        with contextlib.suppress(asyncpg.InterfaceError):  # It was lost, and left the pool itself.
            connection.terminate()
        await self.give_back(connection)

    async def close(self) -> None:
        """Close idle connections politely, busy ones after a moment. Idempotent."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


async def open_connections(dsn: str, *, size_max: int = 4) -> Connections:
    """Connect; raise MetadataBusy when the database cannot be reached.

    `size_max`: connections of this process. One more is used for a moment, to learn what it is.
    """
    try:
        is_cockroach = await _is_cockroach(dsn)
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size_max,
            max_inactive_connection_lifetime=0,
            max_cached_statement_lifetime=0,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_S,
            server_settings=None if is_cockroach else dict(POSTGRES_SETTINGS),
            reset=_no_reset,
        )
    except (*LOST, TimeoutError) as error:
        raise MetadataBusy(f"the database cannot be reached: {error}") from error
    return Connections(pool, is_cockroach=is_cockroach)


async def _is_cockroach(dsn: str) -> bool:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        version: str = await connection.fetchval("SELECT version()")
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)
    return "CockroachDB" in version


async def _no_reset(_connection: object) -> None:
    """Nothing is ever set on a session, so nothing has to be reset: a round trip less."""
