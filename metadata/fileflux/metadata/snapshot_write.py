"""Write a snapshot of the database's state into the archive, so that a rebuild starts there.

The rows of one moment are read, in pages. They may be ahead of the last number by the transactions
that wait for theirs; so the snapshot is finished when all of these are numbered, and says where. If
one of them gives or takes the name of a bucket or user, another moment is chosen: names are unique,
and a replay that is behind such rows would meet them. Memory holds one part, whatever the size of
the database. A run that is killed leaves parts without a manifest, which nobody reads.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fileflux.core.clock import Clock
from fileflux.core.errors import Invalid, MetadataBusy
from fileflux.core.ids import new_id
from fileflux.core.model import MIB
from fileflux.metadata.archive import Archive
from fileflux.metadata.audit_log import CLOCK_SLACK_US
from fileflux.metadata.chain import NumberedRecord, unpack_block
from fileflux.metadata.digest import TableDigest, TableDigester
from fileflux.metadata.ports import MetadataReader, SequencerHead
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.snapshot import DERIVED_TYPES, TABLES, Snapshot
from fileflux.metadata.snapshot_format import (
    Manifest,
    Part,
    encode_manifest,
    encode_part,
    line_of_row,
    part_name,
)

PART_BYTES: Final = 4 * MIB
"""Of rows as JSON, unpacked, and one row more at most: a part is loaded by one transaction."""
NUMBERED_WAIT_S: Final = 60.0
NUMBERED_POLL_S: Final = 0.1
PENDING_READ_MAX: Final = 10_000
NAME_MARKS: Final = (b'"table":"buckets"', b'"table":"users"')
NOT_NUMBERED: Final = "transactions wait to be numbered: does the sequencer run?"
Opens = Callable[[], AbstractAsyncContextManager[Snapshot]]


class SnapshotRefused(Invalid):
    """There is nothing to take a snapshot of, or nowhere to put it."""


class SnapshotWriter:
    """`report` hears how many rows are written."""

    def __init__(
        self,
        reader: MetadataReader,
        archive: Archive,
        *,
        clock: Clock,
        rng: random.Random,
        report: Callable[[int], None] = lambda rows: None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._reader = reader
        self._archive = archive
        self._clock = clock
        self._report = report
        self._part_bytes = part_bytes
        self._id = new_id(rng).hex()[:8]
        self._parts: list[Part] = []
        self._tables: dict[str, TableDigest] = {}
        self._rows = 0

    async def take(self, open_one: Opens) -> Manifest:
        """Return what was written; raise SnapshotRefused, ArchiveUnavailable, MetadataBusy.

        `open_one`: begins a moment of the database, and ends it.
        """
        deadline_s = self._clock.monotonic_s() + NUMBERED_WAIT_S
        while self._clock.monotonic_s() < deadline_s:
            async with open_one() as snapshot:
                waiting = await snapshot.pending()
                if not any(mark in raw for raw in waiting.values() for mark in NAME_MARKS):
                    return await self._write(snapshot, frozenset(waiting))
            await self._clock.sleep(NUMBERED_POLL_S)
        raise MetadataBusy(NOT_NUMBERED)

    async def _write(self, snapshot: Snapshot, waiting: frozenset[bytes]) -> Manifest:
        head = await snapshot.head()
        last = await self._record_before(head)
        await self._write_parts(snapshot, last.position)
        whole_at = await self._overtaken(waiting)
        manifest = Manifest(
            stream=STREAM,
            snapshot_id=self._id,
            position=last.position,
            last=last,
            whole_at=whole_at,
            whole_us=await self._reader.clock_us() + CLOCK_SLACK_US,
            made_us=self._clock.now_us(),
            tables=self._tables,
            parts=tuple(self._parts),
        )
        await self._archive.put(manifest.name, encode_manifest(manifest))
        return manifest

    async def _record_before(self, head: SequencerHead) -> NumberedRecord:
        position = head.next_position - 1
        blocks = await self._reader.audit_blocks(STREAM, position, limit=1) if position else []
        for record in (record for block in blocks for record in unpack_block(block)):
            if (record.position, record.chain_hash) == (position, head.chain_hash):
                return record
        raise SnapshotRefused("the database has no numbered record: there is nothing to begin with")

    async def _write_parts(self, snapshot: Snapshot, position: int) -> None:
        lines: list[bytes] = []
        size = 0
        async for line in self._lines(snapshot):
            lines.append(line)
            size += len(line)
            if size >= self._part_bytes:
                await self._put(position, lines)
                lines, size = [], 0
        if lines:
            await self._put(position, lines)

    async def _lines(self, snapshot: Snapshot) -> AsyncIterator[bytes]:
        for table in (*TABLES, *DERIVED_TYPES):
            digester = TableDigester()
            pages: Any = snapshot.pages if table in TABLES else snapshot.derived
            async for page in pages(table):
                for row in page:
                    digester.add(row)
                    yield line_of_row(table, row)
                self._rows += len(page)
                self._report(self._rows)
            self._tables[table] = digester.result()

    async def _put(self, position: int, lines: list[bytes]) -> None:
        body = await asyncio.to_thread(encode_part, lines)
        name = part_name(STREAM, position, self._id, len(self._parts))
        await self._archive.put(name, body)
        self._parts.append(Part(name, hashlib.sha256(body).hexdigest(), len(body)))

    async def _overtaken(self, waiting: frozenset[bytes]) -> int:
        """Return a position behind which everything is that waited for its number."""
        deadline_s = self._clock.monotonic_s() + NUMBERED_WAIT_S
        while True:
            pending = await self._reader.pending_audit(limit=PENDING_READ_MAX)
            are_left = any(block_id in waiting for block_id, _, _ in pending)
            if not waiting or not (are_left or len(pending) == PENDING_READ_MAX):
                return (await self._reader.audit_head(STREAM)).next_position - 1
            if self._clock.monotonic_s() >= deadline_s:
                raise MetadataBusy(NOT_NUMBERED)
            await self._clock.sleep(NUMBERED_POLL_S)
