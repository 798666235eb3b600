"""How far each lane has been applied, and whether it is ours to apply.

A lane is two partitions, of seals and of commits. Two materializers on a lane are safe, because
seals settle once; positions only keep them from doing everything twice. Every transaction raises
the turn of the positions it moves: who finds it moved by another one stands by, and takes over when
the turn stands still although there is something to apply.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from fileflux.core.telemetry import LANES_LOST, LANES_OWNED, get_logger
from fileflux.events.ports import EventSource, Record
from fileflux.events.topics import BUNDLES_COMMITTED, UPLOADS_SEALED
from fileflux.metadata.pending_seals import NO_MARK, Mark, PendingSeal, PendingSeals, mark_of
from fileflux.metadata.ports import LanePosition, MetadataReader

log = get_logger(__name__)

TAKE_OVER_AFTER_S: Final = 3.0

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
class Lane:
    """A lane's two readings. `is_ours`; `is_parked`: its seals wait in the topic, we are full.

    `turns` and `still_since_s`: what a stand-by last saw of the owner.
    """

    number: int
    seals: Reading
    commits: Reading
    is_ours: bool = True
    is_parked: bool = False
    turns: tuple[int, int] = (0, 0)
    still_since_s: float = 0.0

    @property
    def readings(self) -> tuple[Reading, Reading]:
        return self.seals, self.commits


@dataclass(slots=True)
class Moves:
    """Positions before and after a transaction, for the compare-and-set."""

    before: list[LanePosition] = field(default_factory=list)
    after: list[LanePosition] = field(default_factory=list)

    def add(self, reading: Reading, after: LanePosition) -> None:
        self.before.append(reading.stored)
        self.after.append(after)


def places_of(lanes: Sequence[int]) -> list[Place]:
    """Return the partitions that a materializer of these lanes reads."""
    return [(topic, lane) for lane in lanes for topic in (UPLOADS_SEALED, BUNDLES_COMMITTED)]


class LaneBook:
    """The lanes of one materializer."""

    def __init__(
        self, numbers: Sequence[int], *, reader: MetadataReader, source: EventSource
    ) -> None:
        self._reader = reader
        self._source = source
        self.lanes = {
            number: Lane(
                number, _unread(UPLOADS_SEALED, number), _unread(BUNDLES_COMMITTED, number)
            )
            for number in numbers
        }

    @property
    def strangers(self) -> list[Lane]:
        """The lanes that somebody else applies."""
        return [lane for lane in self.lanes.values() if not lane.is_ours]

    async def start(self) -> None:
        """Read every lane from where the database says it has been applied to."""
        found = await self._load(list(self.lanes.values()))
        for lane in self.lanes.values():
            lane.seals.stored, lane.commits.stored = (found[r.place] for r in lane.readings)
            await self._seek(lane)
        LANES_OWNED.set(len(self.lanes))

    def is_ours(self, number: int) -> bool:
        lane = self.lanes.get(number)
        return lane is not None and lane.is_ours

    def note(self, record: Record) -> Mark:
        """A record was read; return the mark of the one before it."""
        lane = self.lanes[record.position.partition]
        reading = lane.seals if record.position.topic == UPLOADS_SEALED else lane.commits
        before = reading.mark
        reading.note(record)
        return before

    def moves(self, pending: PendingSeals, settled: Collection[PendingSeal]) -> Moves:
        """Return how positions move when these seals settle and every commit read is stored.

        A lane of which a seal settles moves in any case: its turn tells whether it was ours.
        """
        moves = Moves()
        touched = {seal.lane for seal in settled}
        for lane in self.lanes.values():
            if lane.is_ours:
                oldest = pending.oldest_of(lane.number, without=settled)
                _add_seals_move(moves, lane, oldest, is_touched=lane.number in touched)
                if lane.commits.next_offset != lane.commits.stored.offset:
                    after = lane.commits.moved(lane.commits.next_offset, lane.commits.mark)
                    moves.add(lane.commits, after)
        return moves

    def standing(self, seals: Collection[PendingSeal]) -> Moves:
        """Return moves that raise the turns of these seals' lanes and leave the offsets."""
        moves = Moves()
        for number in {seal.lane for seal in seals}:
            reading = self.lanes[number].seals
            moves.add(reading, replace(reading.stored, turn=reading.stored.turn + 1))
        return moves

    def moved(self, moves: Moves) -> None:
        """The transaction committed."""
        for position in moves.after:
            lane = self.lanes[position.partition]
            reading = lane.seals if position.topic == UPLOADS_SEALED else lane.commits
            reading.stored = position

    async def reconcile(self, now_s: float, attempted: Moves | None) -> list[Lane]:
        """Compare with the database after a lost race or an unknown commit; return lanes lost.

        `attempted`: the moves of a commit of which nobody knows; None: nothing of ours applied.
        """
        ours = [lane for lane in self.lanes.values() if lane.is_ours]
        found = await self._load(ours)
        mine = [] if attempted is None else attempted.after
        lost = []
        for lane in ours:
            stored = [found[reading.place] for reading in lane.readings]
            is_kept = all(
                position.turn == reading.stored.turn or position in mine
                for position, reading in zip(stored, lane.readings, strict=True)
            )
            lane.seals.stored, lane.commits.stored = stored
            if not is_kept:
                lost.append(lane)
                self._stand_by(lane, now_s)
        return lost

    async def watch(self, now_s: float) -> list[Lane]:
        """Take over strangers' lanes that stand still; return those taken."""
        found = await self._load(self.strangers)
        taken = []
        for lane in self.strangers:
            lane.seals.stored, lane.commits.stored = (found[r.place] for r in lane.readings)
            if _turns(lane) != lane.turns:
                lane.turns, lane.still_since_s = _turns(lane), now_s
            elif now_s - lane.still_since_s >= TAKE_OVER_AFTER_S and await self._has_lag(lane):
                await self._take(lane)
                taken.append(lane)
        return taken

    async def unpark(self, lane: Lane) -> None:
        """Read a lane's seals again from where we stopped."""
        await self._source.seek(*lane.seals.place, lane.seals.next_offset)
        lane.is_parked = False

    def _stand_by(self, lane: Lane, now_s: float) -> None:
        lane.is_ours = lane.is_parked = False
        lane.turns, lane.still_since_s = _turns(lane), now_s
        LANES_LOST.inc()
        LANES_OWNED.dec()
        log.info("another materializer applies this lane; standing by", lane=lane.number)

    async def _take(self, lane: Lane) -> None:
        await self._seek(lane)
        lane.is_ours = True
        LANES_OWNED.inc()
        log.info("taking over a lane that stood still", lane=lane.number)

    async def _load(self, lanes: Sequence[Lane]) -> dict[Place, LanePosition]:
        places = [reading.place for lane in lanes for reading in lane.readings]
        return await self._reader.lane_positions(places) if places else {}

    async def _seek(self, lane: Lane) -> None:
        for reading in lane.readings:
            offset = await self._verified(reading.stored)
            reading.next_offset = offset
            is_known = offset is not None
            reading.mark = _mark(reading.stored) if is_known else NO_MARK
            await self._source.seek(*reading.place, offset)

    async def _verified(self, position: LanePosition) -> int | None:
        """Return the offset to read from; None, the first one, when the topic is another one."""
        if position.offset is None:
            return None
        first, end = await self._source.bounds(position.topic, position.partition)
        if position.offset <= end and await self._is_same_topic(position, first):
            return position.offset
        log.warning("the topic was wiped and is read from its start", topic=position.topic)
        return None

    async def _is_same_topic(self, position: LanePosition, first: int) -> bool:
        """Compare the record before the position; one that retention removed tells nothing."""
        assert position.offset is not None
        if position.offset <= first or _mark(position) == NO_MARK:
            return True
        before = position.offset - 1
        record = await self._source.read_one(position.topic, position.partition, before)
        return record is not None and mark_of(record) == _mark(position)

    async def _has_lag(self, lane: Lane) -> bool:
        for reading in lane.readings:
            first, end = await self._source.bounds(*reading.place)
            if end > (reading.stored.offset or first):
                return True
        return False


def _unread(topic: str, lane: int) -> Reading:
    return Reading(LanePosition(topic, lane, turn=0, offset=None))


def _turns(lane: Lane) -> tuple[int, int]:
    return lane.seals.stored.turn, lane.commits.stored.turn


def _mark(position: LanePosition) -> Mark:
    return Mark(position.before_us, position.before_crc)


def _add_seals_move(
    moves: Moves, lane: Lane, oldest: PendingSeal | None, *, is_touched: bool
) -> None:
    reading = lane.seals
    offset, mark = reading.next_offset, reading.mark
    if oldest is not None and (offset is None or oldest.offset < offset):
        offset, mark = oldest.offset, oldest.before
    if is_touched or offset != reading.stored.offset:
        moves.add(reading, reading.moved(offset, mark))
