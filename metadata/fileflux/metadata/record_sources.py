"""Where numbered records come from: the database, the topic, or a file. A rebuild sees one port.

A file holds a line of `record_lines` for each record.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from fileflux.core.errors import AuditGap, EventInvalid, Invalid
from fileflux.events.audit import PARTITION, AuditStream, from_record
from fileflux.events.ports import EventSource
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_log import BLOCKS_PER_READ, numbered
from fileflux.metadata.chain import NumberedRecord, unpack_block
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.record_lines import record_of_line
from fileflux.metadata.sequencer import STREAM

LINE_BYTES_MAX: Final = 64 << 20
"""A record of 10,000 parts has some megabytes; what is longer is another file."""
TAIL_RECORDS: Final = 20_000
"""More than what is published as one run."""
TAIL_BYTES: Final = 64 << 10
RECORDS_PER_FETCH: Final = 2_000
LINES_PER_READ: Final = 500

Runs = AsyncIterator[Sequence[NumberedRecord]]


class RecordSource(Protocol):
    """Gives the audit stream from a position on, in order, each record once."""

    def read(self, position: int) -> Runs:
        """Yield the records from `position` on, in runs, until those that were there at the start.

        Raise EventInvalid for what is no record, AuditGap or Unavailable when some cannot be had.
        """

    async def end(self) -> int | None:
        """Return the position behind the last record; None: nobody knows before it is read."""


class DatabaseRecords:
    """What a database has numbered."""

    def __init__(self, reader: MetadataReader, *, stream: str = STREAM) -> None:
        self._reader = reader
        self._stream = stream

    async def read(self, position: int) -> Runs:
        end = await self.end()
        while position < end:
            blocks = await self._reader.audit_blocks(self._stream, position, limit=BLOCKS_PER_READ)
            if not blocks or blocks[0].first_position > position:
                raise Invalid(
                    f"the database has no record at position {position}: if it is archived, set "
                    "FILEFLUX_ARCHIVE_URL"
                )
            for block in blocks:
                records = [r for r in unpack_block(block) if position <= r.position < end]
                if records:
                    position = records[-1].position + 1
                    yield records

    async def end(self) -> int:
        return (await self._reader.audit_head(self._stream)).next_position


class TopicRecords:
    """What the topic holds. `source` reads partition 0 of the audit topic.

    A run may have been published again, and not to its end: the last record need not be the
    highest.
    """

    def __init__(self, source: EventSource) -> None:
        self._source = source

    async def read(self, position: int) -> Runs:
        first, end = await self._source.bounds(AUDIT, PARTITION)
        if first == end:
            return
        await AuditStream(self._source).seek(position)
        offset = first
        while offset < end:
            records = []
            for record in await self._source.fetch(max_records=RECORDS_PER_FETCH):
                offset = record.position.offset + 1
                event = from_record(record)
                if event.position > position:
                    raise AuditGap(f"position {position} is missing before {event.position}")
                if event.position == position:
                    records.append(numbered(event))
                    position += 1
            if records:
                yield records

    async def end(self) -> int:
        first, end = await self._source.bounds(AUDIT, PARTITION)
        offset = max(first, end - TAIL_RECORDS)
        await self._source.seek(AUDIT, PARTITION, offset)
        highest = 0
        while offset < end:
            for record in await self._source.fetch(max_records=RECORDS_PER_FETCH):
                offset = record.position.offset + 1
                highest = max(highest, from_record(record).position)
        return highest + 1


class FileRecords:
    """What an export wrote, or several, one behind the other.

    What comes again behind a later record is passed over: the chain proves nothing of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self, position: int) -> Runs:
        with self._path.open("rb") as file:
            number = 0
            while lines := await asyncio.to_thread(_some_lines, file):
                records = [record_of_line(line, number + n) for n, line in enumerate(lines, 1)]
                number += len(lines)
                wanted = []
                for record in records:
                    if record.position >= position:
                        wanted.append(record)
                        position = record.position + 1
                if wanted:
                    yield wanted

    async def end(self) -> int | None:
        """Positions grow with the lines. None where the last line is none of ours."""
        last = await asyncio.to_thread(_last_line, self._path)
        try:
            return record_of_line(last, 0).position + 1
        except EventInvalid:
            return None


def _last_line(path: Path) -> bytes:
    """Return the last line, read backwards; empty if there is none."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        tail = b""
        while at > 0 and b"\n" not in tail.rstrip(b"\n") and len(tail) < LINE_BYTES_MAX:
            step = min(at, TAIL_BYTES)
            at = file.seek(at - step)
            tail = file.read(step) + tail
    return tail.rstrip(b"\n").rpartition(b"\n")[2]


def _some_lines(file: Any) -> list[bytes]:
    lines: list[bytes] = []
    while len(lines) < LINES_PER_READ and (line := file.readline(LINE_BYTES_MAX)):
        lines.append(line)
    return lines
