"""Copy published ranges to the archive; then those that are old leave the database (`retention`).

The head row moves by compare-and-set after each object. Of what was written and not noted, because
the process was killed, the next turn finds the object and goes on behind it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import BrokerUnavailable, LaneLost, MetadataBusy
from fileflux.core.failpoints import failpoint
from fileflux.core.model import MIB
from fileflux.core.telemetry import (
    ARCHIVE_SEGMENTS,
    AUDIT_ARCHIVED_POSITION,
    AUDIT_KEPT_FROM,
    get_logger,
)
from fileflux.events.audit import find_start, last_event
from fileflux.events.ports import TopicLookup
from fileflux.metadata.archive import (
    CHECKPOINTS,
    SEGMENTS,
    AlreadyArchived,
    Archive,
    ArchiveInvalid,
    Span,
    next_object,
    span_of,
)
from fileflux.metadata.archive_blocks import checkpoints_at, segment_at
from fileflux.metadata.archive_format import Segment, encode_segment, segment_of
from fileflux.metadata.archive_probe import refuse_ourselves
from fileflux.metadata.chain import FIRST_POSITION, unpack_block
from fileflux.metadata.checkpoint import FIRST_NUMBER
from fileflux.metadata.ports import (
    ArchiveHead,
    AuditBlock,
    Database,
    MetadataReader,
    StoredCheckpoint,
    Transaction,
)
from fileflux.metadata.retention import Retention, lost, record_at, stamp_of

log = get_logger(__name__)

POLL_S: Final = 5.0
RETRY_S: Final = 30.0
"""After a failure of the archive; broker and database are asked again as soon as ever."""
SEGMENT_BYTES: Final = 8 * MIB
"""Records of one segment, unpacked, and one block more at most."""
BLOCKS_PER_READ: Final = 16
CHECKPOINTS_MAX: Final = 1_000
"""Of one object."""
DEADLINE_S: Final = 20.0


class Archiver:
    """One loop. `source` is asked about the audit topic; it need not read.

    `reader` sees the database alone. `keep_s` 0: nothing leaves the database.
    """

    def __init__(
        self,
        *,
        database: Database,
        reader: MetadataReader,
        source: TopicLookup,
        archive: Archive,
        clock: Clock,
        stream: str,
        after_s: float,
        keep_s: float,
    ) -> None:
        self._database = database
        self._reader = reader
        self._source = source
        self._archive = archive
        self._clock = clock
        self._stream = stream
        self._after_us = int(after_s * 1_000_000)
        self._retention = Retention(reader, archive, keep_s=keep_s, move=self._move)
        self._gathered: list[AuditBlock] = []
        self._gathered_for = 0
        self._begins_at = FIRST_POSITION  # Where the archive does.
        self._is_outside = False
        self.problem: str | None = "not started yet"
        self.turned_s = clock.monotonic_s()

    async def run(self, stopping: asyncio.Event) -> None:
        """Archive until `stopping`."""
        while not stopping.is_set():
            rest_s = await self.turn()
            if rest_s:
                await _rest(stopping, self._clock, rest_s)

    async def turn(self) -> float:
        """Do one step; return how many seconds to rest."""
        self._turned()  # To rest is no standing still.
        rest_s = RETRY_S
        try:
            rest_s = 0.0 if await self.step() else POLL_S
            self.problem = None
        except LaneLost:
            self._gathered = []  # Another archiver is at work: see what it did.
        except Exception as error:  # Whatever it is, it must not end the sequencer beside it.
            self.problem = str(error)
            self._gathered = []  # Of a database that is mended other blocks may come.
            log.warning("the audit stream is not archived now", cause=repr(error))
            if isinstance(error, BrokerUnavailable | MetadataBusy):
                rest_s = POLL_S
        self._turned()
        return rest_s

    async def step(self) -> bool:
        """Archive one segment and what goes with it; return whether there is more at once."""
        if not self._is_outside:
            await refuse_ourselves(self._archive, self._reader)
            self._is_outside = True
            self._turned()
        published = await self._published_to()
        head = await self._reader.archive_head(self._stream)
        before = head
        head = await self._archive_records(head, published)
        self._turned()
        head = await self._archive_checkpoints(head)
        self._turned()
        head = await self._retention.let_go(head, published)
        AUDIT_ARCHIVED_POSITION.set(head.next_position - 1)
        AUDIT_KEPT_FROM.set(head.kept_from)
        return head != before

    async def begin_again(self) -> None:
        """Archive once more what the database still has; of what is there, each object is found."""
        head = await self._reader.archive_head(self._stream)
        first = await record_at(self._reader, self._stream, head.kept_from)
        if first is not None:
            self._begins_at = head.kept_from
            after = replace(head, next_position=head.kept_from, chain_hash=first.previous_hash)
            await self._move(head, replace(after, next_checkpoint=FIRST_NUMBER))

    def _turned(self) -> None:
        """Say that the loop is alive: a slow archive must not restart the sequencer beside it."""
        self.turned_s = self._clock.monotonic_s()

    async def _published_to(self) -> int:
        """Return the last position that the topic has of the database's history; 0: none."""
        last = await last_event(self._source)
        if last is None or await find_start(self._source) is None:
            return 0
        stored = await record_at(self._reader, self._stream, last.position)
        is_ours = stored is not None and stored.chain_hash == last.chain_hash
        return last.position if is_ours else 0

    # Records

    async def _archive_records(self, head: ArchiveHead, published: int) -> ArchiveHead:
        """Write the next segment, if it is due; return the head behind it."""
        if not await self._gather(head, published):
            return head
        await self._check_newest(head)
        self._turned()
        segment = await self._found(head)
        self._turned()
        segment = segment or await self._written(head)
        self._gathered = []
        after = replace(head, next_position=segment.span.last + 1, chain_hash=segment.chain_hash)
        return await self._move(head, after)

    async def _check_newest(self, head: ArchiveHead) -> None:
        """An archive that was emptied, or is not mounted, would be filled from the middle on."""
        last = head.next_position - 1
        if last < self._begins_at:
            return
        name = await next_object(self._archive, self._stream, SEGMENTS, last)
        span = None if name is None else span_of(name)
        if span is None or span.first > last:
            raise ArchiveInvalid(lost(last))

    async def _gather(self, head: ArchiveHead, published: int) -> bool:
        """Collect whole published blocks; return whether they are enough, or have waited enough."""
        if self._gathered_for != head.next_position:
            self._gathered, self._gathered_for = [], head.next_position
        while _size_of(self._gathered) < SEGMENT_BYTES:
            following = _end_of(self._gathered, head.next_position)
            blocks = await self._reader.audit_blocks(self._stream, following, limit=BLOCKS_PER_READ)
            fresh = [b for b in blocks if b.first_position + b.count - 1 <= published]
            if not fresh:
                break
            if fresh[0].first_position > following:
                raise ArchiveInvalid(f"the database lacks audit position {following}")
            for block in fresh:
                if _size_of(self._gathered) < SEGMENT_BYTES:
                    self._gathered.append(block)
        if not self._gathered or _size_of(self._gathered) >= SEGMENT_BYTES:
            return bool(self._gathered)
        first = unpack_block(self._gathered[0])[0]
        return await self._reader.clock_us() - stamp_of(first) >= self._after_us

    async def _found(self, head: ArchiveHead) -> Segment | None:
        """Return the segment that somebody wrote and did not note, because it was killed."""
        segment = await segment_at(self._archive, self._stream, head.next_position)
        if segment is None:
            return None
        last = segment.records[-1]
        # It names the hash of all before it.
        if await record_at(self._reader, self._stream, last.position) != last:
            raise ArchiveInvalid(
                f"the archive has other records from position {head.next_position} on than the "
                "database: it belongs to another FileFlux"
            )
        return segment

    async def _written(self, head: ArchiveHead) -> Segment:
        segment, body = await asyncio.to_thread(_packed, head, self._gathered)
        failpoint("archiver.before_put")
        try:
            await self._archive.put(segment.span.name(self._stream, SEGMENTS), body)
        except AlreadyArchived as error:
            raise LaneLost("another archiver wrote this segment") from error
        failpoint("archiver.after_put")
        ARCHIVE_SEGMENTS.inc()
        return segment

    # Checkpoints

    async def _archive_checkpoints(self, head: ArchiveHead) -> ArchiveHead:
        """Write the checkpoints of what is archived; return the head behind them."""
        stored = await self._reader.checkpoints(
            self._stream, head.next_checkpoint, limit=CHECKPOINTS_MAX
        )
        wanted = [one for one in stored if one.position < head.next_position]
        if not wanted:
            return head
        last = await self._found_checkpoints(head)
        self._turned()
        last = last or await self._put_checkpoints(wanted)
        return await self._move(head, replace(head, next_checkpoint=last + 1))

    async def _found_checkpoints(self, head: ArchiveHead) -> int:
        """Return how far an object goes that somebody wrote and did not note; 0: there is none.

        The sequencer of a rebuilt database takes the row over one by one: as far as it is there.
        """
        found = await checkpoints_at(self._archive, self._stream, head.next_checkpoint)
        if not found:
            return 0
        stored = await self._reader.checkpoints(self._stream, found[0].number, limit=len(found))
        for ours, theirs in zip(stored, found, strict=False):
            if ours != theirs.stored:
                raise ArchiveInvalid(f"the archive has another checkpoint {theirs.number}")
        return stored[-1].number

    async def _put_checkpoints(self, wanted: Sequence[StoredCheckpoint]) -> int:
        span = Span(wanted[-1].number, wanted[0].number)
        failpoint("archiver.before_put_checkpoints")
        try:
            await self._archive.put(
                span.name(self._stream, CHECKPOINTS), b"".join(one.line + b"\n" for one in wanted)
            )
        except AlreadyArchived as error:
            raise LaneLost("another archiver wrote these checkpoints") from error
        failpoint("archiver.after_put_checkpoints")
        return span.last

    async def _move(self, before: ArchiveHead, after: ArchiveHead) -> ArchiveHead:
        """Store the head, and remove what is before its `kept_from`; raise LaneLost."""
        after = replace(after, turn=before.turn + 1)

        async def move(transaction: Transaction) -> bool:
            await transaction.move_archive_head(before, after)
            if after.kept_from > before.kept_from:
                await transaction.drop_blocks(self._stream, before.kept_from, after.kept_from)
            return True

        async def settled() -> bool | None:
            stored = await self._reader.archive_head(self._stream)
            if stored == before:
                return None
            if stored == after:
                return True
            raise LaneLost(f"{self._stream}: another archiver is at work")

        await self._database.run(move, settled=settled, deadline_s=DEADLINE_S)
        failpoint("archiver.after_move")
        return after


def _packed(head: ArchiveHead, blocks: Sequence[AuditBlock]) -> tuple[Segment, bytes]:
    """Return the segment behind the head and its bytes; tenths of a second, so in a thread."""
    gathered = [record for block in blocks for record in unpack_block(block)]
    records = [record for record in gathered if record.position >= head.next_position]
    if records[0].previous_hash != head.chain_hash:
        raise ArchiveInvalid(f"position {head.next_position} does not continue the archive")
    segment = segment_of(head.stream, records)
    return segment, encode_segment(segment)


def _size_of(blocks: Sequence[AuditBlock]) -> int:
    return sum(len(block.payload) for block in blocks)


def _end_of(blocks: Sequence[AuditBlock], otherwise: int) -> int:
    return blocks[-1].first_position + blocks[-1].count if blocks else otherwise


async def _rest(stopping: asyncio.Event, clock: Clock, rest_s: float) -> None:
    """Rest, or return as soon as it is time to stop."""
    resting = asyncio.ensure_future(clock.sleep(rest_s))
    ending = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({resting, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        resting.cancel()
        ending.cancel()
        await asyncio.gather(resting, ending, return_exceptions=True)
