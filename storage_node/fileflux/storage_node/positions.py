"""Where this node is in its slot of the assignments, and whether that still means anything.

An offset alone says nothing after a topic was wiped: the same number may be another record. So it
is kept with time and CRC of the record before it, and compared with what the topic has there.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from fileflux.core.checksum import crc32c
from fileflux.core.telemetry import get_logger
from fileflux.events.ports import EventSource, Record

log = get_logger(__name__)

FIELDS: Final = ("partition", "offset", "before_us", "before_crc")


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """The next record to read; time and CRC of the one before it."""

    partition: int
    offset: int
    before_us: int
    before_crc: int


def position_after(record: Record) -> StoredPosition:
    return StoredPosition(
        record.position.partition,
        record.position.offset + 1,
        record.timestamp_us,
        crc32c(record.value),
    )


async def seek_to(
    source: EventSource, topic: str, partition: int, stored: StoredPosition | None
) -> None:
    """Go on where we were; from the first record when that place is not what it was.

    Reading again is harmless: what expired is skipped, what we hold is confirmed again.
    """
    offset = await _trusted_offset(source, topic, partition, stored)
    log.info("reading assignments", partition=partition, offset=offset)
    await source.seek(topic, partition, offset)


async def _trusted_offset(
    source: EventSource, topic: str, partition: int, stored: StoredPosition | None
) -> int | None:
    if stored is None or stored.partition != partition:
        return None
    first, end = await source.bounds(topic, partition)
    if not first <= stored.offset <= end:
        return None
    if stored.offset == first:
        # Retention took the record before it. A wiped topic begins at 0 again.
        return stored.offset if first else None
    before = await source.read_one(topic, partition, stored.offset - 1)
    return stored.offset if before and position_after(before) == stored else None


@dataclass(slots=True)
class OpenRecord:
    """A record of which some assignments are not dealt with."""

    position: StoredPosition
    left: int


class PositionTracker:
    """Records are finished out of order; the position is behind the oldest unfinished one."""

    def __init__(self) -> None:
        self._open: deque[OpenRecord] = deque()

    def begin(self, record: Record, count: int) -> OpenRecord:
        """Remember a record with `count` assignments to be dealt with."""
        entry = OpenRecord(position_after(record), count)
        self._open.append(entry)
        return entry

    def finish(self, entry: OpenRecord) -> StoredPosition | None:
        """One assignment of the record is dealt with. Return the new position if it moved."""
        entry.left -= 1
        return self.settled()

    def settled(self) -> StoredPosition | None:
        """Return the position behind the records that are wholly dealt with, if it moved."""
        moved = None
        while self._open and self._open[0].left <= 0:
            moved = self._open.popleft().position
        return moved
