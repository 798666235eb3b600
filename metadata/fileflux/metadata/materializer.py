"""Seals and commits become rows: the process that decides what a sealed upload does.

It drains what is there, settles it in one transaction, tells the ingests, and drains again: the
busier it is, the more seals share a transaction. Everything it keeps in memory can be read again,
every record may come twice, late or never, and another materializer may do the same work: seals
settle once.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import FileFluxError
from fileflux.core.telemetry import SEALS_PENDING, get_logger
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.ports import EventSource
from fileflux.metadata.committer import Committer
from fileflux.metadata.completions import CompletionPublisher
from fileflux.metadata.intake import Intake
from fileflux.metadata.lanes import LaneBook
from fileflux.metadata.pending_seals import PendingSeal, PendingSeals
from fileflux.metadata.ports import Database, MetadataReader
from fileflux.metadata.sealing import Settled

log = get_logger(__name__)

FETCH_RECORDS_MAX: Final = 500
FETCH_WAIT_S: Final = 0.1
COMMITS_LINGER_S: Final = 0.05
"""Replica rows that complete no seal wait so long for the other nodes' commits. Nobody waits for
them, a flush on three nodes takes one transaction instead of three, and a large upload's chunks
share some."""
COMMITS_HELD_MAX: Final = 4_096
"""While the database is away, no more are fetched."""
CHANGES_MAX: Final = 1_024
"""Per transaction: more would make those that wait behind it wait longer than they save."""
FIRST_COUNT_S: Final = 0.1
"""Commits come as events; the rows are asked only about those that came before we did, so not for
each seal while its commits are on their way."""
RECOUNT_S: Final = 0.5
RECOUNT_SEALS_MAX: Final = 256
WATCH_S: Final = 0.5
IDLE_MOVE_S: Final = 5.0
"""Positions that moved without anything to store are stored this often."""
RETRY_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterializerDependencies:
    """`source` reads `lanes.places_of(lanes)`; `fetch_wait_s`: how long an idle step takes."""

    database: Database
    reader: MetadataReader
    source: EventSource
    completions: CompletionPublisher
    dead_letters: DeadLetters
    clock: Clock
    lanes: Sequence[int]
    pending: PendingSeals = field(default_factory=PendingSeals)
    fetch_wait_s: float = FETCH_WAIT_S


class Materializer:
    """One loop over some lanes. `problem`: why the last turn failed; `turned_s`: when it ended."""

    def __init__(self, deps: MaterializerDependencies) -> None:
        self._clock = deps.clock
        self._reader = deps.reader
        self._source = deps.source
        self._fetch_wait_s = deps.fetch_wait_s
        self._completions = deps.completions
        self._pending = deps.pending
        self._book = LaneBook(deps.lanes, reader=deps.reader, source=deps.source)
        self._intake = Intake(
            self._book, self._pending, dead_letters=deps.dead_letters, clock=deps.clock
        )
        self._committer = Committer(
            database=deps.database,
            book=self._book,
            pending=self._pending,
            intake=self._intake,
            completions=deps.completions,
            dead_letters=deps.dead_letters,
            clock=deps.clock,
        )
        self._is_started = False
        self._watched_s = self._clock.monotonic_s()
        self.problem: str | None = "not started yet"
        self.turned_s = self._clock.monotonic_s()

    async def run(self, stopping: asyncio.Event) -> None:
        """Apply until `stopping`. Raise PoisonLimitReached when too much in a row is poison."""
        while not stopping.is_set():
            await self.turn()
        await self._completions.drain()

    async def turn(self) -> None:
        """Do one step; a broker or a database that is away is waited for."""
        try:
            await self.step()
            self.problem = None
        except FileFluxError as error:
            if not error.retriable:
                raise
            self.problem = str(error)
            log.info("applying again after a passing fault", cause=repr(error))
            await self._clock.sleep(RETRY_S)
        self.turned_s = self._clock.monotonic_s()

    async def step(self) -> None:
        """Drain, settle what is ready, look after what waits."""
        if not self._is_started:
            await self._start()
        if len(self._intake.held) < COMMITS_HELD_MAX:
            records = await self._source.fetch(
                max_records=FETCH_RECORDS_MAX, wait_s=self._patience_s()
            )
            await self._intake.take(records)
        await self._settle_ready()
        await self._tend()
        await self._settle_ready()
        SEALS_PENDING.set(len(self._pending))

    async def _start(self) -> None:
        await self._book.start()
        clock_us = await self._reader.clock_us()
        self._committer.clock_ahead_us = clock_us - self._clock.now_us()
        self._is_started = True

    def _patience_s(self) -> float:
        if self._intake.is_waiting or self._pending.ready:
            return 0.0
        return (
            min(COMMITS_LINGER_S, self._fetch_wait_s) if self._intake.held else self._fetch_wait_s
        )

    async def _settle_ready(self) -> None:
        """Run transactions until nothing is ready and no commit waits too long to be a row."""
        while self._committer.is_unsure or self._pending.ready or self._has_old_commits():
            if self._committer.is_unsure:
                await self._committer.reconcile()
            else:
                await self._committer.commit(_first_of(self._pending.ready.values()))

    def _has_old_commits(self) -> bool:
        waited_s = self._clock.monotonic_s() - self._intake.held_since_s
        return bool(self._intake.held) and waited_s >= COMMITS_LINGER_S

    async def _tend(self) -> None:
        """Expire, count seals in the rows, go on with parked and strangers' lanes."""
        now_s = self._clock.monotonic_s()
        self._mark_expired()
        await self._count(self._due_for_count(now_s), now_s)
        await self._unpark()
        if self._book.strangers and now_s - self._watched_s >= WATCH_S:
            self._watched_s = now_s
            await self._book.watch(now_s)
        await self._store_positions(now_s)

    def _mark_expired(self) -> None:
        now_us = self._clock.now_us() + self._committer.clock_ahead_us
        for pending in self._pending:
            if now_us > pending.seal.deadline_us:
                self._pending.mark_ready(pending)

    def _due_for_count(self, now_s: float) -> list[PendingSeal]:
        due = []
        for pending in self._pending:
            if pending.count_at_s is None:
                pending.count_at_s = now_s + FIRST_COUNT_S
            if now_s >= pending.count_at_s and pending.seal.seal_id not in self._pending.ready:
                due.append(pending)
        return due[:RECOUNT_SEALS_MAX]

    async def _count(self, seals: list[PendingSeal], now_s: float) -> None:
        """Ask what the rows say: a commit may have come by another lane, or long ago."""
        if not seals:
            return
        states = await self._reader.seal_states(self._pending.bundles_of(seals))
        stored = []
        for pending in seals:
            pending.count_at_s = now_s + RECOUNT_S
            state = states[pending.seal.seal_id]
            if state.settlement is not None:
                stored.append(Settled(pending, state.settlement, "stored"))
            else:
                self._pending.count(pending, state.committed)
        await self._committer.announce(stored)

    async def _unpark(self) -> None:
        if self._pending.has_room:
            for lane in self._book.lanes.values():
                if lane.is_parked:
                    await self._book.unpark(lane)

    async def _store_positions(self, now_s: float) -> None:
        if now_s - self._committer.committed_s < IDLE_MOVE_S or self._intake.held:
            return
        self._committer.committed_s = now_s
        if self._book.moves(self._pending, ()).after:
            await self._committer.commit([])


def _first_of(ready: Iterable[PendingSeal]) -> list[PendingSeal]:
    """Return as many of the ready seals as one transaction shall take, at least one."""
    taken: list[PendingSeal] = []
    changes = 0
    for pending in ready:
        changes += len(pending.seal.changes)
        if taken and changes > CHANGES_MAX:
            break
        taken.append(pending)
    return taken
