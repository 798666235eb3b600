"""Databases with a history, its records in every form, and what a rebuild makes of them."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.model.change_storm import Storm, batches
from tests.model.metadata_changes import Maker

from fileflux.core.changes import Change
from fileflux.core.clock import ManualClock
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.chain import NumberedRecord, number_blocks, streams_of, unpack_block
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.ports import Database, MetadataReader, Transaction
from fileflux.metadata.rebuild import Rebuild
from fileflux.metadata.rebuild_target import RebuildTarget
from fileflux.metadata.record_lines import line_of
from fileflux.metadata.record_sources import RecordSource, Runs
from fileflux.metadata.rows import AUDITED_TABLES
from fileflux.metadata.seals import AcceptedSeal
from fileflux.metadata.sequencer import STREAM, usage_in

DERIVED = ("floors", "usage", "sequences")


async def write(database: Database, *changes: Change, seals: Sequence[AcceptedSeal] = ()) -> None:
    """Decide and store changes as one transaction."""

    async def work(transaction: Transaction) -> bool:
        rows = await transaction.load_rows(footprint(changes))
        writes, _ = apply(rows, changes, seals=seals)
        await transaction.store_writes(writes)
        return True

    await database.run(work)


async def number(database: Database, reader: MetadataReader, *, blocks: int = 1_000) -> None:
    """Do the sequencer's work: number everything that waits, so many pending blocks at a time."""
    while pending := await reader.pending_audit(limit=blocks):
        head = await reader.audit_head(STREAM)
        sequences = await reader.bucket_sequences(list(streams_of(pending)))
        block, after, touched = number_blocks(head, pending, sequences)

        async def work(
            transaction: Transaction, done: Any = (head, pending, block, after, touched)
        ) -> bool:
            head, pending, block, after, touched = done
            await transaction.move_head(head, after)
            await transaction.number_pending([name for name, _, _ in pending], block, touched)
            await transaction.add_usage(usage_in(r.payload for r in unpack_block(block)))
            return True

        await database.run(work)


async def storm(
    database: Database,
    reader: MetadataReader,
    *,
    seed: int,
    count: int = 60,
    numbers: bool = True,
) -> None:
    """Write random changes, all kinds, in batches, and number them now and then."""
    rng = random.Random(seed)
    maker, drawn = Maker(seed + 1), Storm(rng)
    await write(database, maker.user())
    await write(database, maker.user("ben", maker.id()), maker.user("eve", maker.id()))
    for size in batches(rng, count):
        await write(database, *(drawn.change()[0] for _ in range(size)))
        if numbers and rng.random() < 0.2:
            await number(database, reader, blocks=rng.randrange(1, 6))
    if numbers:
        await number(database, reader)


async def put_sealed(database: Database, maker: Maker, bucket: Any, *keys: bytes) -> None:
    """Write objects as a seal brings them: with nodes that hold their bundle."""
    changes = [maker.put(bucket, key) for key in keys]
    await write(database, *changes, seals=[maker.seal(*changes, states={})])


async def records_of(reader: MetadataReader) -> list[NumberedRecord]:
    blocks = await reader.audit_blocks(STREAM, 1, limit=100_000)
    return [record for block in blocks for record in unpack_block(block)]


def export(path: Path, records: Sequence[NumberedRecord]) -> Path:
    """Write the file that an export would have written."""
    path.write_bytes(b"".join(map(line_of, records)))
    return path


class GivenRecords:
    """The port `RecordSource` over a list; it may break off behind some runs."""

    def __init__(
        self, records: Sequence[NumberedRecord], *, run: int = 7, breaks_after: int | None = None
    ) -> None:
        self._records = records
        self._run = run
        self._breaks_after = breaks_after

    async def read(self, position: int) -> Runs:
        wanted = [record for record in self._records if record.position >= position]
        for count, start in enumerate(range(0, len(wanted), self._run)):
            if count == self._breaks_after:
                raise ConnectionError("the source is gone")
            yield wanted[start : start + self._run]

    async def end(self) -> int | None:
        return self._records[-1].position + 1 if self._records else 1


def audited(database: MemoryDatabase) -> dict[str, Any]:
    """Return the audited tables and what follows from them, as they are stored."""
    return {table: dict(database.tables.rows(table)) for table in (*AUDITED_TABLES, *DERIVED)}


async def rebuild(source: RecordSource, database: MemoryDatabase, **options: Any) -> Any:
    """Run a rebuild into `database` to its end."""
    target = RebuildTarget(database, MemoryReader(database))
    clock = ManualClock(now_us=9_000_000_000_000_000)
    done = await Rebuild(source, target, clock=clock, **options).run()
    await target.finish()
    return done
