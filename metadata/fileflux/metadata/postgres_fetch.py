"""One statement outside of any transaction: how every reader asks.

At the session's default isolation it is one snapshot, without locks that a writer could trip over.
A read whose connection broke is asked once more.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from fileflux.core.errors import Invalid, MetadataBusy
from fileflux.metadata.postgres_pool import LOST, Connections
from fileflux.metadata.queries import statement

READ_TIMEOUT_S: Final = 5.0

Records = list[asyncpg.Record]


class ArgumentRefused(Invalid):
    """A value that its column's type cannot hold, in a question that is nobody else's."""

    code = "InvalidArgument"


def is_storable(text: str) -> bool:
    """Tell whether a TEXT can hold it. A name that it cannot hold is the name of nothing.

    Asked before a statement, since the database would refuse all that share it.
    """
    try:
        return b"\x00" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


class StatementReader:
    """What readers are built on."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def _fetch(self, name: str, *arguments: Any) -> Records:
        """Run a statement; raise MetadataBusy when the database does not answer.

        Raise ArgumentRefused for what its type cannot hold: reads compute nothing else.
        """
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
            except asyncpg.DataError as error:
                await self._connections.give_back(connection)
                raise ArgumentRefused(f"{name}: {type(error).__name__}") from error
            except asyncpg.PostgresError:
                await self._connections.give_back(connection)
                raise
            except BaseException:
                await self._connections.abandon(connection)
                raise
            await self._connections.give_back(connection)
            return found
