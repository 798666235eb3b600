"""What leaves the database: ranges of the audit stream that are safe elsewhere, and old.

A range leaves only when all of this was seen just now: the topic holds it, the archive gave it back
whole, its end has the database's own hash, its last record is older than the setting, and no hold
names it. The newest block always stays.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from fileflux.core.errors import EventInvalid
from fileflux.core.failpoints import failpoint
from fileflux.metadata.archive import Archive, ArchiveInvalid
from fileflux.metadata.archive_blocks import segment_at
from fileflux.metadata.archive_format import Segment
from fileflux.metadata.audit_record import decode_record
from fileflux.metadata.chain import NumberedRecord, unpack_block
from fileflux.metadata.hold_rules import in_force, keeps_position
from fileflux.metadata.ports import ArchiveHead, MetadataReader

LOOK_AGAIN_US: Final = 60_000_000
"""After a range that may not leave for reasons of how it is cut: a look fetches a segment."""

Move = Callable[[ArchiveHead, ArchiveHead], Awaitable[ArchiveHead]]
"""Store a head, and remove what is before its `kept_from`, in one transaction."""


class Retention:
    """The archiver's last step. `reader` sees the database alone. `keep_s` 0: all of it stays."""

    def __init__(
        self, reader: MetadataReader, archive: Archive, *, keep_s: float, move: Move
    ) -> None:
        self._reader = reader
        self._archive = archive
        self._keep_us = int(keep_s * 1_000_000)
        self._move = move
        self._next_leave_us = 0

    async def let_go(self, head: ArchiveHead, published: int) -> ArchiveHead:
        """Remove one segment's range from the database, if all conditions hold."""
        now_us = await self._reader.clock_us()
        if (
            not self._keep_us
            or head.kept_from >= head.next_position
            or now_us < self._next_leave_us
        ):
            return head
        if await self._has_newest_only(head):
            return head
        segment = await self._archived_range(head)
        if segment is None:
            raise ArchiveInvalid(lost(head.kept_from))
        last = segment.records[-1]
        if last.position > published or last.position >= head.next_position:
            return head
        self._next_leave_us = stamp_of(last) + self._keep_us
        if now_us < self._next_leave_us:
            return head
        if keeps_position(in_force(await self._reader.holds(), now_us), last.position):
            self._next_leave_us = now_us + LOOK_AGAIN_US
            return head
        end = await self._whole_blocks_to(head, last)
        if end <= head.kept_from:
            self._next_leave_us = now_us + LOOK_AGAIN_US
            return head
        failpoint("archiver.before_drop")
        return await self._move(head, replace(head, kept_from=end))

    async def _has_newest_only(self, head: ArchiveHead) -> bool:
        blocks = await self._reader.audit_blocks(head.stream, head.kept_from, limit=2)
        return len(blocks) < 2

    async def _whole_blocks_to(self, head: ArchiveHead, last: NumberedRecord) -> int:
        """Return the end of the blocks that hold nothing behind `last`; raise ArchiveInvalid.

        The newest block stays: the topic's end is compared with it every few seconds, whether the
        archive answers or not.
        """
        (block,) = await self._reader.audit_blocks(head.stream, last.position, limit=1)
        if last not in unpack_block(block):
            raise ArchiveInvalid(f"the archive has another record at position {last.position}")
        end = block.first_position + block.count
        newest = (await self._reader.audit_head(head.stream)).next_position
        return end if end == last.position + 1 < newest else block.first_position

    async def _archived_range(self, head: ArchiveHead) -> Segment | None:
        """Return the segment that the archive gives back for what the database has first."""
        try:
            return await segment_at(self._archive, head.stream, head.kept_from)
        except EventInvalid as error:
            raise ArchiveInvalid(
                f"the segment at position {head.kept_from} was changed in the archive ({error}): "
                "its range stays in the database"
            ) from error


def lost(position: int) -> str:
    """Return what to do about an archive that has not what it was given."""
    return (
        f"the archive lacks position {position}, which was archived: is it the right one, and "
        "mounted? If it is lost, `fileflux archive run --once --again` writes what the database has"
    )


async def record_at(reader: MetadataReader, stream: str, position: int) -> NumberedRecord | None:
    """Return the record at a position, None if the reader does not see it."""
    blocks = await reader.audit_blocks(stream, position, limit=1)
    records = [record for block in blocks for record in unpack_block(block)]
    return next((record for record in records if record.position == position), None)


def stamp_of(record: NumberedRecord) -> int:
    """Return when it took effect, in µs by the database's clock."""
    return decode_record(record.payload).stamp
