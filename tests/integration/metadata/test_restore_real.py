"""A restore on PostgreSQL among people who write: their writes stay, and what is needed stays."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from tests.model.metadata_changes import ACTOR, Maker
from tests.model.rebuild_world import GivenRecords, number, rebuild, records_of, write
from tests.model.restore_world import living

from fileflux.core.changes import Change, Outcome
from fileflux.core.clock import SystemClock
from fileflux.metadata.digest import differences
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader
from fileflux.metadata.postgres_snapshot import open_snapshot
from fileflux.metadata.rebuild import Until
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.restore import Restore, Wanted
from fileflux.metadata.snapshot import MemorySnapshot

KEYS = [b"k%02d" % n for n in range(60)]


@asynccontextmanager
async def numbering(database: PostgresDatabase, reader: PostgresReader) -> AsyncIterator[None]:
    """Do the sequencer's work as long as the block runs."""

    ended = asyncio.Event()

    async def until_it_ends() -> None:
        while not ended.is_set():
            await number(database, reader)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(until_it_ends())
    try:
        yield
    finally:
        ended.set()
        await task
    await number(database, reader)


async def test_who_writes_while_a_restore_runs_keeps_what_was_written(
    migrated_dsn: str, database: PostgresDatabase, reader: PostgresReader
) -> None:
    maker, rng = Maker(4), random.Random(4)
    bucket = maker.bucket("among-writers")
    await write(database, maker.user(), bucket)
    await write(database, *(maker.put(bucket, key) for key in KEYS))
    await number(database, reader)
    position = (await reader.audit_head("main")).next_position - 1
    await write(database, *(maker.delete(bucket, key) for key in KEYS[::2]))
    await write(database, *(maker.put(bucket, key) for key in KEYS[1::4]))
    writer = DirectWriter(database, rng=rng)
    acknowledged = []

    class Beginning:
        """Says when the restore has begun: its hold is taken."""

        def __init__(self) -> None:
            self.has_begun = asyncio.Event()
            self._inner = DirectWriter(database, rng=rng)

        async def submit_together(self, *changes: Change) -> tuple[Outcome, ...]:
            outcomes = await self._inner.submit_together(*changes)
            self.has_begun.set()
            return outcomes

    restoring = Beginning()

    async def write_some() -> None:
        await restoring.has_begun.wait()
        for key in rng.sample(KEYS, 15):
            put = maker.put(bucket, key)
            assert (await writer.submit(put)).ok
            acknowledged.append(put)

    async with numbering(database, reader):
        run = Restore(
            reader, database, restoring, actor=ACTOR, clock=SystemClock(), rng=rng,
        )  # fmt: skip
        writing = [asyncio.create_task(write_some()) for _ in range(2)]
        done = await run.run(Wanted("among-writers", Until(position=position)))
        await asyncio.gather(*writing)
    assert done.counts.get("impossible", 0) == 0
    assert done.counts["create"] + done.counts["replace"] > 0

    records = await records_of(reader)
    last = {data_of(r).get("key"): data_of(r) for r in records if b'"RestoreVersion"' in r.payload
            or b'"PutObject"' in r.payload}  # fmt: skip
    for key in {put.key.decode() for put in acknowledged}:
        assert last[key]["operation"] == "PutObject", "a restore came after a client's write"
    twin = MemoryDatabase()
    await rebuild(GivenRecords(records), twin)
    async with open_snapshot(migrated_dsn) as snapshot:
        assert [one async for one in differences(snapshot, MemorySnapshot(twin))] == []
    connection = await asyncpg.connect(migrated_dsn)
    dropped = await connection.fetch("SELECT bundle_id, chunk_numbers FROM garbage")
    await connection.close()
    assert not {found["bundle_id"] for found in dropped} & {bundle for bundle, _ in living(twin)}
