"""Read the audit stream by position or time, wherever its records lie.

The places are asked in order, and the first that has a position and continues the chain answers:
one that is away, behind, wiped or damaged is passed over, and asked again next time. So a reader
goes on without a gap while any place has what comes next. Memory is bounded by one page.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import orjson

from fileflux.core.clock import Clock
from fileflux.core.errors import AuditGap, EventInvalid, FileFluxError, Unavailable
from fileflux.core.model import MIB
from fileflux.core.telemetry import get_logger
from fileflux.metadata.audit_places import AuditPlace, Run
from fileflux.metadata.chain import FIRST_POSITION, NumberedRecord

log = get_logger(__name__)

PAGE_BYTES: Final = MIB
FOLLOW_POLL_S: Final = 0.25
CLOCK_SLACK_US: Final = 10_000_000
"""A record is numbered within seconds of its stamp, so look-ups by time begin a little earlier."""


class AuditReader:
    """`places`: in the order in which they are asked.

    `end_of`: the place that is asked first where the stream ends; None: the first one.
    """

    def __init__(self, places: Sequence[AuditPlace], *, end_of: AuditPlace | None = None) -> None:
        assert places, "a reader reads somewhere"
        self._places = tuple(places)
        self._ends = (end_of, *places) if end_of is not None else self._places

    async def read(
        self, position: int, *, previous_hash: bytes | None = None, bytes_max: int = PAGE_BYTES
    ) -> Run:
        """Return records from `position` on; none if it is not numbered yet.

        `previous_hash`: h(n-1), if it is known. Raise AuditGap for a position that no place has
        although later ones exist; Unavailable when a place that might have it does not answer.
        """
        run = await self._ask(position, previous_hash, bytes_max)
        if run or position >= await self.end():
            return run
        # It may have been numbered in between.
        run = await self._ask(position, previous_hash, bytes_max)
        if not run:
            raise AuditGap(f"position {position} of the audit stream is in no place")
        return run

    async def end(self) -> int:
        """Return the position after the last one, as the first place that answers knows it."""
        problem: FileFluxError | None = None
        for place in self._ends:
            try:
                return await place.end()
            except (Unavailable, EventInvalid) as error:
                problem = error
        raise Unavailable("no place of the audit stream answers") from problem

    async def pages(
        self, position: int, *, until: int | None = None, follow: Clock | None = None
    ) -> AsyncIterator[Run]:
        """Yield the records from `position` on, before `until`; with `follow`, wait for more."""
        previous_hash = None
        while until is None or position < until:
            run = await self.read(position, previous_hash=previous_hash)
            if run:
                previous_hash, position = run[-1].chain_hash, run[-1].position + 1
                yield run if until is None else [one for one in run if one.position < until]
            elif follow is None:
                return
            else:
                await follow.sleep(FOLLOW_POLL_S)

    async def position_at(self, time_us: int) -> int:
        """Return a position before which nothing took effect at `time_us` or later, by halves.

        Records that took effect a little earlier may follow it: compare their time, too.
        """
        return await self._first_at(time_us - CLOCK_SLACK_US)

    async def position_after(self, time_us: int) -> int:
        """Return a position from which on nothing took effect before `time_us`, up to the end."""
        return await self._first_at(time_us + CLOCK_SLACK_US)

    async def _first_at(self, wanted_us: int) -> int:
        low, high = FIRST_POSITION, await self.end()
        while low < high:
            middle = (low + high) // 2
            if await self._is_before(middle, wanted_us):
                low = middle + 1
            else:
                high = middle
        return low

    async def _is_before(self, position: int, time_us: int) -> bool:
        try:
            run = await self.read(position, bytes_max=1)
        except AuditGap:
            return True  # What is gone was older than what is left.
        return bool(run) and stamp_of(run[0]) < time_us

    async def _ask(self, position: int, previous_hash: bytes | None, bytes_max: int) -> Run:
        problem: FileFluxError | None = None
        for place in self._places:
            try:
                run = await place.read(position, bytes_max=bytes_max)
            except (Unavailable, EventInvalid) as error:
                problem = error
                continue
            whole = _unbroken(run, position, previous_hash)
            if whole:
                return whole
            if run:
                problem = AuditGap(f"the {place.name} does not continue at position {position}")
                log.warning("a place of the audit stream is passed over", problem=str(problem))
        if problem is not None:
            raise Unavailable(f"audit position {position}: {problem}") from problem
        return ()


def _unbroken(run: Run, position: int, previous_hash: bytes | None) -> Run:
    """Return the records up to where positions or hashes do not follow.

    The record before a wrong hash may be the changed one. The last record is vouched for by the
    next page only, which no place will continue then.
    """
    for count, record in enumerate(run):
        if record.position != position + count:
            return run[:count]
        if previous_hash is not None and record.previous_hash != previous_hash:
            return run[: max(0, count - 1)]
        previous_hash = record.chain_hash
    return run


def stamp_of(record: NumberedRecord) -> int:
    """Return when a record's change took effect, µs since 1970; raise EventInvalid."""
    try:
        return int(orjson.loads(record.payload)["data"]["stamp"])
    except (KeyError, TypeError, ValueError) as error:
        raise EventInvalid(f"position {record.position} is no audit record") from error
