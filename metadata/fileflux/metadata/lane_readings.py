"""Where a materializer stands in the two partitions of a lane, and how positions move."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fileflux.events.ports import Record
from fileflux.events.topics import BUNDLES_COMMITTED, UPLOADS_SEALED
from fileflux.metadata.pending_seals import NO_MARK, Mark, PendingSeal, mark_of
from fileflux.metadata.ports import LanePosition

Place = tuple[str, int]


@dataclass(slots=True)
class Reading:
    """One partition. `stored`: as the database has it; the next record to read, and its `mark`."""

    stored: LanePosition
    next_offset: int | None = None
    mark: Mark = NO_MARK

    @property
    def place(self) -> Place:
        return self.stored.topic, self.stored.partition

    def note(self, record: Record) -> None:
        """A record was read. Whatever its offset: a wiped topic starts again."""
        self.next_offset = record.position.offset + 1
        self.mark = mark_of(record)

    def moved(self, offset: int | None, mark: Mark) -> LanePosition:
        """Return the position after a transaction that applied what is before `offset`."""
        return replace(
            self.stored,
            turn=self.stored.turn + 1,
            offset=offset,
            before_us=mark.timestamp_us,
            before_crc=mark.crc,
        )


@dataclass(slots=True)
class Moves:
    """Positions before and after a transaction, for the compare-and-set."""

    before: list[LanePosition] = field(default_factory=list)
    after: list[LanePosition] = field(default_factory=list)

    def add(self, reading: Reading, after: LanePosition) -> None:
        self.before.append(reading.stored)
        self.after.append(after)


@dataclass(slots=True)
class Lane:
    """A lane's two readings. `is_ours`; `is_parked`: its seals wait in the topic, we are full.

    `seen_turns` and `still_since_s`: what a stand-by last saw of the owner.
    """

    number: int
    seals: Reading
    commits: Reading
    is_ours: bool = True
    is_parked: bool = False
    seen_turns: tuple[int, int] = (0, 0)
    still_since_s: float = 0.0

    @property
    def readings(self) -> tuple[Reading, Reading]:
        return self.seals, self.commits

    @property
    def turns(self) -> tuple[int, int]:
        return self.seals.stored.turn, self.commits.stored.turn

    def store(self, positions: Mapping[Place, LanePosition]) -> None:
        """Take over what the database says."""
        for reading in self.readings:
            reading.stored = positions[reading.place]

    def add_moves(self, moves: Moves, oldest: PendingSeal | None, *, is_touched: bool) -> None:
        """Add how the positions move when every commit read is a row and `oldest` still waits."""
        offset, mark = self.seals.next_offset, self.seals.mark
        if oldest is not None and (offset is None or oldest.offset < offset):
            offset, mark = oldest.offset, oldest.before
        if is_touched or offset != self.seals.stored.offset:
            moves.add(self.seals, self.seals.moved(offset, mark))
        if self.commits.next_offset != self.commits.stored.offset:
            after = self.commits.moved(self.commits.next_offset, self.commits.mark)
            moves.add(self.commits, after)


def lane_unread(number: int) -> Lane:
    """Return a lane of which nothing is known yet."""
    seals, commits = (
        Reading(LanePosition(topic, number, turn=0, offset=None))
        for topic in (UPLOADS_SEALED, BUNDLES_COMMITTED)
    )
    return Lane(number, seals, commits)


def mark_before(position: LanePosition) -> Mark:
    """Return the mark of the record before a stored position."""
    return Mark(position.before_us, position.before_crc)
