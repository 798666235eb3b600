"""Commits what a materializer has ready, and finds the poison when that fails for good.

A lost race or a commit of which nobody knows leaves it unsure whose the lanes are: `reconcile`
before the next transaction. Settlements make it harmless that something is tried twice.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import FileFluxError, LaneLost, SettlementUnknown
from fileflux.core.failpoints import failpoint
from fileflux.core.telemetry import SEALING_SECONDS, SEALS_SETTLED, get_logger
from fileflux.core.tracing import TraceContext, tracer
from fileflux.events.dead_letter import DeadLetters
from fileflux.metadata.commit_traces import describe_sealing, sealing_span
from fileflux.metadata.completions import CompletionPublisher
from fileflux.metadata.intake import HeldCommit, Intake, commit_fault, seal_fault
from fileflux.metadata.lane_readings import Moves
from fileflux.metadata.lanes import LaneBook
from fileflux.metadata.pending_seals import PendingSeal, PendingSeals
from fileflux.metadata.ports import Database
from fileflux.metadata.sealing import Sealing, SealingTransaction, Settled, settle_as_failed

log = get_logger(__name__)

TRANSACTION_DEADLINE_S: Final = 10.0


class Committer:
    """One transaction at a time. `is_unsure`: reconcile first. `clock_ahead_us`: the database's
    clock minus ours; `committed_s`: when positions last moved."""

    def __init__(
        self,
        *,
        database: Database,
        book: LaneBook,
        pending: PendingSeals,
        intake: Intake,
        completions: CompletionPublisher,
        dead_letters: DeadLetters,
        clock: Clock,
    ) -> None:
        self._database = database
        self._book = book
        self._pending = pending
        self._intake = intake
        self._completions = completions
        self._dead_letters = dead_letters
        self._clock = clock
        self._attempted: Moves | None = None
        self._tracer = tracer()
        self.is_unsure = False
        self.clock_ahead_us = 0
        self.committed_s = clock.monotonic_s()

    async def commit(self, seals: list[PendingSeal]) -> None:
        """Commit these seals with every commit that is held; positions move with them."""
        await self._commit(seals, list(self._intake.held), moves_offsets=True)

    async def reconcile(self) -> None:
        """Keep the lanes that nobody else moved; forget the seals of the others."""
        now_s = self._clock.monotonic_s()
        for lane in await self._book.reconcile(now_s, self._attempted):
            self._pending.remove_lane(lane.number)
        self.is_unsure, self._attempted = False, None

    async def announce(self, settled: Sequence[Settled], trace: TraceContext | None = None) -> None:
        """Forget seals that settled and tell who waits for them. `trace`: of the transaction."""
        lanes: dict[int, list[Settled]] = {}
        for one in settled:
            self._pending.remove(one.pending)
            SEALS_SETTLED.labels(one.verdict).inc()
            lanes.setdefault(one.pending.lane, []).append(one)
        for lane, ones in lanes.items():
            await self._completions.send(lane, [one.settlement for one in ones], trace)

    async def _commit(
        self, seals: list[PendingSeal], commits: list[HeldCommit], *, moves_offsets: bool
    ) -> None:
        failpoint("materializer.before_transaction")
        work = SealingTransaction(
            seals,
            [held.commit for held in commits],
            book=self._book,
            pending=self._pending,
            moves_offsets=moves_offsets,
        )
        try:
            _check(seals, commits)
            with SEALING_SECONDS.time(), sealing_span(self._tracer, seals, commits) as span:
                sealing = await self._database.run(work.run, deadline_s=TRANSACTION_DEADLINE_S)
                if span:
                    describe_sealing(span, sealing)
        except LaneLost:
            self.is_unsure, self._attempted = True, None
        except SettlementUnknown:
            self.is_unsure, self._attempted = True, work.attempted
        except Exception as error:
            if isinstance(error, FileFluxError) and error.retriable:
                raise
            await self._isolate(seals, commits, error)
        else:
            await self._committed(sealing, commits, span.context)

    async def _committed(
        self, sealing: Sealing, commits: list[HeldCommit], trace: TraceContext | None
    ) -> None:
        failpoint("materializer.after_commit")
        self._dead_letters.note_success()
        self._book.moved(sealing.moves)
        self.committed_s = self._clock.monotonic_s()
        self._intake.release(commits)
        if sealing.clock_us is not None:
            self.clock_ahead_us = sealing.clock_us - self._clock.now_us()
        for pending, nodes in sealing.waiting:
            self._pending.correct(pending, nodes)
        await self.announce(sealing.settled, trace)

    async def _isolate(
        self, seals: list[PendingSeal], commits: list[HeldCommit], error: Exception
    ) -> None:
        """Halve what failed for good until the poison stands alone; then set it aside."""
        if not seals and not commits:
            raise error
        if len(seals) + len(commits) == 1:
            log.warning("a record cannot be applied", exc_info=error)
            await self._set_aside(seals, commits, f"cannot be applied: {error!r}")
            return
        for some_seals, some_commits in _halves(seals, commits):
            if not self.is_unsure:
                await self._commit(some_seals, some_commits, moves_offsets=False)

    async def _set_aside(
        self, seals: list[PendingSeal], commits: list[HeldCommit], cause: str
    ) -> None:
        for held in commits:
            await self._dead_letters.set_aside(held.record, cause)
        self._intake.release(commits)
        for pending in seals:
            await self._dead_letters.set_aside(pending.record, cause)
            await self._fail(pending, cause)

    async def _fail(self, pending: PendingSeal, cause: str) -> None:
        try:
            settled = await self._settle_as_failed(pending, cause)
        except SettlementUnknown:
            self._pending.remove(pending)  # Its waiter asks, or aborts it.
        else:
            await self.announce([settled])

    async def _settle_as_failed(self, pending: PendingSeal, cause: str) -> Settled:
        """Settle it, whatever in it is poison: those behind it must not wait."""
        try:
            return await self._database.run(
                lambda transaction: settle_as_failed(transaction, pending, cause),
                deadline_s=TRANSACTION_DEADLINE_S,
            )
        except SettlementUnknown:
            raise
        except Exception as error:
            if isinstance(error, FileFluxError) and error.retriable:
                raise
            log.exception("a poison seal's accepted uploads stay accepted")
        return await self._database.run(
            lambda transaction: settle_as_failed(transaction, pending, cause, ends_accepted=False),
            deadline_s=TRANSACTION_DEADLINE_S,
        )


def _check(seals: Sequence[PendingSeal], commits: Sequence[HeldCommit]) -> None:
    """Raise ValueError for what no database must be asked to store."""
    faults = [
        *(seal_fault(pending.seal) for pending in seals),
        *(commit_fault(held.commit) for held in commits),
    ]
    for fault in filter(None, faults):
        raise ValueError(fault)


def _halves(
    seals: list[PendingSeal], commits: list[HeldCommit]
) -> Iterator[tuple[list[PendingSeal], list[HeldCommit]]]:
    """Yield commits apart from seals, or halves of whichever there is."""
    if seals and commits:
        yield [], commits
        yield seals, []
    elif seals:
        middle = len(seals) // 2
        yield seals[:middle], []
        yield seals[middle:], []
    else:
        middle = len(commits) // 2
        yield [], commits[:middle]
        yield [], commits[middle:]
