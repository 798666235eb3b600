"""A database with a history, an archive that has its records, and snapshots of it."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.model.rebuild_world import GivenRecords, number, records_of, storm

from fileflux.core.clock import ManualClock
from fileflux.metadata.archive import SEGMENTS
from fileflux.metadata.archive_format import encode_segment, segment_of
from fileflux.metadata.archive_memory import MemoryArchive
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.ports import Database, MetadataReader
from fileflux.metadata.rebuild import EVERYTHING, Rebuild, Until
from fileflux.metadata.rebuild_target import RebuildTarget
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.snapshot import MemorySnapshot, Snapshot
from fileflux.metadata.snapshot_format import Manifest
from fileflux.metadata.snapshot_load import SnapshotLoader, choose
from fileflux.metadata.snapshot_write import SnapshotWriter

PART_BYTES = 3_000
NOW_US = 9_000_000_000_000_000


class NumberingClock(ManualClock):
    """Whoever sleeps gives the sequencer time."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(now_us=NOW_US)
        self._database = database

    async def sleep(self, seconds: float) -> None:
        await number(self._database, MemoryReader(self._database))
        self.advance(seconds)


class SnapshotWorld:
    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.reader = MemoryReader(self.database)
        self.archive = MemoryArchive()

    async def storm(self, seed: int, count: int, *, numbers: bool = True) -> None:
        await storm(self.database, self.reader, seed=seed, count=count, numbers=numbers)

    async def archive_all(self) -> None:
        """Put every record into the archive, as one segment."""
        segment = segment_of(STREAM, await records_of(self.reader))
        await self.archive.put(segment.span.name(STREAM, SEGMENTS), encode_segment(segment))

    async def take(self, snapshot: Snapshot | None = None) -> Manifest:
        taken = snapshot or MemorySnapshot(self.database, page=7)

        @asynccontextmanager
        async def opened() -> AsyncIterator[Snapshot]:
            yield taken

        writer = SnapshotWriter(
            self.reader,
            self.archive,
            clock=NumberingClock(self.database),
            rng=random.Random(),
            part_bytes=PART_BYTES,
        )
        return await writer.take(opened)

    async def rebuild(
        self,
        database: Database,
        reader: MetadataReader,
        *,
        snapshot: bool,
        until: Until = EVERYTHING,
        **options: Any,
    ) -> Any:
        """Rebuild to the end, from the newest snapshot or from the first record."""
        if snapshot:
            manifest = await choose(self.archive, None, until)
            await SnapshotLoader(self.archive, database, reader).load(manifest)
        target = RebuildTarget(database, reader)
        source = GivenRecords(await records_of(self.reader))
        clock = ManualClock(now_us=NOW_US)
        done = await Rebuild(source, target, clock=clock, until=until, **options).run()
        await target.finish()
        return done
