"""Wait for a seal's settlement; ask before emitting again; abort what does not come.

Kafka is a doorbell that may not ring. After half a second of silence one statement for all who wait
returns settlements and committed nodes: a settlement ends the wait; a quorum everywhere means that
only the seal was lost; else the nodes that are silent are asked once more, or replaced. After 30 s
we settle the seal ourselves as aborted. The first writer wins, so with the database up an answer of
503 is a fact and not a guess.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.errors import (
    MetadataBusy,
    QuorumNotReached,
    SettlementUnknown,
    Unavailable,
)
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import BundleId, NodeId, SealId, UploadId
from fileflux.core.telemetry import (
    BUNDLES_ASSIGNED_AGAIN,
    SEALS_ABORTED,
    SEALS_ASKED,
    SEALS_EMITTED_AGAIN,
    get_logger,
)
from fileflux.events.ports import EventPublisher
from fileflux.events.topics import UPLOADS_SEALED
from fileflux.events.traced_publisher import trace_headers
from fileflux.ingest.assigner import Assigner
from fileflux.ingest.background import Background
from fileflux.ingest.seals import OpenSeal, OpenSeals, WatchedBundle
from fileflux.metadata.ports import SealState
from fileflux.metadata.rows import Settlement

log = get_logger(__name__)

ASK_DEADLINE_S: Final = 5.0
ASK_BACKOFF_S_MAX: Final = 4.0
ABORT_DEADLINE_S: Final = 15.0
TICK_S_MAX: Final = 0.1


class SettlementReader(Protocol):
    """The part of `MetadataReader` that a waiter needs."""

    async def seal_states(
        self, seals: Mapping[SealId, Sequence[BundleId]]
    ) -> dict[SealId, SealState]: ...

    async def clock_us(self) -> int: ...


class SealAborter(Protocol):
    """Settles a seal as aborted unless it is settled already."""

    async def abort(self, seal_id: SealId, upload_ids: Sequence[UploadId]) -> Settlement:
        """Return whichever settlement stands; raise MetadataBusy or SettlementUnknown."""


class Settler:
    """Owns every seal from its emission to its settlement. `run` watches for silence."""

    def __init__(
        self,
        *,
        seals: OpenSeals,
        assigner: Assigner,
        publisher: EventPublisher,
        reader: SettlementReader,
        aborter: SealAborter,
        background: Background,
        clock: Clock,
        lane: int,
        silence_s: float = 0.5,
        give_up_s: float = 30.0,
    ) -> None:
        self._seals = seals
        self._assigner = assigner
        self._publisher = publisher
        self._reader = reader
        self._aborter = aborter
        self._background = background
        self._clock = clock
        self._lane = lane
        self._silence_s = silence_s
        self._give_up_s = give_up_s
        self._somebody_waits = asyncio.Event()

    def open(self, seal: OpenSeal) -> None:
        """Take a new seal in: from now on its silence is noticed."""
        self._seals.open(seal)
        self._somebody_waits.set()

    def emit(self, seal: OpenSeal, record: bytes) -> None:
        """Publish the seal for the first time. It counts as emitted whatever becomes of that."""
        failpoint("ingest.before_seal")
        now_s = self._clock.monotonic_s()
        seal.ask_at_s = now_s + self._silence_s
        self._seals.mark_emitted(seal, record=record, now_s=now_s)
        self._background.spawn(self._publish(seal), name="publish a seal")

    async def settled(self, seal: OpenSeal) -> Settlement:
        """Return how an emitted seal settled; at the deadline, as aborted.

        Raise SettlementUnknown when the database cannot say.
        """
        try:
            async with asyncio.timeout(self._give_up_s):
                settlement = await seal.settled
        except TimeoutError:
            settlement = None
        if settlement is None:
            settlement = await self._abort(seal)
            seal.settle(settlement)
        return settlement

    def on_refused(self, bundle: WatchedBundle, node_id: NodeId) -> None:
        """Ask another node at once."""
        self._background.spawn(self._replace(bundle), name=f"replace {node_id}")

    async def run(self) -> None:
        """Until cancelled: look for silence several times within the time we call silence."""
        tick_s = min(TICK_S_MAX, self._silence_s / 5)
        while True:
            await self._somebody_waits.wait()
            await self._clock.sleep(tick_s)
            await self._ask_for_the_silent()
            if not len(self._seals):
                self._somebody_waits.clear()

    async def _ask_for_the_silent(self) -> None:
        now_s = self._clock.monotonic_s()
        silent = {seal.seal_id: (seal, due) for seal in self._seals if (due := _due(seal, now_s))}
        if not silent:
            return
        states = await self._ask({key: due.bundle_ids for key, (_, due) in silent.items()})
        for seal_id, (seal, due) in silent.items():
            self._delay_next_question(seal, due)
            if (state := states.get(seal_id)) is not None:
                self._learn(seal, due, state)
                if not seal.is_settled:
                    self._background.spawn(self._follow_up(seal, due), name="emit again")

    async def _ask(self, wanted: Mapping[SealId, Sequence[BundleId]]) -> Mapping[SealId, SealState]:
        SEALS_ASKED.inc(len(wanted))
        try:
            async with asyncio.timeout(ASK_DEADLINE_S):
                return await self._reader.seal_states(wanted)
        except (Unavailable, SettlementUnknown, TimeoutError) as error:
            log.info("settlements cannot be asked for", problem=str(error))
            return {}

    def _delay_next_question(self, seal: OpenSeal, due: "_Due") -> None:
        now_s = self._clock.monotonic_s()
        if due.seal:
            seal.ask_at_s = now_s + self._pause_s(seal.questions)
            seal.questions += 1
        for bundle in due.bundles:
            bundle.ask_at_s = now_s + self._pause_s(bundle.questions)
            bundle.questions += 1

    def _pause_s(self, questions: int) -> float:
        return min(ASK_BACKOFF_S_MAX, self._silence_s * 2.0 ** min(questions + 1, 16))

    def _learn(self, seal: OpenSeal, due: "_Due", state: SealState) -> None:
        for bundle in due.bundles:
            self._seals.confirm(bundle, state.committed.get(bundle.bundle_id, ()))
        if state.settlement is not None:
            seal.settle(state.settlement)

    async def _follow_up(self, seal: OpenSeal, due: "_Due") -> None:
        if seal.is_emitted and not seal.lacking:
            SEALS_EMITTED_AGAIN.inc()
            await self._publish(seal)
        for bundle in due.bundles:
            if not bundle.has_quorum:
                await self._assign_again(seal, bundle)

    async def _assign_again(self, seal: OpenSeal, bundle: WatchedBundle) -> None:
        BUNDLES_ASSIGNED_AGAIN.inc()
        try:
            await self._assigner.assign_again(bundle)
        except QuorumNotReached as error:
            _fail(seal, bundle, error)

    async def _replace(self, bundle: WatchedBundle) -> None:
        try:
            await self._assigner.replace_refused(bundle)
        except QuorumNotReached as error:
            seal = self._seals.seal_of(bundle.seal_id)
            if seal is not None:
                _fail(seal, bundle, error)

    async def _publish(self, seal: OpenSeal) -> None:
        assert seal.record is not None
        await self._publisher.publish(
            UPLOADS_SEALED,
            seal.record,
            partition=self._lane,
            key=seal.seal_id,
            headers=trace_headers(seal.trace),
        )
        failpoint("ingest.after_seal")

    async def _abort(self, seal: OpenSeal) -> Settlement:
        failpoint("ingest.before_abort")
        SEALS_ABORTED.inc()
        try:
            async with asyncio.timeout(ABORT_DEADLINE_S):
                return await self._aborter.abort(seal.seal_id, seal.upload_ids)
        except (MetadataBusy, TimeoutError) as error:
            raise SettlementUnknown(f"seal {seal.seal_id.hex()}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Due:
    """What of a seal has been silent for too long: itself, or some of its bundles."""

    seal: bool
    bundles: tuple[WatchedBundle, ...]

    def __bool__(self) -> bool:
        return self.seal or bool(self.bundles)

    @property
    def bundle_ids(self) -> tuple[BundleId, ...]:
        return tuple(bundle.bundle_id for bundle in self.bundles)


def _due(seal: OpenSeal, now_s: float) -> _Due:
    if seal.is_settled:
        return _Due(seal=False, bundles=())
    is_due = seal.is_emitted and now_s >= seal.ask_at_s
    bundles = tuple(b for b in seal.lacking.values() if is_due or now_s >= b.ask_at_s)
    return _Due(seal=is_due, bundles=bundles)


def _fail(seal: OpenSeal, bundle: WatchedBundle, error: QuorumNotReached) -> None:
    bundle.fail(error)
    seal.give_up()
