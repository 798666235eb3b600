"""A database with a history, restores of it, and what a client would see of its buckets."""

import random
from collections.abc import Sequence
from typing import Any

from tests.model.metadata_changes import ACTOR
from tests.model.rebuild_world import GivenRecords, number, rebuild, records_of

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.ids import BundleId
from fileflux.core.model import Chunk
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.overlay import NO_HOLDER
from fileflux.metadata.rebuild import Until
from fileflux.metadata.restore import Reports, Restore, Restored, Wanted
from fileflux.metadata.restore_plan import KeyFate
from fileflux.metadata.rows import ObjectRow


class RestoreWorld:
    """`fates`: of the changed keys of the last run."""

    def __init__(self, database: MemoryDatabase, *, clock: Clock | None = None) -> None:
        self.database = database
        self.reader = MemoryReader(database)
        self.clock = clock or SystemClock()
        self.writer: Any = DirectWriter(database, rng=random.Random(1))
        self.fates: list[KeyFate] = []

    async def restore(self, bucket: str, position: int, **wanted: Any) -> Restored:
        self.fates = []
        run = Restore(
            self.reader,
            self.database,
            self.writer,
            actor=ACTOR,
            clock=self.clock,
            rng=random.Random(),
            reports=Reports(key=self.fates.append),
        )
        try:
            return await run.run(Wanted(bucket, Until(position=position), **wanted))
        finally:
            await number(self.database, self.reader)

    async def records(self) -> list[NumberedRecord]:
        return await records_of(self.reader)

    def fate(self, key: bytes) -> KeyFate:
        return next(fate for fate in self.fates if fate.key == key)

    def kinds(self) -> dict[bytes, str]:
        return {fate.key: fate.kind for fate in self.fates}


Picture = dict[bytes, tuple[Any, ...]]


def picture(database: MemoryDatabase, bucket: str) -> Picture | None:
    """Return what a client sees of a bucket, down to the slices of a GET; None: no such bucket."""
    rows = database.tables.rows("buckets").values()
    ids = [row.bucket_id for row in rows if row.name == bucket]
    if not ids:
        return None
    objects = database.tables.rows("objects").items()
    return {key: _seen(database, row) for (bucket_id, key), row in objects if bucket_id == ids[0]}


async def picture_at(records: Sequence[NumberedRecord], bucket: str) -> Picture | None:
    """Return the same behind these records."""
    made = MemoryDatabase()
    await rebuild(GivenRecords(records), made)
    return picture(made, bucket)


def _seen(database: MemoryDatabase, row: ObjectRow) -> tuple[Any, ...]:
    slices: list[Chunk] = list(row.manifest.chunks)
    for part_number, _ in row.manifest.parts:
        part = database.tables.get("parts", (row.content_id, part_number))
        slices += part.manifest.chunks
    return (row.etag, row.size, row.meta, row.content_id, tuple(slices))


ChunkName = tuple[BundleId, int]


def garbage(database: MemoryDatabase) -> set[ChunkName]:
    rows = database.tables.rows("garbage").values()
    return {(row.bundle_id, number) for row in rows for number in row.chunk_numbers}


def living(database: MemoryDatabase) -> set[ChunkName]:
    """Return the chunks that some row still needs."""
    tables = database.tables
    owners = [*tables.rows("objects").values(), *tables.rows("parts").values()]
    manifests = [row.manifest for row in owners if not row.shared]
    manifests += [
        row.manifest for (_, holder), row in tables.rows("holders").items() if holder == NO_HOLDER
    ]
    return {(chunk.bundle_id, chunk.number) for one in manifests for chunk in one.chunks}
