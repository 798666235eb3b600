"""The port `Snapshot` on a database: one read-only transaction, pages by key.

Text keys are ordered by their bytes, whatever the database's collation.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from fileflux.core.errors import MetadataBusy
from fileflux.metadata.chain import first_head
from fileflux.metadata.ports import SequencerHead
from fileflux.metadata.postgres_pool import CONNECT_TIMEOUT_S, LOST, Connection
from fileflux.metadata.queries import statement
from fileflux.metadata.row_keys import key_of
from fileflux.metadata.rows import BundleRow, FloorRow, Row
from fileflux.metadata.rows_codec import (
    async_row,
    bucket_row,
    hold_row,
    holder_row,
    key_row,
    node_row,
    object_row,
    part_row,
    replica_row,
    upload_row,
    user_row,
)
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.snapshot import Derived, SequenceRow, UsageRow

ROWS_PER_PAGE: Final = 1_000
PAGE_TIMEOUT_S: Final = 60.0


def _floor(found: Any) -> FloorRow:
    return FloorRow(table=found["table_name"], key=found["key"], stamp=found["stamp"])


def _usage(found: Any) -> UsageRow:
    return UsageRow(bucket_id=found["bucket_id"], objects=found["objects"], size=found["bytes"])


def _sequence(found: Any) -> SequenceRow:
    return SequenceRow(bucket_id=found["bucket_id"], next_sequence=found["next_sequence"])


_ROWS: Final[Mapping[str, Callable[[Any], Row]]] = {
    "buckets": bucket_row,
    "objects": object_row,
    "uploads": upload_row,
    "parts": part_row,
    "holders": holder_row,
    "users": user_row,
    "access_keys": key_row,
    "nodes": node_row,
    "async_uploads": async_row,
    "history_holds": hold_row,
}
_BEFORE_ALL: Final[Mapping[str, tuple[object, ...]]] = {
    **dict.fromkeys(_ROWS, (b"",)),
    "objects": (b"", b""),
    "parts": (b"", 0),
    "holders": (b"", b""),
}
"""Smaller than every key: ids have 16 bytes, names at least one."""


_DERIVED: Final[
    Mapping[str, tuple[tuple[object, ...], tuple[str, ...], Callable[[Any], Derived]]]
] = {
    "floors": (("", b""), ("table_name", "key"), _floor),
    "usage": ((b"",), ("bucket_id",), _usage),
    "sequences": ((b"",), ("bucket_id",), _sequence),
    "bundles": ((b"",), ("bundle_id",), lambda found: BundleRow(**dict(found.items()))),
    "replicas": ((b"", ""), ("bundle_id", "node_id"), replica_row),
}
"""Each table: what is smaller than every key, the key's columns, the row of a record."""


class PostgresSnapshot:
    """Made by `open_snapshot`, and gone with its block."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def head(self) -> SequencerHead:
        found = await self._fetch("audit_head", STREAM)
        return SequencerHead(*found[0].values()) if found else first_head(STREAM)

    async def waiting(self) -> int:
        return int((await self._fetch("page_pending"))[0]["waiting"])

    async def pages(self, table: str) -> AsyncIterator[Sequence[Row]]:
        after = _BEFORE_ALL[table]
        while found := await self._fetch(f"page_{table}", *after, ROWS_PER_PAGE):
            rows = [_ROWS[table](record) for record in found]
            yield rows
            if len(rows) < ROWS_PER_PAGE:
                return
            after = tuple(_as_bytes(value) for value in key_of(rows[-1])[1])

    async def pending(self) -> Mapping[bytes, bytes]:
        found = await self._fetch("page_pending_blocks")
        return {record["block_id"]: record["payload"] for record in found}

    async def derived(self, table: str) -> AsyncIterator[Sequence[Derived]]:
        after, keys, make = _DERIVED[table]
        while found := await self._fetch(f"page_{table}", *after, ROWS_PER_PAGE):
            yield [make(record) for record in found]
            if len(found) < ROWS_PER_PAGE:
                return
            after = tuple(found[-1][key] for key in keys)

    async def _fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        try:
            return await self._connection.fetch(statement(name), *arguments, timeout=PAGE_TIMEOUT_S)
        except (*LOST, TimeoutError) as error:
            raise MetadataBusy(f"{name}: the database does not answer") from error


@asynccontextmanager
async def open_snapshot(dsn: str) -> AsyncIterator[PostgresSnapshot]:
    """Connect and begin; raise MetadataBusy when the database cannot be reached."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    except (*LOST, TimeoutError) as error:
        raise MetadataBusy(f"the database cannot be reached: {error}") from error
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield PostgresSnapshot(connection)
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)


def _as_bytes(value: object) -> object:
    return value.encode() if isinstance(value, str) else value
