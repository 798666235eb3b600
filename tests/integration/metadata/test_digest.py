"""A digest is the same on every kind of database, whatever its collation and its pages."""

import pytest
from tests.model.metadata_changes import Maker
from tests.model.rebuild_world import GivenRecords, number, rebuild, records_of, storm, write

from fileflux.core.changes import CreateKey, SetNodeIntent
from fileflux.core.clock import SystemClock
from fileflux.core.ids import NodeId
from fileflux.metadata.digest import differences, digest_of
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader
from fileflux.metadata.postgres_snapshot import open_snapshot
from fileflux.metadata.rebuild import Rebuild
from fileflux.metadata.rebuild_target import RebuildTarget
from fileflux.metadata.snapshot import MemorySnapshot

NAMES = ("Zoe", "ada", "_x", "Ä", "a-b", "ab", "a_b", "é", "\U0001f600")
"""Text that collations order in ways of their own."""


async def test_a_database_and_its_twin_in_memory_have_one_digest(
    migrated_dsn: str,
    database: PostgresDatabase,
    reader: PostgresReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fileflux.metadata.postgres_snapshot.ROWS_PER_PAGE", 4)
    original, maker = MemoryDatabase(), Maker(7)
    await storm(original, MemoryReader(original), seed=5, count=60)
    for name in NAMES:
        base = maker._base()
        key = CreateKey(**base, user_id=base["actor"].user_id, access_key=name, secret=b"\x00\xff")
        await write(original, key)
        intent = SetNodeIntent(**maker._base(), node_id=NodeId(name), intent="drain", weight=0.5)
        await write(original, intent)
    await number(original, MemoryReader(original))
    records = await records_of(MemoryReader(original))
    twin = MemoryDatabase()
    await rebuild(GivenRecords(records), twin)
    target = RebuildTarget(database, reader)
    await Rebuild(GivenRecords(records), target, clock=SystemClock()).run()
    await target.finish()

    in_memory = await digest_of(MemorySnapshot(twin))
    async with open_snapshot(migrated_dsn) as snapshot:
        assert await digest_of(snapshot) == in_memory
        assert [d async for d in differences(snapshot, MemorySnapshot(original))] == []
        assert in_memory.tables["nodes"].rows == len(NAMES)
