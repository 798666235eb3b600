"""How far each lane has been applied, and whether it is ours to apply.

A lane is two partitions, of seals and of commits. Two materializers on a lane are safe, because
seals settle once; positions only keep them from doing everything twice. Every transaction raises
the turn of the positions it moves: who finds it moved by another one stands by, and takes over when
the turn stands still although there is something to apply.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from fileflux.core.telemetry import LANES_LOST, LANES_OWNED, get_logger
from fileflux.events.ports import EventSource, Record
from fileflux.events.topics import BUNDLES_COMMITTED, UPLOADS_SEALED
from fileflux.metadata.lane_readings import Lane, Moves, Place, lane_unread, mark_before
from fileflux.metadata.pending_seals import NO_MARK, Mark, PendingSeal, PendingSeals, mark_of
from fileflux.metadata.ports import LanePosition, MetadataReader

log = get_logger(__name__)

TAKE_OVER_AFTER_S: Final = 3.0


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
        self.lanes = {number: lane_unread(number) for number in numbers}

    @property
    def strangers(self) -> list[Lane]:
        """The lanes that somebody else applies."""
        return [lane for lane in self.lanes.values() if not lane.is_ours]

    async def start(self) -> None:
        """Read every lane from where the database says it has been applied to."""
        found = await self._load(list(self.lanes.values()))
        for lane in self.lanes.values():
            lane.store(found)
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
                lane.add_moves(moves, oldest, is_touched=lane.number in touched)
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
            is_kept = all(
                found[reading.place].turn == reading.stored.turn or found[reading.place] in mine
                for reading in lane.readings
            )
            lane.store(found)
            if not is_kept:
                lost.append(lane)
                self._stand_by(lane, now_s)
        return lost

    async def watch(self, now_s: float) -> list[Lane]:
        """Take over strangers' lanes that stand still; return those taken."""
        found = await self._load(self.strangers)
        taken = []
        for lane in self.strangers:
            lane.store(found)
            if lane.turns != lane.seen_turns:
                lane.seen_turns, lane.still_since_s = lane.turns, now_s
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
        lane.seen_turns, lane.still_since_s = lane.turns, now_s
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
            reading.mark = mark_before(reading.stored) if is_known else NO_MARK
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
        if position.offset <= first or mark_before(position) == NO_MARK:
            return True
        before = position.offset - 1
        record = await self._source.read_one(position.topic, position.partition, before)
        return record is not None and mark_of(record) == mark_before(position)

    async def _has_lag(self, lane: Lane) -> bool:
        for reading in lane.readings:
            first, end = await self._source.bounds(*reading.place)
            if end > (reading.stored.offset or first):
                return True
        return False
