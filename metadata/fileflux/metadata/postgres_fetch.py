"""One statement outside of any transaction: how every reader asks.

At the session's default isolation it is one snapshot, without locks that a writer could trip over.
A read whose connection broke is asked once more.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from fileflux.core.errors import MetadataBusy
from fileflux.metadata.postgres_pool import LOST, Connections
from fileflux.metadata.queries import statement

READ_TIMEOUT_S: Final = 5.0

Records = list[asyncpg.Record]


class StatementReader:
    """What readers are built on."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def _fetch(self, name: str, *arguments: Any) -> Records:
        """Run a statement; raise MetadataBusy when the database does not answer."""
        try:
            return await self._fetch_once(name, arguments)
        except (*LOST, asyncpg.SerializationError):
            pass
        try:
            return await self._fetch_once(name, arguments)
        except (*LOST, asyncpg.SerializationError) as error:
            raise MetadataBusy(f"{name}: the database does not answer") from error

    async def _fetch_once(self, name: str, arguments: Sequence[Any]) -> Records:
        async with asyncio.timeout(READ_TIMEOUT_S):
            connection = await self._connections.take()
            try:
                found = await connection.fetch(statement(name), *arguments)
            except asyncpg.PostgresError:
                await self._connections.give_back(connection)
                raise
            except BaseException:
                await self._connections.abandon(connection)
                raise
            await self._connections.give_back(connection)
            return found
