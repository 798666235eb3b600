"""Where numbered audit records lie: the database, the topic, and whatever is added behind the port.

A place answers for positions, never for offsets or files. It may hold a part of the stream, be
behind, or be away: `AuditReader` asks the next one then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.errors import AuditGap, BrokerUnavailable, EventInvalid, Unavailable
from fileflux.events.audit import AuditStream
from fileflux.events.ports import EventSource
from fileflux.metadata.audit_log import numbered
from fileflux.metadata.chain import FIRST_POSITION, NumberedRecord, unpack_block
from fileflux.metadata.ports import AuditBlock, MetadataReader
from fileflux.metadata.sequencer import STREAM

BLOCKS_MAX: Final = 256
TOPIC_RECORDS_MAX: Final = 500
TOPIC_WAIT_S: Final = 0.1
SEEK_AGAIN_S: Final = 5.0
"""A topic that lacks a position is being filled, or away. Looking it up costs many requests."""
SKIPPED_MAX: Final = 5_000
"""Records that are read over rather than looked up."""

Run = Sequence[NumberedRecord]


class AuditPlace(Protocol):
    """A part of the audit stream, addressed by position."""

    @property
    def name(self) -> str: ...

    async def read(self, position: int, *, bytes_max: int) -> Run:
        """Return records in order, the first of them at `position`; none if it is not here.

        All but the last have less than `bytes_max` together. Raise Unavailable, or EventInvalid
        for what cannot be read.
        """

    async def end(self) -> int:
        """Return the position after the last record here. Raise as `read` does."""


class DatabasePlace:
    """The blocks that the sequencer stored.

    What left the tables is asked of `audit_blocks` once more, which may know where it went.
    """

    name = "database"

    def __init__(self, reader: MetadataReader, stream: str = STREAM) -> None:
        self._reader = reader
        self._stream = stream

    async def read(self, position: int, *, bytes_max: int) -> Run:
        blocks = await self._reader.audit_page(
            self._stream, position, limit=BLOCKS_MAX, bytes_max=bytes_max
        )
        if not blocks or blocks[0].first_position > position:
            blocks = await self._former(position, has_later=bool(blocks))
        found = [record for block in blocks for record in unpack_block(block)]
        run = [one for one in found if one.position >= position]
        # Where older blocks are gone the oldest that is left comes: it is not what was asked.
        return within(run, bytes_max) if run and run[0].position == position else ()

    async def end(self) -> int:
        return (await self._reader.audit_head(self._stream)).next_position

    async def _former(self, position: int, *, has_later: bool) -> list[AuditBlock]:
        """Return the block with a position that is numbered and not in the tables any more."""
        if not has_later and position >= await self.end():
            return []
        return await self._reader.audit_blocks(self._stream, position, limit=1)


class TopicPlace:
    """The audit topic, read on from where the last answer ended. One reader at a time.

    `open_wait_s`: how long a reader waits while the broker is connected to, None: as long as that
    takes. It goes on connecting in between.
    """

    name = "topic"

    # `_next`: the position that the stream stands at, None while it has to be looked up.

    def __init__(
        self,
        open_source: Callable[[], Awaitable[EventSource]],
        clock: Clock,
        *,
        open_wait_s: float | None = None,
    ) -> None:
        self._open_source = open_source
        self._clock = clock
        self._open_wait_s = open_wait_s
        self._opening: asyncio.Task[EventSource] | None = None
        self._stream: AuditStream | None = None
        self._next: int | None = None
        self._ahead: list[NumberedRecord] = []
        self._seek_s = float("-inf")

    async def read(self, position: int, *, bytes_max: int) -> Run:
        stream = await self._opened()
        if not await self._stands_at(stream, position):
            return ()
        try:
            found = await self._fetch(stream, position)
        except AuditGap:
            self._next, self._ahead = None, []
            return ()
        except (Unavailable, EventInvalid):
            self._next, self._ahead = None, []
            raise
        run = within([one for one in found if one.position >= position], bytes_max)
        self._ahead = [one for one in found if run and one.position > run[-1].position]
        return run

    async def end(self) -> int:
        last = await (await self._opened()).last()
        return FIRST_POSITION if last is None else last.position + 1

    async def close(self) -> None:
        opening, self._opening = self._opening, None
        self._stream = self._next = None
        self._ahead, self._seek_s = [], float("-inf")
        if opening is not None:
            opening.cancel()
            (source,) = await asyncio.gather(opening, return_exceptions=True)
            if not isinstance(source, BaseException):
                await source.close()

    async def _opened(self) -> AuditStream:
        if self._stream is not None:
            return self._stream
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        await asyncio.wait({self._opening}, timeout=self._open_wait_s)
        if not self._opening.done():
            raise BrokerUnavailable("the audit topic is being connected to")
        opening = self._opening
        if opening.exception() is not None:
            self._opening = None
        self._stream = AuditStream(opening.result())
        return self._stream

    async def _open(self) -> EventSource:
        return await self._open_source()

    async def _fetch(self, stream: AuditStream, position: int) -> Sequence[NumberedRecord]:
        found = [one for one in self._ahead if one.position >= position]
        if not found:
            events = await stream.fetch(max_records=TOPIC_RECORDS_MAX, wait_s=TOPIC_WAIT_S)
            found = [numbered(event) for event in events]
            if found:
                self._next = found[-1].position + 1
        return found

    async def _stands_at(self, stream: AuditStream, position: int) -> bool:
        """Seek if the next records to come are not near `position`; tell whether they are now."""
        near = self._ahead[0].position if self._ahead else self._next
        if near is not None and near <= position <= near + SKIPPED_MAX:
            return True
        now_s = self._clock.monotonic_s()
        if now_s - self._seek_s < SEEK_AGAIN_S:
            return False
        self._seek_s, self._ahead, self._next = now_s, [], None
        try:
            await stream.seek(position)
        except AuditGap:
            return False
        self._next = position
        return True


def within(records: Run, bytes_max: int) -> Run:
    """Return the first records, until they have `bytes_max` bytes; at least one if there is one."""
    size = 0
    for count, record in enumerate(records):
        if size >= bytes_max:
            return records[:count]
        size += len(record.payload)
    return records
