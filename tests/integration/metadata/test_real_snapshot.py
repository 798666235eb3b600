"""A snapshot of a real database, in a real directory, begins a rebuild that ends the same."""

import asyncio
import random
import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.model.metadata_changes import Maker
from tests.model.rebuild_world import GivenRecords, number, put_sealed, records_of, storm, write

from fileflux.core.clock import SystemClock
from fileflux.metadata.archive import SEGMENTS
from fileflux.metadata.archive_directory import DirectoryArchive
from fileflux.metadata.archive_format import encode_segment, segment_of
from fileflux.metadata.digest import differences
from fileflux.metadata.migrate import migrate
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader, open_connections
from fileflux.metadata.postgres_snapshot import open_snapshot
from fileflux.metadata.rebuild import EVERYTHING, Rebuild
from fileflux.metadata.rebuild_target import RebuildTarget
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.snapshot_load import SnapshotLoader, choose
from fileflux.metadata.snapshot_write import SnapshotWriter

DERIVED = ("floors", "usage", "bucket_sequences", "bundles", "replicas")


async def _made(admin_dsn: str) -> str:
    name = f"snapshot_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(admin_dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    dsn = urlunsplit(urlsplit(admin_dsn)._replace(path=f"/{name}"))
    await migrate(dsn, rng=random.Random(1))
    return dsn


async def _derived(dsn: str, table: str) -> set[tuple[object, ...]]:
    connection = await asyncpg.connect(dsn)
    found = await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608  # Names of ours.
    await connection.close()
    return {tuple(record.values()) for record in found}


async def test_a_rebuild_from_a_snapshot_and_the_rest_ends_row_for_row_the_same(
    migrated_dsn: str,
    database: PostgresDatabase,
    reader: PostgresReader,
    postgres_admin_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Taken while transactions wait for their numbers, with tiny pages and parts."""
    monkeypatch.setattr("fileflux.metadata.postgres_snapshot.ROWS_PER_PAGE", 5)
    maker, archive = Maker(3), DirectoryArchive(tmp_path)
    await storm(database, reader, seed=11, count=30)
    bucket = maker.bucket("sealed")
    await write(database, bucket)
    await number(database, reader)
    await put_sealed(database, maker, bucket, b"a", b"b")
    async with open_snapshot(migrated_dsn) as moment:
        assert await moment.waiting() == 1
    writer = SnapshotWriter(
        reader, archive, clock=SystemClock(), rng=random.Random(1), part_bytes=4_000
    )
    taking = asyncio.create_task(writer.take(lambda: open_snapshot(migrated_dsn)))
    while not taking.done() and not await archive.names(f"{STREAM}/snapshot-parts/"):
        await asyncio.sleep(0.01)
    await number(database, reader)
    taken = await taking
    assert taken.position + 2 == taken.whole_at

    await put_sealed(database, maker, bucket, b"b", b"c")
    await write(database, maker.delete(bucket, b"a"))
    await number(database, reader)
    records = await records_of(reader)
    segment = segment_of(STREAM, records)
    await archive.put(segment.span.name(STREAM, SEGMENTS), encode_segment(segment))
    into = await _made(postgres_admin_dsn)
    connections = await open_connections(into, size_max=2)
    made, made_reader = (
        PostgresDatabase(connections, rng=random.Random(1)),
        PostgresReader(connections),
    )
    target = RebuildTarget(made, made_reader)
    manifest = await choose(archive, None, EVERYTHING)
    await SnapshotLoader(archive, made, made_reader).load(manifest)
    done = await Rebuild(GivenRecords(records), target, clock=SystemClock()).run()
    await target.finish()
    await connections.close()

    assert (done.records, done.position) == (len(records) - taken.position, len(records))
    async with open_snapshot(migrated_dsn) as one, open_snapshot(into) as other:
        assert [found async for found in differences(one, other)] == []
        assert (await one.head()).chain_hash == (await other.head()).chain_hash
    for table in DERIVED[:3]:
        assert await _derived(migrated_dsn, table) == await _derived(into, table)
    for table in DERIVED[3:]:
        ours, theirs = [await _derived(dsn, table) for dsn in (migrated_dsn, into)]
        assert {row[0] for row in ours} <= {row[0] for row in theirs}
