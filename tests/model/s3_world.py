"""The real S3 application over the in-memory twins of everything below it, on one event loop.

Engine, assignments, materializer, direct writer, readers and handlers are the real ones; broker,
database, staging, stores and the network are memory. So a request takes a few milliseconds and
leaves the rows, the audit records and the bytes that it would leave in production.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from argon2 import PasswordHasher
from tests.model.memory_nodes import MemoryNodes, running_nodes
from tests.security.signing import ACCESS_KEY, NOW_S, SECRET_KEY, SETTINGS

from fileflux.core.changes import Actor, Change, CreateKey, CreateUser, Outcome, SetKeyActive
from fileflux.core.clock import Clock
from fileflux.core.ids import Incarnation, NodeId, UploadId, UserId, new_id
from fileflux.core.model import MIB, StorageClass
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import EventSource
from fileflux.events.topics import AUDIT
from fileflux.ingest.access_log import AccessLog
from fileflux.ingest.admission import Admission, MemoryBudget
from fileflux.ingest.app import S3App
from fileflux.ingest.asynchronous import AsyncUploads
from fileflux.ingest.basic import ArgonPasswords
from fileflux.ingest.bucket_directory import BucketDirectory
from fileflux.ingest.bundler import EngineDependencies, UploadEngine, open_engine
from fileflux.ingest.chunk_cache import ChunkCache
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.event_service import EventService
from fileflux.ingest.identities import DatabaseIdentities
from fileflux.ingest.memory_pipeline import FixedPlacement
from fileflux.ingest.reading import ManifestLookup, ObjectReader
from fileflux.ingest.redrive import Redriver
from fileflux.ingest.replica_reader import ReplicaReader
from fileflux.ingest.root_user import ensure_root
from fileflux.ingest.staging import MemoryHost, MemoryStaging
from fileflux.metadata.completions import CompletionPublisher
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.identity import encrypt_secret
from fileflux.metadata.lanes import places_of
from fileflux.metadata.materializer import Materializer, MaterializerDependencies
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.memory_webhooks import MemoryWebhooks
from fileflux.metadata.settle import SealAborter

LANES: Final = 2
SLOTS: Final = 4
EVENT_STREAMS: Final = 24
NODES: Final = tuple(NodeId(f"node-{n}") for n in range(3))
CLASSES: Final = {
    "standard": StorageClass("standard", 3, 2),
    "single": StorageClass("single", 1, 1),
}
MASTER_KEY: Final = bytes(range(32))
QUICK_HASHER: Final = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


class ShiftedClock:
    """Real time, moved so that it is when the fixed signatures of `tests.security` were made."""

    def __init__(self, start_us: int = NOW_S * 1_000_000) -> None:
        self._shift_us = start_us - time.time_ns() // 1_000

    def now_us(self) -> int:
        return time.time_ns() // 1_000 + self._shift_us

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a password and a key pair."""

    name: str
    access_key: str
    secret_key: str
    password: str = "correct horse"
    user_id: UserId = field(default=UserId(bytes(16)))


ALICE: Final = User("alice", ACCESS_KEY, SECRET_KEY, user_id=UserId(b"a" * 16))
BOB: Final = User("bob", "FFBOBBOBBOBBOBBOBBOB", "bobs-secret-key", user_id=UserId(b"b" * 16))
ROOT: Final = User("root", "FFROOTROOTROOTROOTRO", "roots-secret-key", "roots-secret-key")
CAROL: Final = User("carol", "FFCAROLCAROLCAROLCAR", "carols-secret", user_id=UserId(b"c" * 16))
"""Her key is switched off."""
NOBODY: Final = User("nobody", "FFNOBODYNOBODYNOBODY", "nobodys-secret")
"""Whom the system does not know."""


@dataclass(slots=True)
class S3World:
    """One ingest and all that it needs. Make it with `open_s3_world`."""

    app: S3App
    deps: Dependencies
    engine: UploadEngine
    database: MemoryDatabase
    reader: MemoryReader
    broker: MemoryBroker
    nodes: MemoryNodes
    staging: MemoryStaging
    memory: MemoryBudget
    clock: Clock

    async def submit(self, change: Change) -> Outcome:
        return await self.deps.direct.submit(change)

    async def add_user(self, user: User, *, active: bool = True) -> None:
        await self.submit(
            CreateUser(
                **self._base(),
                user_id=user.user_id,
                name=user.name,
                password_hash=QUICK_HASHER.hash(user.password),
            )
        )
        secret = encrypt_secret(MASTER_KEY, user.access_key, user.secret_key)
        outcome = await self.submit(
            CreateKey(
                **self._base(),
                user_id=user.user_id,
                access_key=user.access_key,
                secret=secret,
            )
        )
        assert outcome.ok, outcome
        if not active:
            await self.submit(
                SetKeyActive(**self._base(), access_key=user.access_key, active=False)
            )

    def is_idle(self) -> bool:
        """Whether no request left anything behind: no memory taken, no upload counted."""
        return self.memory.used_bytes == 0 and self.deps.admission.request_count == 0

    def _base(self) -> dict[str, Any]:
        return {
            "upload_id": UploadId(new_id(random.SystemRandom())),
            "actor": Actor(UserId(bytes(16)), "a test", ""),
            "at_us": self.clock.now_us(),
        }


@asynccontextmanager
async def open_s3_world(
    *,
    seed: int = 0,
    memory_bytes: int = 64 * MIB,
    staging_bytes: int = 256 * MIB,
    requests_max: int = 64,
    open_registration: bool = False,
    patience_s: float = 30.0,
) -> AsyncIterator[S3World]:
    """A world with ROOT, ALICE, BOB and CAROL in it, and no bucket.

    `patience_s`: how long a write waits for the database, or for its settlement.
    """
    clock, rng = ShiftedClock(), random.Random(seed)
    async with AsyncExitStack() as stack:
        broker = MemoryBroker(clock=clock, lanes=LANES, slots=SLOTS)
        database = MemoryDatabase(clock)
        host = MemoryHost()
        nodes = await stack.enter_async_context(
            running_nodes(NODES, broker=broker, host=host, clock=clock, slots=SLOTS)
        )
        await stack.enter_async_context(_materializing(database, broker, clock))
        incarnation = Incarnation(new_id(rng))
        staging = MemoryStaging(host, incarnation, budget_bytes=staging_bytes)
        reader = MemoryReader(database)
        direct = DirectWriter(database, rng=rng, deadline_s=min(10.0, patience_s))
        stack.push_async_callback(direct.close)
        engine = await _open_engine(
            stack,
            incarnation,
            broker,
            database,
            direct,
            staging=staging,
            clock=clock,
            rng=rng,
            patience_s=patience_s,
        )
        memory = MemoryBudget(memory_bytes)
        parts = _Parts(clock, rng, reader, direct, staging, engine, nodes, memory, broker)
        deps = _dependencies(
            parts,
            _async_uploads(stack, engine, staging, direct, database, clock),
            requests_max=requests_max,
            open_registration=open_registration,
        )
        world = S3World(
            app=S3App(deps, host_id="test"),
            deps=deps,
            engine=engine,
            database=database,
            reader=reader,
            broker=broker,
            nodes=nodes,
            staging=staging,
            memory=memory,
            clock=clock,
        )
        await ensure_root(deps, ROOT.access_key, ROOT.secret_key)
        await world.add_user(ALICE)
        await world.add_user(BOB)
        await world.add_user(CAROL, active=False)
        yield world


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the application is given, so far."""

    clock: Clock
    rng: random.Random
    reader: MemoryReader
    direct: DirectWriter
    staging: MemoryStaging
    engine: UploadEngine
    nodes: MemoryNodes
    memory: MemoryBudget
    broker: MemoryBroker

    async def open_audit_topic(self) -> EventSource:
        return await self.broker.source([(AUDIT, 0)])


def _dependencies(
    parts: _Parts, uploads: AsyncUploads, *, requests_max: int, open_registration: bool
) -> Dependencies:
    clock, reader = parts.clock, parts.reader
    identities = DatabaseIdentities(reader, MASTER_KEY, clock)
    buckets = BucketDirectory(reader, clock)
    return Dependencies(
        engine=parts.engine,
        direct=parts.direct,
        reader=reader,
        buckets=buckets,
        lookup=ManifestLookup(reader),
        objects=_object_reader(reader, parts.nodes, clock, parts.memory),
        admission=Admission(
            staging=parts.staging,
            seals=parts.engine.pipeline.seals,
            listener=parts.engine.completions,
            clock=clock,
            memory=parts.memory,
            requests_max=requests_max,
        ),
        asynchronous=uploads,
        credentials=identities,
        passwords=ArgonPasswords(identities, QUICK_HASHER),
        auth=SETTINGS,
        events=EventService(
            reader,
            parts.open_audit_topic,
            clock=clock,
            master_key=MASTER_KEY,
            memory=parts.memory,
            streams_max=EVENT_STREAMS,
        ),
        access=AccessLog(parts.broker.safe_publisher, buckets, lanes=LANES),
        webhooks=MemoryWebhooks(),
        history=reader,
        clock=clock,
        classes=CLASSES,
        default_class="standard",
        master_key=MASTER_KEY,
        open_registration=open_registration,
        rng=parts.rng,
    )


async def _open_engine(
    stack: AsyncExitStack,
    incarnation: Incarnation,
    broker: MemoryBroker,
    database: MemoryDatabase,
    direct: DirectWriter,
    *,
    staging: MemoryStaging,
    clock: Clock,
    rng: random.Random,
    patience_s: float,
) -> UploadEngine:
    engine = await open_engine(
        EngineDependencies(
            incarnation=incarnation,
            broker=broker,
            reader=MemoryReader(database),
            direct=direct,
            aborter=SealAborter(database),
            view=FixedPlacement(NODES),
            staging=staging,
            lane_count=LANES,
            slot_count=SLOTS,
            clock=clock,
            rng=rng,
            settle_timeout_s=patience_s,
        )
    )
    stack.push_async_callback(engine.close, drain_s=2)
    return engine


def _object_reader(
    reader: MemoryReader, nodes: MemoryNodes, clock: Clock, memory: MemoryBudget
) -> ObjectReader:
    replicas = ReplicaReader(nodes, FixedPlacement(NODES), reader, clock=clock)
    return ObjectReader(reader, replicas, cache=ChunkCache(MIB), memory=memory)


def _async_uploads(
    stack: AsyncExitStack,
    engine: UploadEngine,
    staging: MemoryStaging,
    direct: DirectWriter,
    database: MemoryDatabase,
    clock: Clock,
) -> AsyncUploads:
    states = MemoryReader(database)
    redriver = Redriver(engine.pipeline, states, SealAborter(database), clock=clock)
    uploads = AsyncUploads(engine, staging=staging, direct=direct, states=states, redriver=redriver)
    stack.push_async_callback(uploads.close)
    return uploads


@asynccontextmanager
async def _materializing(
    database: MemoryDatabase, broker: MemoryBroker, clock: Clock
) -> AsyncIterator[None]:
    lanes = list(range(LANES))
    publisher = await broker.fast_publisher()
    source = await broker.source(places_of(lanes))
    materializer = Materializer(
        MaterializerDependencies(
            database=database,
            reader=MemoryReader(database),
            source=source,
            completions=CompletionPublisher(publisher, clock=clock),
            dead_letters=DeadLetters(publisher, clock=clock),
            clock=clock,
            lanes=lanes,
        )
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(materializer.run(stopping), name="materializer")
    try:
        yield
    finally:
        stopping.set()
        await source.close()  # Wakes it.
        await running
