"""The whole write path on one seeded loop: real services, twins of what is outside of them."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, TypeVar

from tests.simulation.chaos import Chaos
from tests.simulation.loop import SeededLoop
from tests.simulation.network import Network
from tests.simulation.plan import Plan
from tests.simulation.services import (
    IngestService,
    MaterializerService,
    NodeService,
    PlacementService,
    SequencerService,
    Service,
    SimulatedHost,
)

from fileflux.core.clock import LoopClock
from fileflux.core.ids import BundleId, SealId, UploadId
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import EventSource, Record
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.ports import Transaction

T = TypeVar("T")

EPOCH_US = 1_767_225_600_000_000
RESTART_S_MAX = 6.0
PATIENCE_S = 0.5


class SimulatedDatabase(MemoryDatabase):
    """With a way to and from it, on which a commit's answer may be slow. `downs`: how often."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(LoopClock())
        self.faults.rng = rng
        self._rng = rng
        self.latency_s = 0.002
        self.downs = 0

    def start(self) -> None:
        self.faults.is_down = False

    def heal(self) -> None:
        self.start()
        self.faults.serialization_failures = self.faults.ambiguous_commits = 0.0
        self.latency_s = 0.002

    async def _attempt(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        await asyncio.sleep(self._rng.uniform(0, self.latency_s))
        result = await super()._attempt(work)
        await asyncio.sleep(self._rng.uniform(0, self.latency_s))
        return result


class SimulatedReader(MemoryReader):
    """Questions take as long as transactions."""

    def __init__(self, database: SimulatedDatabase, rng: random.Random) -> None:
        super().__init__(database)
        self._simulated = database
        self._rng = rng

    async def _statement(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, self._simulated.latency_s))
        await super()._statement()


class PatientSource:
    """Waits longer for records than it was asked to: they wake it, and idle rounds cost steps."""

    def __init__(self, source: EventSource, patience_s: float) -> None:
        self._source = source
        self._patience_s = patience_s

    async def fetch(self, *, max_records: int = 500, wait_s: float = 0.1) -> list[Record]:
        patient_s = max(wait_s, self._patience_s) if wait_s >= 0.1 else wait_s
        return await self._source.fetch(max_records=max_records, wait_s=patient_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


class SimulatedBroker(MemoryBroker):
    async def source(self, partitions: Any) -> Any:
        return PatientSource(await super().source(partitions), PATIENCE_S)


class World:
    """`problems`: what must not be and was noticed at once; `coverage`: what was done to it."""

    lanes = 2
    slots = 4
    patience_s = PATIENCE_S

    def __init__(self, plan: Plan, loop: SeededLoop) -> None:
        self.plan = plan
        self.seed = plan.seed
        self.loop = loop
        self.storage_class = plan.storage_class
        self.problems: list[str] = []
        self.coverage: set[str] = set()
        self.failpoints: set[str] = set()
        self.strikes = 0
        self.staged: dict[UploadId, dict[BundleId, None]] = {}
        self.sealed: dict[BundleId, tuple[int, int]] = {}
        self.clock = LoopClock()
        self.broker = SimulatedBroker(
            clock=self.clock, lanes=self.lanes, slots=self.slots, rng=self.rng("broker")
        )
        self.database = SimulatedDatabase(self.rng("database"))
        self.reader = SimulatedReader(self.database, self.rng("reader"))
        self.network = Network(self, self.rng("network"))
        self.host = SimulatedHost()
        self.nodes = [NodeService(self, f"node-{n}") for n in range(plan.nodes)]
        self.ingests = [IngestService(self, f"ingest-{n}") for n in range(plan.ingests)]
        self.services: list[Service] = [
            *self.nodes,
            *(PlacementService(self, f"placement-{n}") for n in range(plan.placements)),
            *(MaterializerService(self, f"materializer-{n}") for n in range(plan.materializers)),
            *(SequencerService(self, f"sequencer-{n}") for n in range(plan.sequencers)),
            *self.ingests,
        ]
        self.chaos = Chaos(self, self.rng("chaos"))
        self._restarts = self.rng("restarts")
        self.is_over = False

    def rng(self, name: str) -> random.Random:
        return random.Random(f"{self.plan.seed}/{name}")

    def skewed_clock(self, name: str) -> LoopClock:
        apart_us = int(2_000_000 * self.plan.rate("clocks apart"))
        return LoopClock(EPOCH_US + self.rng(f"{name}/clock").randint(-apart_us, apart_us))

    def node(self, name: str) -> NodeService:
        return next(node for node in self.nodes if node.name == name)

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def start(self) -> None:
        for service in self.services:
            service.start()

    def after_death(self, service: Service) -> None:
        """Supervision: whoever dies is started again."""
        if not self.is_over:
            delay_s = self._restarts.uniform(0.05, RESTART_S_MAX)
            self.loop.call_later(delay_s, self._restart, service, context=Context())

    def _restart(self, service: Service) -> None:
        if not self.is_over and not service.process.is_alive:
            service.start()

    def end(self) -> None:
        """Nobody is started again."""
        self.is_over = True
        for service in self.services:
            service.process.kill()

    def note_staged(
        self, bundle_id: BundleId, sealed: tuple[int, int], uploads: set[UploadId]
    ) -> None:
        self.sealed[bundle_id] = sealed
        for upload_id in uploads:
            self.staged.setdefault(upload_id, {})[bundle_id] = None

    def seal_of(self, bundle_id: BundleId) -> SealId:
        return SealId(bundle_id)

    def check_acked(self, upload_id: UploadId) -> None:
        """At the very moment of an answer: W nodes have every bundle of the upload."""
        for bundle_id in self.staged.get(upload_id, ()):
            sealed = self.sealed[bundle_id]
            count = sum(node.store.holds(bundle_id, sealed) for node in self.nodes)
            if count < self.storage_class.quorum:
                self.problem(
                    f"acked with {count} of {self.storage_class.quorum} replicas: "
                    f"upload {upload_id.hex()} bundle {bundle_id.hex()}"
                )

    async def until(self, condition: Callable[[], bool], *, within_s: float) -> bool:
        """Return whether the condition came true in time."""
        deadline_s = self.loop.time() + within_s
        while not condition():
            if self.loop.time() >= deadline_s:
                return False
            await asyncio.sleep(0.1)
        return True
