"""The real services, each wired as its `__main__` does it, over the world's twins.

A service has lives: `start` begins one, death ends it, and what must survive death (a node's disk,
the staging's directory) belongs to the service and not to the life.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.simulation.loop import CURRENT, Owner
from tests.simulation.process import Process

from fileflux.core.bundle_view import check_bundle, memory_reader, read_index
from fileflux.core.clock import LoopClock
from fileflux.core.errors import BrokerUnavailable, Corrupt, FileFluxError, FormatInvalid
from fileflux.core.ids import BundleId, Incarnation, NodeId, new_id, slot_of
from fileflux.core.model import MIB
from fileflux.core.node_messages import InventoryItem
from fileflux.events.codec import encode_events
from fileflux.events.consume import Consumer
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.schema import NodeHeartbeat
from fileflux.events.topics import AUDIT, BUNDLES_ASSIGNED, NODES_HEARTBEATS
from fileflux.ingest.admission import MemoryBudget
from fileflux.ingest.bundler import EngineDependencies, UploadEngine, open_engine
from fileflux.ingest.chunk_cache import ChunkCache
from fileflux.ingest.inheritance import Heir
from fileflux.ingest.memory_pipeline import FixedPlacement
from fileflux.ingest.reading import ManifestLookup, ObjectReader
from fileflux.ingest.redrive import Redriver
from fileflux.ingest.replica_reader import ReplicaReader
from fileflux.ingest.staging import Inheritance, MemoryHost, MemoryStaging
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.completions import CompletionPublisher
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.lanes import places_of
from fileflux.metadata.materializer import Materializer, MaterializerDependencies
from fileflux.metadata.sequencer import STREAM, Sequencer, SequencerDependencies
from fileflux.metadata.settle import SealAborter
from fileflux.placement.intents import IntentWatch
from fileflux.placement.leader import Leader
from fileflux.placement.map_view import MapView
from fileflux.storage_node.answers import Answers
from fileflux.storage_node.assignments import Assignments
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.memory_store import MemoryStore
from fileflux.storage_node.positions import seek_to
from fileflux.storage_node.pulls import Pulls

if TYPE_CHECKING:
    from tests.simulation.world import World

HEARTBEAT_S = 1.0
CHECKPOINT_S = 2.0
WIDE = 2**40
"""The room of a node that is not full."""


class Service:
    """One service and its lives. `is_ready`: this life serves."""

    kind = "service"

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.life = 0
        self.is_ready = False
        self.process: Process = Process(name, world.loop)
        self.clock = LoopClock()

    @property
    def answers(self) -> bool:
        return self.process.is_alive and not self.process.is_paused

    def start(self) -> None:
        """Begin a life."""
        self.life += 1
        self.is_ready = False
        self.rng = random.Random(f"{self.world.seed}/{self.name}/{self.life}")
        self.clock = self.world.skewed_clock(self.name)
        self.process = Process(self.name, self.world.loop, on_end=self._ended)
        self.process.spawn(self._live(self.process))

    async def run(self) -> None:
        """Be the service. Returns never."""
        raise NotImplementedError

    def on_death(self) -> None:
        """What the world does to what the dead process held."""

    async def _live(self, process: Process) -> None:
        try:
            await self.run()
        except FileFluxError as error:
            if not error.retriable:
                self.world.problem(f"{self.name} ended: {error!r}")
        except Exception as error:
            if process.is_alive:
                self.world.problem(f"{self.name} crashed: {error!r}")
        process.kill()

    def _ended(self, process: Process) -> None:
        self.is_ready = False
        self.on_death()
        self.world.after_death(self)

    def watch(self, *tasks: "asyncio.Task[Any]") -> None:
        """A task that ends by itself ends the process with it."""
        for task in tasks:
            task.add_done_callback(self._task_ended)

    def _task_ended(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            if not (isinstance(error, FileFluxError) and error.retriable):
                self.world.problem(f"{self.name}: a worker died of {error!r}")
            self.process.kill()


class NotedFiles(dict[BundleId, bytes]):
    """The staged files of one incarnation; the world learns whose bytes each of them holds."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world

    def __setitem__(self, bundle_id: BundleId, data: bytes) -> None:
        super().__setitem__(bundle_id, data)
        view = read_index(memory_reader(data), with_meta=True)
        uploads = {view.meta(place).upload_id for place in view.chunks()}
        self._world.note_staged(bundle_id, view.header.sealed, uploads)


class SimulatedHost(MemoryHost):
    """A staging directory whose locks end with the process that holds them."""

    def __init__(self) -> None:
        super().__init__()
        self._heirs: dict[Incarnation, Owner | None] = {}

    async def adopt(self) -> Inheritance | None:
        inheritance = await super().adopt()
        if inheritance is not None:
            self._heirs[inheritance.incarnation] = CURRENT.get()
        return inheritance

    def died(self, process: Process) -> None:
        for incarnation, heir in self._heirs.items():
            if heir is process:
                self.kill(incarnation)


class IngestService(Service):
    """The write engine, the read path and the heir of one ingest worker."""

    kind = "ingest"
    engine: UploadEngine

    async def run(self) -> None:
        world, clock = self.world, self.clock
        self.incarnation = Incarnation(new_id(self.rng))
        world.host.files[self.incarnation] = NotedFiles(world)
        staging = MemoryStaging(
            world.host, self.incarnation, base_url="http://staging.invalid", budget_bytes=64 * MIB
        )
        view = await self._view()
        reader, aborter = world.reader, SealAborter(world.database)
        self.reader = reader
        self.direct = DirectWriter(world.database, rng=self.rng)
        self.engine = await open_engine(
            EngineDependencies(
                incarnation=self.incarnation,
                broker=world.broker,
                reader=reader,
                direct=self.direct,
                aborter=aborter,
                view=view,
                staging=staging,
                lane_count=world.lanes,
                slot_count=world.slots,
                clock=clock,
                rng=self.rng,
            )
        )
        replicas = ReplicaReader(world.network.client(self.name), view, reader, clock=clock)
        self.lookup = ManifestLookup(reader)
        self.objects = ObjectReader(
            reader, replicas, cache=ChunkCache(4096), memory=MemoryBudget(64 * MIB)
        )
        redriver = Redriver(self.engine.pipeline, reader, aborter, clock=clock)
        self.is_ready = True
        await Heir(world.host, reader, redriver, clock=clock).run()

    async def _view(self) -> MapView | FixedPlacement:
        if self.world.plan.fixed_map:
            return FixedPlacement([node.node_id for node in self.world.nodes])
        view = MapView(self.world.broker, clock=self.clock)
        await view.start()
        await view.wait_ready(timeout_s=60.0)
        return view

    def on_death(self) -> None:
        self.world.host.died(self.process)
        if hasattr(self, "incarnation"):
            self.world.host.kill(self.incarnation)


class SimulatedStore(MemoryStore):
    """A node's disk. An fsync takes its time, and what it wrote may stand although nobody heard."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(capacity_bytes=WIDE, sync=self._fsync)
        self._rng = rng
        self.fsync_s = 0.002

    async def write(self, bundles: Sequence[IncomingBundle]) -> None:
        await super().write(bundles)
        await asyncio.sleep(self._rng.uniform(0, self.fsync_s))

    def holdings(self) -> dict[BundleId, InventoryItem]:
        """The inventory, for the oracle."""
        return {
            bundle_id: InventoryItem(bundle_id, *held.view.header.sealed)
            for bundle_id, held in self._bundles.items()
        }

    def chunks_of(self, bundle_id: BundleId) -> set[int]:
        return {place.number for place in self._bundles[bundle_id].view.chunks()}

    def holds(self, bundle_id: BundleId, sealed: tuple[int, int]) -> bool:
        held = self._bundles.get(bundle_id)
        return held is not None and held.view.header.sealed == sealed

    def is_whole(self, bundle_id: BundleId, sealed: tuple[int, int]) -> bool:
        """Whether every byte of a bundle is right, whatever the index says."""
        if not self.holds(bundle_id, sealed):
            return False
        try:
            check_bundle(memory_reader(self._bundles[bundle_id].data))
        except (Corrupt, FormatInvalid):
            return False
        return True

    async def _fsync(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, self.fsync_s))


class NodeService(Service):
    """A storage node: assignments, heartbeats, checkpoints over its disk."""

    kind = "node"

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self.node_id = NodeId(name)
        self.store = SimulatedStore(random.Random(f"{world.seed}/{name}/disk"))

    async def run(self) -> None:
        world = self.world
        answers = Answers(await world.broker.fast_publisher())
        assignments = Assignments(
            node_id=self.node_id,
            node_epoch=self.life,
            store=self.store,
            pulls=Pulls(world.network.client(self.name)),
            answers=answers,
            fence=Fence(),
            clock=self.clock,
        )
        slot = slot_of(self.node_id, world.slots)
        source = await world.broker.source([(BUNDLES_ASSIGNED, slot)])
        await seek_to(source, BUNDLES_ASSIGNED, slot, self.store.position())
        dead_letters = DeadLetters(await world.broker.safe_publisher(), clock=self.clock)
        consumer = Consumer(source, assignments.take, dead_letters=dead_letters, clock=self.clock)
        self.watch(
            asyncio.create_task(self._beat(assignments)),
            asyncio.create_task(self._save_positions()),
        )
        self.is_ready = True
        await consumer.run(asyncio.Event())

    def on_death(self) -> None:
        self.store.power_cut()

    async def _beat(self, assignments: Assignments) -> None:
        publisher = await self.world.broker.fast_publisher()
        while True:
            value = encode_events([self._heartbeat(assignments)])
            with contextlib.suppress(BrokerUnavailable):  # The next one comes in a second.
                await publisher.publish(NODES_HEARTBEATS, value, partition=0)
            await self.clock.sleep(HEARTBEAT_S)

    def _heartbeat(self, assignments: Assignments) -> NodeHeartbeat:
        return NodeHeartbeat(
            node_id=self.node_id,
            epoch=self.life,
            at_us=self.clock.now_us(),
            url=f"http://{self.name}.invalid",
            domain=f"host-{self.name}",
            total_bytes=WIDE,
            free_bytes=max(0, self.store.capacity_bytes - self.store.used_bytes),
            reserve_bytes=0,
            health="ONLINE",
            read_only=False,
            load=assignments.load,
            software="simulation",
        )

    async def _save_positions(self) -> None:
        while True:
            await self.clock.sleep(CHECKPOINT_S)
            self.store.save_position()


class MaterializerService(Service):
    kind = "materializer"

    async def run(self) -> None:
        world = self.world
        lanes = range(world.lanes)
        self.materializer = Materializer(
            MaterializerDependencies(
                database=world.database,
                reader=world.reader,
                source=await world.broker.source(places_of(lanes)),
                completions=CompletionPublisher(
                    await world.broker.fast_publisher(), clock=self.clock
                ),
                dead_letters=DeadLetters(await world.broker.safe_publisher(), clock=self.clock),
                clock=self.clock,
                lanes=lanes,
                fetch_wait_s=world.patience_s,
            )
        )
        self.is_ready = True
        await self.materializer.run(asyncio.Event())


class SequencerService(Service):
    kind = "sequencer"

    async def run(self) -> None:
        world = self.world
        self.sequencer = Sequencer(
            SequencerDependencies(
                database=world.database,
                reader=world.reader,
                publisher=AuditPublisher(
                    reader=world.reader,
                    broker=world.broker,
                    publisher=await world.broker.safe_publisher(),
                    source=await world.broker.source([(AUDIT, 0)]),
                    clock=self.clock,
                    stream=STREAM,
                ),
                clock=self.clock,
                poll_s=world.patience_s,
            )
        )
        self.is_ready = True
        await self.sequencer.run(asyncio.Event())


class PlacementService(Service):
    """The leader; a plain consumer of the heartbeats stands in for Faust."""

    kind = "placement"

    async def run(self) -> None:
        world = self.world
        view = MapView(world.broker, clock=self.clock)
        await view.start()
        intents = IntentWatch(world.reader, interval_s=5.0, clock=self.clock)
        leader = Leader(
            name=f"{self.name}/{self.life}",
            classes={world.storage_class.name: world.storage_class},
            publisher=await world.broker.safe_publisher(),
            view=view,
            intents=intents,
            clock=self.clock,
        )
        source = await world.broker.source([(NODES_HEARTBEATS, 0)])
        leader.assigned(leads=True)
        self.watch(asyncio.create_task(leader.run()), asyncio.create_task(intents.run()))
        self.is_ready = True
        while True:
            leader.take([record.value for record in await source.fetch(wait_s=1.0)])
