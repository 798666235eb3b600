"""The rest of the pipeline in memory, for tests and examples of ingest alone.

Nodes that confirm, refuse or stay silent, a materializer that settles what has W commits, and the
rows they leave. It follows the events only, so what ingest publishes is what is tested; the whole
system's simulation uses the real services instead.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from fileflux.core.bundle_view import BundleIndexView, check_bundle
from fileflux.core.changes import AcceptAsync, Change, Outcome, PutObject
from fileflux.core.clock import Clock, SystemClock
from fileflux.core.errors import BrokerUnavailable, MetadataBusy
from fileflux.core.ids import (
    BundleId,
    Incarnation,
    NodeId,
    SealId,
    UploadId,
    new_id,
    route_hash,
)
from fileflux.core.model import MIB, SizeClass, StorageClass
from fileflux.events.codec import decode_events, encode_events
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import EventSource
from fileflux.events.schema import (
    BundleAssigned,
    BundleCommitted,
    BundleRefused,
    Event,
    UploadsCompleted,
    UploadsSealed,
)
from fileflux.events.topics import (
    BUNDLES_ASSIGNED,
    BUNDLES_COMMITTED,
    UPLOADS_COMPLETED,
    UPLOADS_SEALED,
)
from fileflux.ingest.bundler import EngineDependencies, UploadEngine, open_engine
from fileflux.ingest.staging import MemoryHost, MemoryStaging
from fileflux.metadata.ports import SealState
from fileflux.metadata.rows import Settlement

NodeMood = Literal["takes", "refuses", "silent"]


@dataclass(frozen=True, slots=True)
class FixedChoice:
    nodes: tuple[NodeId, ...]
    epoch: int = 1
    set_number: int = 0


@dataclass(slots=True)
class FixedPlacement:
    """A placement view over a fixed list of nodes, all alive unless a test says otherwise."""

    node_ids: Sequence[NodeId]
    down: set[NodeId] = field(default_factory=set)

    def choose(
        self,
        bundle_id: BundleId,
        attempt: int,
        storage_class: StorageClass,
        size_class: SizeClass,
        avoid: Collection[NodeId] = (),
    ) -> FixedChoice | None:
        usable = [n for n in self.node_ids if n not in avoid and n not in self.down]
        if len(usable) < storage_class.replicas:
            return None
        start = route_hash(bundle_id, attempt.to_bytes(4, "big")) % len(usable)
        rotated = usable[start:] + usable[:start]
        return FixedChoice(tuple(rotated[: storage_class.replicas]))

    def node_url(self, node_id: NodeId) -> str | None:
        return f"http://{node_id}.invalid"

    def is_alive(self, node_id: NodeId) -> bool:
        return node_id not in self.down


class MemoryPipeline:
    """Nodes, materializer and database in one object. `run` follows the broker.

    `moods`: how each node behaves; `settles` False: the materializer is away. `database_up` False:
    everything that asks it raises MetadataBusy.
    """

    def __init__(self, broker: MemoryBroker, clock: Clock, lanes: int, slots: int) -> None:
        self.moods: dict[NodeId, NodeMood] = {}
        self.settles = True
        self.database_up = True
        self.assignments: list[BundleAssigned] = []
        self.seals: dict[SealId, UploadsSealed] = {}
        self.settlements: dict[SealId, Settlement] = {}
        self.committed: dict[BundleId, set[NodeId]] = {}
        self.applied: list[Change] = []
        self.direct: list[Change] = []
        self.async_states: dict[UploadId, str] = {}
        self.questions = 0
        self._broker = broker
        self._clock = clock
        self._places = [
            *((BUNDLES_ASSIGNED, slot) for slot in range(slots)),
            *((UPLOADS_SEALED, lane) for lane in range(lanes)),
        ]

    async def run(self) -> None:
        source = await self._broker.source(self._places)
        self._publisher = await self._broker.fast_publisher()
        while True:
            for event in await _fetch_events(source):
                if isinstance(event, BundleAssigned):
                    await self._answer(event)
                elif isinstance(event, UploadsSealed):
                    self.seals[event.seal_id] = event
            for done in self._settle():
                await self._publish(UPLOADS_COMPLETED, done, done.lane)

    async def _answer(self, event: BundleAssigned) -> None:
        answer = self._take(event)
        if answer is not None:
            await self._publish(BUNDLES_COMMITTED, answer, event.lane)

    async def _publish(self, topic: str, event: Event, partition: int) -> None:
        # A broker that is away loses it: whoever waits asks the rows.
        with contextlib.suppress(BrokerUnavailable):
            await self._publisher.publish(topic, encode_events([event]), partition=partition)

    def _take(self, event: BundleAssigned) -> BundleCommitted | BundleRefused | None:
        self.assignments.append(event)
        mood = self.moods.get(event.node_id, "takes")
        if mood == "silent":
            return None
        if mood == "refuses":
            return BundleRefused(
                bundle_id=event.bundle_id,
                seal_id=event.seal_id,
                node_id=event.node_id,
                reason="full",
            )
        self.committed.setdefault(event.bundle_id, set()).add(event.node_id)
        now_us = self._clock.now_us()
        return BundleCommitted(
            bundle_id=event.bundle_id,
            seal_id=event.seal_id,
            node_id=event.node_id,
            node_epoch=1,
            size=event.size,
            crc=event.crc,
            received_us=now_us,
            pulled_us=now_us,
            durable_us=now_us,
        )

    def _settle(self) -> list[UploadsCompleted]:
        if not self.settles:
            return []
        return [self._complete(seal) for seal in tuple(self.seals.values()) if self._is_due(seal)]

    def _is_due(self, seal: UploadsSealed) -> bool:
        counts = [len(self.committed.get(b.bundle_id, ())) for b in seal.bundles]
        return all(count >= seal.quorum for count in counts)

    def _complete(self, seal: UploadsSealed) -> UploadsCompleted:
        del self.seals[seal.seal_id]
        now_us = self._clock.now_us()
        outcomes = tuple(
            Outcome(upload_id=c.upload_id, version_id=c.upload_id, stamp=now_us)
            for c in seal.changes
        )
        fresh = Settlement(
            seal_id=seal.seal_id, outcomes=outcomes, aborted=False, settled_us=now_us
        )
        stands = self.settlements.setdefault(seal.seal_id, fresh)
        if stands is fresh:
            self._store(seal.changes)
        return UploadsCompleted(
            seal_id=seal.seal_id, lane=seal.lane, outcomes=stands.outcomes, completed_us=now_us
        )

    def _store(self, changes: Sequence[Change]) -> None:
        self.applied.extend(changes)
        for change in changes:
            if isinstance(change, PutObject) and change.is_async:
                self.async_states[change.upload_id] = "ok"

    # The database, as ingest sees it.

    async def seal_states(
        self, seals: Mapping[SealId, Sequence[BundleId]]
    ) -> dict[SealId, SealState]:
        self._check_up()
        self.questions += 1
        return {
            seal_id: SealState(
                settlement=self.settlements.get(seal_id),
                committed={b: frozenset(self.committed.get(b, ())) for b in bundles},
            )
            for seal_id, bundles in seals.items()
        }

    async def clock_us(self) -> int:
        self._check_up()
        return self._clock.now_us()

    async def abort(self, seal_id: SealId, upload_ids: Sequence[UploadId]) -> Settlement:
        self._check_up()
        outcomes = tuple(Outcome(upload_id=u, status="Aborted") for u in upload_ids)
        fresh = Settlement(
            seal_id=seal_id, outcomes=outcomes, aborted=True, settled_us=self._clock.now_us()
        )
        return self.settlements.setdefault(seal_id, fresh)

    async def submit(self, change: Change) -> Outcome:
        self._check_up()
        self.direct.append(change)
        if isinstance(change, AcceptAsync):
            self.async_states.setdefault(change.upload_id, "accepted")
        return Outcome(upload_id=change.upload_id, version_id=change.upload_id)

    async def find_async(self, upload_id: UploadId) -> str | None:
        self._check_up()
        return self.async_states.get(upload_id)

    def _check_up(self) -> None:
        if not self.database_up:
            raise MetadataBusy("the database is down")


async def _fetch_events(source: EventSource) -> list[object]:
    records = await source.fetch(wait_s=0.02)
    await asyncio.sleep(0)
    return [event for record in records for event in decode_events(record.value)]


@dataclass(slots=True)
class MemoryWorld:
    """An upload engine with all that it needs in memory. Make it with `open_memory_world`."""

    broker: MemoryBroker
    pipeline: MemoryPipeline
    placement: FixedPlacement
    host: MemoryHost
    staging: MemoryStaging
    engine: UploadEngine
    lanes: int

    def emitted(self) -> list[UploadsSealed]:
        """Every seal as often as it was published."""
        records = [r for n in range(self.lanes) for r in self.broker.records(UPLOADS_SEALED, n)]
        events = [event for record in records for event in decode_events(record.value)]
        return [event for event in events if isinstance(event, UploadsSealed)]

    def sealed(self) -> list[UploadsSealed]:
        """Every seal that was published, once."""
        return list({seal.seal_id: seal for seal in self.emitted()}.values())

    def staged(self, bundle_id: BundleId) -> BundleIndexView:
        """The verified view of a staged bundle."""
        data = self.host.files[self.staging.incarnation][bundle_id]
        return check_bundle(lambda at, length: data[at : at + length])


@asynccontextmanager
async def open_memory_world(
    node_ids: Sequence[NodeId],
    *,
    rng: random.Random,
    silence_s: float = 0.5,
    give_up_s: float = 30.0,
    budget_bytes: int = 256 * MIB,
    lanes: int = 4,
    slots: int = 8,
    former: MemoryWorld | None = None,
) -> AsyncIterator[MemoryWorld]:
    """Run an engine and its pipeline; `former`: on the broker, rows and disk of that world."""
    clock = SystemClock()
    broker = former.broker if former else MemoryBroker(clock=clock, lanes=lanes, slots=slots)
    pipeline = former.pipeline if former else MemoryPipeline(broker, clock, lanes, slots)
    host = former.host if former else MemoryHost()
    incarnation = Incarnation(new_id(rng))
    staging = MemoryStaging(host, incarnation, budget_bytes=budget_bytes)
    placement = FixedPlacement(node_ids)
    engine = await open_engine(
        EngineDependencies(
            incarnation=incarnation,
            broker=broker,
            reader=pipeline,
            direct=pipeline,
            aborter=pipeline,
            view=placement,
            staging=staging,
            lane_count=lanes,
            slot_count=slots,
            rng=rng,
            silence_s=silence_s,
            settle_timeout_s=give_up_s,
        )
    )
    running = None if former else asyncio.create_task(pipeline.run(), name="memory pipeline")
    try:
        yield MemoryWorld(broker, pipeline, placement, host, staging, engine, lanes)
    finally:
        await engine.close(drain_s=1)
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
