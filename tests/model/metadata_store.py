"""Runs `apply` over in-memory tables, one batch per call, without an event loop.

It reads what a transaction would read and stores what a transaction would store, so that a test of
decisions sees their effect, and nothing that they were not given.
"""

from collections import Counter
from collections.abc import Sequence

from tests.model.metadata_changes import Maker

from fileflux.core.changes import Change, Outcome
from fileflux.core.ids import BucketId, BundleId, UploadId
from fileflux.core.model import Chunk
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.audit_record import decode_record, unpack_pending
from fileflux.metadata.memory_loads import load_rows
from fileflux.metadata.memory_tables import MemoryTables
from fileflux.metadata.memory_tx import put_writes
from fileflux.metadata.overlay import NO_HOLDER
from fileflux.metadata.parts_budget import USUAL, Limits
from fileflux.metadata.replay import Floors, Tables, empty_tables, replay
from fileflux.metadata.row_keys import ROW_TYPES
from fileflux.metadata.rows import (
    AuditRecord,
    GarbageRow,
    ObjectRow,
    PartRow,
    UploadRow,
    Writes,
)
from fileflux.metadata.seals import AcceptedSeal

ChunkName = tuple[BundleId, int]


class Store:
    """Tables, a clock that a test sets, and the writes of the last batch."""

    def __init__(self, clock_us: int = 1_767_225_600_000_000, *, limits: Limits = USUAL) -> None:
        self.limits = limits
        self.tables = MemoryTables()
        self.clock_us = clock_us
        self.writes = Writes(stamp=0)

    def run(self, *changes: Change, seals: Sequence[AcceptedSeal] = ()) -> tuple[Outcome, ...]:
        """Decide the changes as one batch and store what comes of them."""
        view = self.tables.open()
        rows = load_rows(view, footprint(changes), clock_us=self.clock_us, limits=self.limits)
        self.writes, outcomes = apply(rows, changes, seals=seals)
        put_writes(view, self.writes)
        view.commit()
        view.close()
        return outcomes

    def one(self, change: Change, seals: Sequence[AcceptedSeal] = ()) -> Outcome:
        return self.run(change, seals=seals)[0]

    def object(self, bucket_id: BucketId, key: bytes) -> ObjectRow | None:
        row: ObjectRow | None = self.tables.get("objects", (bucket_id, key))
        return row

    def objects(self) -> dict[tuple[BucketId, bytes], ObjectRow]:
        return dict(self.tables.rows("objects"))

    def part(self, upload_id: UploadId, number: int) -> PartRow | None:
        row: PartRow | None = self.tables.get("parts", (upload_id, number))
        return row

    def bytes_of(self, row: ObjectRow) -> list[Chunk]:
        """Return the slices that a GET would send, in order."""
        if not row.manifest.parts:
            return list(row.manifest.chunks)
        parts = [self.part(row.content_id, number) for number, _ in row.manifest.parts]
        return [chunk for part in parts if part is not None for chunk in part.manifest.chunks]

    def left_behind(self) -> list[UploadId]:
        """Return content that nobody holds and that lay too deep to be dropped at once."""
        counts = Counter(content_id for content_id, _ in self.tables.rows("holders"))
        holders = self.tables.rows("holders")
        return [c for c, n in counts.items() if n == 1 and (c, NO_HOLDER) in holders]

    def left_open(self) -> list[UploadRow]:
        """Return open uploads whose bucket is gone."""
        uploads: list[UploadRow] = list(self.tables.rows("uploads").values())
        buckets = self.tables.rows("buckets")
        return [u for u in uploads if u.state == "open" and (u.bucket_id,) not in buckets]

    def drop_left_behind(self, maker: Maker) -> int:
        """Do what the compactor does with both; return how many steps it took."""
        steps = 0
        while changes := [
            *map(maker.drop, self.left_behind()),
            *map(maker.abort_orphan, self.left_open()),
        ]:
            assert all(outcome.ok for outcome in self.run(*changes))
            steps += 1
        return steps

    def garbage(self) -> set[ChunkName]:
        rows: list[GarbageRow] = list(self.tables.rows("garbage").values())
        return {(row.bundle_id, number) for row in rows for number in row.chunk_numbers}

    def records(self) -> list[AuditRecord]:
        """Return every audit record, from its stored bytes, in the sequencer's order."""
        blocks = sorted(self.tables.rows("audit_pending").values(), key=lambda b: (b[1], b[0]))
        return [
            decode_record(pending.payload)
            for _, _, payload in blocks
            for pending in unpack_pending(payload)
        ]

    def audited(self) -> tuple[Tables, Floors]:
        """Return the audited tables and the floors, as they are stored."""
        tables = empty_tables()
        for table in ROW_TYPES:
            tables[table] = dict(self.tables.rows(table))
        return tables, dict(self.tables.rows("floors"))

    def rebuilt(self) -> tuple[Tables, Floors]:
        """Return the same as the audit records alone give it."""
        tables, floors = empty_tables(), Floors()
        replay(self.records(), tables, floors)
        return tables, floors
