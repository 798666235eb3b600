"""The whole write and read path in one process: the real services over their in-memory twins.

Ingest's engine, nodes with their assignments and stores, the materializer and the database, joined
by a broker that may lose, double, delay and reorder. Only placement is fixed. With the loop's clock
everything runs on virtual time as well.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from fileflux.core.bundle_view import verify_blocks
from fileflux.core.changes import Actor, CreateBucket, CreateUser, Outcome, PutObject
from fileflux.core.checksum import Buffer
from fileflux.core.clock import Clock, LoopClock
from fileflux.core.errors import ChunkCorrupt, NodeUnreachable, NoSuchBundle, NoSuchKey
from fileflux.core.ids import (
    BucketId,
    BundleId,
    Incarnation,
    NodeId,
    UploadId,
    UserId,
    new_id,
    parse_id,
    slot_of,
)
from fileflux.core.model import BLOCK_SIZE_BYTES, MIB, Manifest, ObjectMeta, StorageClass
from fileflux.core.node_client import PullSink
from fileflux.events.consume import Consumer
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.memory import MemoryBroker
from fileflux.events.topics import BUNDLES_ASSIGNED
from fileflux.ingest.admission import MemoryBudget
from fileflux.ingest.bundler import EngineDependencies, UploadEngine, open_engine
from fileflux.ingest.chunk_cache import ChunkCache
from fileflux.ingest.memory_pipeline import FixedPlacement
from fileflux.ingest.reading import ManifestLookup, ObjectReader
from fileflux.ingest.replica_reader import ReplicaReader
from fileflux.ingest.staging import MemoryHost, MemoryStaging
from fileflux.ingest.upload import UploadIntent
from fileflux.metadata.completions import CompletionPublisher
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.lanes import places_of
from fileflux.metadata.materializer import Materializer, MaterializerDependencies
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.settle import SealAborter
from fileflux.storage_node.answers import Answers
from fileflux.storage_node.assignments import Assignments
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.memory_store import MemoryStore
from fileflux.storage_node.pulls import Pulls

LANES, SLOTS = 2, 4
ACTOR = Actor(user_id=UserId(bytes(16)), user_name="root", key_id="key")
BUCKET = "bucket"
STANDARD = StorageClass("STANDARD", 3, 2)


@dataclass(slots=True)
class WorldNode:
    """A storage node. `down`: it neither pulls nor answers readers; its store stays."""

    node_id: NodeId
    store: MemoryStore
    down: bool = False


class PipelineWorld:
    """Make it with `open_pipeline`."""

    def __init__(self, rng: random.Random, clock: Clock, *, node_count: int) -> None:
        self.rng = rng
        self.clock = clock
        self.broker = MemoryBroker(clock=clock, lanes=LANES, slots=SLOTS, rng=rng)
        self.database = MemoryDatabase(clock)
        self.reader = MemoryReader(self.database)
        self.direct = DirectWriter(self.database, rng=rng)
        self.host = MemoryHost()
        ids = [NodeId(f"node-{number}") for number in range(node_count)]
        self.nodes = {node_id: WorldNode(node_id, MemoryStore()) for node_id in ids}
        self.placement = FixedPlacement(ids)
        self.bucket_id = BucketId(new_id(rng))
        self.lookup = ManifestLookup(self.reader)
        replicas = ReplicaReader(self, self.placement, self.reader, clock=clock)
        self.memory = MemoryBudget(64 * MIB)
        self.objects = ObjectReader(self.reader, replicas, cache=ChunkCache(0), memory=self.memory)
        self.staging: MemoryStaging
        self.engine: UploadEngine

    # What a client does.

    async def put(
        self, key: bytes, data: bytes, *, pieces: int = 1, storage_class: StorageClass = STANDARD
    ) -> Outcome:
        intent = UploadIntent(
            upload_id=UploadId(new_id(self.rng)),
            bucket_id=self.bucket_id,
            bucket=BUCKET,
            key=key,
            storage_class=storage_class,
            received_us=self.clock.now_us(),
        )

        def finish(size: int, manifest: Manifest) -> PutObject:
            return PutObject(
                upload_id=intent.upload_id,
                actor=ACTOR,
                at_us=intent.received_us,
                bucket_id=intent.bucket_id,
                bucket=intent.bucket,
                key=intent.key,
                size=size,
                etag=intent.upload_id.hex(),
                meta=ObjectMeta(),
                manifest=manifest,
                storage_class=storage_class.name,
            )

        return await self.engine.write(_cut(data, pieces), intent=intent, finish=finish)

    async def get(self, key: bytes, start: int = 0, length: int | None = None) -> bytes:
        """Return verified bytes; raise NoSuchKey."""
        found = await self.lookup.find(BUCKET, key)
        if found.row is None:
            raise NoSuchKey(key.hex())
        wanted = found.row.size - start if length is None else length
        if not wanted:
            return b""
        body = await self.objects.open(found, found.row, start, wanted)
        return b"".join([bytes(run) async for run in body])

    # The network between the services.

    async def pull(self, url: str, sink: PullSink) -> None:
        data = await self._fetch(urlsplit(url).path.split("/"), urlsplit(url).hostname or "")
        sink.begin(len(data))[:] = data
        sink.arrived(len(data))

    async def read_small(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> bytes:
        return b"".join(
            [bytes(r) async for r in self.read_chunk(node_url, bundle_id, number, start, length)]
        )

    async def read_chunk(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> AsyncIterator[memoryview]:
        """Blocks with their checksums, verified by the reader as the real client does."""
        stored = await self._node(urlsplit(node_url).hostname or "").store.open(bundle_id)
        place = stored.view.chunk(number)
        end = start + length
        for first in range(start // BLOCK_SIZE_BYTES, -(-end // BLOCK_SIZE_BYTES)):
            await asyncio.sleep(0)
            at = first * BLOCK_SIZE_BYTES
            block = await stored.read(place.offset + at, min(BLOCK_SIZE_BYTES, place.length - at))
            verify_blocks(block, stored.view.block_crcs(place, first, 1), node_url)
            piece = memoryview(block)[max(0, start - at) : end - at]
            if not piece:
                raise ChunkCorrupt("shorter than its manifest says")
            yield piece

    async def _fetch(self, path: Sequence[str], host: str) -> bytes:
        await asyncio.sleep(0)
        if path[2] == "staging":
            incarnation = Incarnation(parse_id(path[3]))
            reader = await self.host.open(incarnation, BundleId(parse_id(path[4])))
            return await reader.read(0, reader.size)
        stored = await self._node(host).store.open(BundleId(parse_id(path[3])))
        return bytes(stored.data)

    def _node(self, host: str) -> WorldNode:
        node = self.nodes.get(NodeId(host.removesuffix(".invalid")))
        if node is None or node.down:
            raise NodeUnreachable(f"{host} does not answer")
        return node

    # How it runs.

    async def start(self, stack: AsyncExitStack) -> None:
        await self._make_bucket()
        tasks = await stack.enter_async_context(_cancelled_at_the_end())
        for node in self.nodes.values():
            tasks.create_task(self._run_node(node), name=node.node_id)
        tasks.create_task(self._run_materializer(), name="materializer")
        await self.start_engine(stack)

    async def start_engine(self, stack: AsyncExitStack, *, give_up_s: float = 30.0) -> None:
        """Begin a new incarnation of the ingest."""
        incarnation = Incarnation(new_id(self.rng))
        self.staging = MemoryStaging(self.host, incarnation)
        self.engine = await open_engine(
            EngineDependencies(
                incarnation=incarnation,
                broker=self.broker,
                reader=self.reader,
                direct=self.direct,
                aborter=SealAborter(self.database),
                view=self.placement,
                staging=self.staging,
                lane_count=LANES,
                slot_count=SLOTS,
                clock=self.clock,
                rng=self.rng,
                settle_timeout_s=give_up_s,
            )
        )
        stack.push_async_callback(self.engine.close, drain_s=1)

    async def _make_bucket(self) -> None:
        user = CreateUser(
            upload_id=UploadId(new_id(self.rng)),
            actor=ACTOR,
            at_us=0,
            user_id=ACTOR.user_id,
            name="root",
            password_hash="",
        )
        bucket = CreateBucket(
            upload_id=UploadId(new_id(self.rng)),
            actor=ACTOR,
            at_us=0,
            bucket_id=self.bucket_id,
            bucket=BUCKET,
            owner_id=ACTOR.user_id,
            storage_class=STANDARD.name,
        )
        for change in (user, bucket):
            assert (await self.direct.submit(change)).ok

    async def _run_node(self, node: WorldNode) -> None:
        publisher = await self.broker.fast_publisher()
        assignments = Assignments(
            node_id=node.node_id,
            node_epoch=1,
            store=node.store,
            pulls=Pulls(self),
            answers=Answers(publisher),
            fence=Fence(),
            clock=self.clock,
        )
        place = (BUNDLES_ASSIGNED, slot_of(node.node_id, SLOTS))
        consumer = Consumer(
            await self.broker.source([place]),
            assignments.take,
            dead_letters=DeadLetters(publisher, clock=self.clock),
            clock=self.clock,
        )
        while True:
            if node.down:
                await self.clock.sleep(0.05)
            else:
                await consumer.step(wait_s=0.05)

    async def _run_materializer(self) -> None:
        publisher = await self.broker.fast_publisher()
        materializer = Materializer(
            MaterializerDependencies(
                database=self.database,
                reader=self.reader,
                source=await self.broker.source(places_of(range(LANES))),
                completions=CompletionPublisher(publisher, clock=self.clock),
                dead_letters=DeadLetters(publisher, clock=self.clock),
                clock=self.clock,
                lanes=range(LANES),
            )
        )
        await materializer.run(asyncio.Event())


async def _cut(data: bytes, pieces: int) -> AsyncIterator[Buffer]:
    step = max(1, -(-len(data) // pieces))
    for at in range(0, len(data), step):
        await asyncio.sleep(0)
        yield data[at : at + step]


@asynccontextmanager
async def _cancelled_at_the_end() -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.TaskGroup() as tasks:
        yield tasks
        for task in asyncio.all_tasks():
            if task in tasks._tasks:  # The group has no public way to end its tasks.
                task.cancel()


@asynccontextmanager
async def open_pipeline(*, seed: int, node_count: int = 3) -> AsyncIterator[PipelineWorld]:
    """Run a world; everything random in it comes from `seed`."""
    world = PipelineWorld(random.Random(seed), LoopClock(), node_count=node_count)
    async with AsyncExitStack() as stack:
        await world.start(stack)
        yield world


__all__ = ["BUCKET", "STANDARD", "NoSuchBundle", "PipelineWorld", "WorldNode", "open_pipeline"]
