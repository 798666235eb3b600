"""Rebuilds the system's database from its audit topic, beside it, and compares them row for row."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from fileflux.console.wiring import Surroundings, open_broker, open_metadata
from fileflux.core.clock import SystemClock
from fileflux.events.audit import last_event
from fileflux.events.topics import AUDIT
from fileflux.metadata.digest import differences, digest_of
from fileflux.metadata.migrate import migrate
from fileflux.metadata.postgres_snapshot import PostgresSnapshot, open_snapshot
from fileflux.metadata.rebuild import Rebuild, Until
from fileflux.metadata.rebuild_target import RebuildTarget
from fileflux.metadata.record_sources import TopicRecords

WITHIN_S: Final = 60.0
POLL_S: Final = 0.1
NAME: Final = "rebuilt_after_faults"
SHOWN_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Equality:
    """`records`: replayed. `rows`: of the original. `different`: the first rows that are not."""

    records: int
    rows: int
    different: list[str]


async def compare_rebuilt(found: Surroundings) -> Equality:
    """Rebuild up to a moment of the original at which everything was numbered."""
    async with _settled(found.database_url) as original:
        position = (await original.head()).next_position - 1
        await _until_published(found, position)
        async with _empty_database(found.database_url) as into:
            records = await _rebuild(found, into, position)
            async with open_snapshot(into) as rebuilt:
                ours, theirs = await digest_of(original), await digest_of(rebuilt)
                shown = [str(one) async for one in differences(original, rebuilt)]
    assert (ours.whole == theirs.whole) == (shown == []), "digest and comparison contradict"
    rows = sum(table.rows for table in ours.tables.values())
    return Equality(records, rows, shown[:SHOWN_MAX])


@asynccontextmanager
async def _settled(dsn: str) -> AsyncIterator[PostgresSnapshot]:
    """Canaries go on writing: take a moment between two of them."""
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        async with open_snapshot(dsn) as snapshot:
            if await snapshot.waiting() == 0:
                yield snapshot
                return
        assert time.monotonic() < deadline_s, "records wait for their number and nobody comes"
        await asyncio.sleep(POLL_S)


async def _until_published(found: Surroundings, position: int) -> None:
    async with open_broker(found) as broker, asyncio.timeout(WITHIN_S):
        lookup = await broker.lookup()
        while (last := await last_event(lookup)) is None or last.position < position:
            await asyncio.sleep(POLL_S)
        await lookup.close()


@asynccontextmanager
async def _empty_database(dsn: str) -> AsyncIterator[str]:
    """A migrated one on the same server, dropped at the end."""
    await _execute(dsn, f"CREATE DATABASE {NAME}")
    into = urlunsplit(urlsplit(dsn)._replace(path=f"/{NAME}"))
    try:
        await migrate(into, rng=random.SystemRandom())
        yield into
    finally:
        await _execute(dsn, f"DROP DATABASE {NAME} WITH (FORCE)")


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _rebuild(found: Surroundings, into: str, position: int) -> int:
    """Return how many records were replayed. No service starts on it, so no seal is waited for."""
    async with (
        open_metadata(replace(found, database_url=into)) as made,
        open_broker(found) as kafka,
    ):
        run = Rebuild(
            TopicRecords(await kafka.source([(AUDIT, 0)])),
            RebuildTarget(made.database, made.database_reader),
            clock=SystemClock(),
            until=Until(position=position),
        )
        return (await run.run()).records
