"""How fast an empty database is rebuilt: `python -m tests.bench.rebuild [events]`.

Writes an export of that many events (a bucket, uploads in seals of 64, every tenth key written
again, every twentieth deleted), then rebuilds it into a PostgreSQL of its own and prints events
per second. `--dsn` takes another, empty database.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from tests.model.metadata_changes import NODES, Maker

from fileflux.console.postgres_server import PostgresServer
from fileflux.core.changes import Change
from fileflux.core.clock import SystemClock
from fileflux.core.model import Manifest
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.audit_record import SYSTEM_STREAM, encode_record
from fileflux.metadata.chain import ChainState, NumberedRecord, next_hash
from fileflux.metadata.memory_loads import load_rows
from fileflux.metadata.memory_tables import MemoryTables
from fileflux.metadata.memory_tx import put_writes
from fileflux.metadata.migrate import migrate
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader, open_connections
from fileflux.metadata.rebuild import Rebuild, rare_collections
from fileflux.metadata.rebuild_target import RebuildTarget
from fileflux.metadata.record_lines import line_of
from fileflux.metadata.record_sources import FileRecords
from fileflux.metadata.rows import AuditRecord
from fileflux.metadata.seals import AcceptedSeal

EVENTS: Final = 200_000
PER_SEAL: Final = 64
NOW_US: Final = 1_790_000_000_000_000


class History:
    """Decides changes in memory and gives their records, as a materializer would leave them."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._maker = Maker(seed)
        self._bucket = self._maker.bucket("bench")
        self._tables = MemoryTables()
        self._clock_us = NOW_US
        self._keys = 0

    def records(self, count: int) -> Iterator[AuditRecord]:
        yield from self._decide([self._maker.user(), self._bucket])
        made = 2
        while made < count:
            puts, deletes = self._changes(min(PER_SEAL, count - made))
            found = [*self._decide(puts, seal=True), *self._decide(deletes)]
            yield from found
            made += len(found)

    def _changes(self, count: int) -> tuple[list[Change], list[Change]]:
        manifest = self._maker.chunks(*[1000] * count)
        puts: list[Change] = []
        deletes: list[Change] = []
        for chunk in manifest.chunks:
            key, again = self._key(), self._rng.random()
            puts.append(self._maker.put(self._bucket, key, manifest=Manifest((chunk,))))
            if again < 0.05:
                deletes.append(self._maker.delete(self._bucket, key))
        return puts, deletes

    def _key(self) -> bytes:
        if self._keys and self._rng.random() < 0.1:
            return b"photos/2026/%012d.jpg" % self._rng.randrange(self._keys)
        self._keys += 1
        return b"photos/2026/%012d.jpg" % self._keys

    def _decide(self, changes: list[Change], *, seal: bool = False) -> list[AuditRecord]:
        self._clock_us += 1_000
        view = self._tables.open()
        rows = load_rows(view, footprint(changes), clock_us=self._clock_us)
        seals: list[AcceptedSeal] = [self._maker.seal(*changes, states={})] if seal else []  # type: ignore[arg-type]
        writes, _ = apply(rows, changes, seals=seals)
        records = list(writes.audit)
        writes.audit = []
        put_writes(view, writes)
        view.commit()
        view.close()
        return records


def write_export(path: Path, count: int) -> None:
    state, sequences = ChainState(), dict.fromkeys([SYSTEM_STREAM], 0)
    previous = state.chain_hash
    with path.open("wb") as file:
        for position, record in enumerate(islice(History(1).records(count), count), 1):
            stream = record.bucket_id or SYSTEM_STREAM
            sequences[stream] = sequences.get(stream, 0) + 1
            payload = encode_record(record)
            numbered = NumberedRecord(position, stream, sequences[stream], previous, payload)
            file.write(line_of(numbered))
            previous = next_hash(previous, payload)


async def rebuild(path: Path, dsn: str) -> tuple[int, float, float]:
    """Return how many events were replayed, in how many seconds, of which our own CPU's."""
    await migrate(dsn, rng=random.Random(1))
    connections = await open_connections(dsn, size_max=4)
    database = PostgresDatabase(connections, rng=random.Random(2))
    target = RebuildTarget(database, PostgresReader(connections))
    start, cpu_start = time.perf_counter(), time.process_time()
    with rare_collections():
        done = await Rebuild(FileRecords(path), target, clock=SystemClock()).run()
    await target.finish()
    took_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    await connections.close()
    return done.records, took_s, cpu_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", nargs="?", type=int, default=EVENTS)
    parser.add_argument("--dsn", help="an empty database; otherwise a server is started")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fileflux-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        write_export(directory / "audit.jsonl", given.events)
        server = None if given.dsn else PostgresServer(directory / "postgres")
        if server is not None:
            server.start()
        try:
            dsn = given.dsn or server.dsn  # type: ignore[union-attr]
            count, took_s, cpu_s = asyncio.run(rebuild(directory / "audit.jsonl", dsn))
        finally:
            if server is not None:
                server.stop()
    replicas = len(NODES)
    print(f"{count} events in {took_s:.1f} s: {count / took_s:,.0f} events/s")
    print(f"{1e6 * cpu_s / count:.0f} µs of CPU an event, without the database's")
    print(f"of one bucket, {PER_SEAL} uploads a seal, {replicas} replicas a bundle")


if __name__ == "__main__":
    main()
