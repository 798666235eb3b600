"""One ingest worker: adapters built, engine started, servers listening, drained at the end."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import uvicorn

from fileflux.core.clock import SystemClock
from fileflux.core.ids import Incarnation, new_id
from fileflux.core.node_client import NodeClient
from fileflux.core.ops import EmbeddedServer, OpsServer, bound_socket
from fileflux.core.service import announce
from fileflux.core.settings import load_settings
from fileflux.core.telemetry import get_logger
from fileflux.events.kafka import open_kafka
from fileflux.events.ports import Broker
from fileflux.events.topics import AUDIT
from fileflux.ingest.access_log import AccessLog
from fileflux.ingest.admission import Admission, MemoryBudget
from fileflux.ingest.app import S3App
from fileflux.ingest.asynchronous import AsyncUploads
from fileflux.ingest.auth import AuthSettings
from fileflux.ingest.basic import ArgonPasswords
from fileflux.ingest.bucket_directory import BucketDirectory
from fileflux.ingest.bundler import EngineDependencies, UploadEngine, open_engine
from fileflux.ingest.canary import Canary
from fileflux.ingest.chunk_cache import ChunkCache
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.event_service import EventService
from fileflux.ingest.head_deadline import with_head_deadline
from fileflux.ingest.http_server import http_config
from fileflux.ingest.identities import DatabaseIdentities
from fileflux.ingest.inheritance import Heir
from fileflux.ingest.reading import ManifestLookup, ObjectReader
from fileflux.ingest.redrive import Redriver
from fileflux.ingest.replica_reader import ReplicaReader
from fileflux.ingest.root_user import ensure_root
from fileflux.ingest.settings import IngestSettings
from fileflux.ingest.staging_opening import OpenStaging, open_settings_staging
from fileflux.metadata.archive_blocks import ArchivedBlocks
from fileflux.metadata.archive_open import open_archive
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader, open_connections
from fileflux.metadata.postgres_webhooks import PostgresWebhooks
from fileflux.metadata.rebuild_target import refuse_unfinished
from fileflux.metadata.settings import ArchiverSettings
from fileflux.metadata.settle import SealAborter
from fileflux.placement.map_view import MapView

log = get_logger(__name__)

MAP_WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Store:
    """The database's two doors, and what commits directly.

    `everywhere` reads audit blocks that left the database, too, if there is an archive.
    """

    database: PostgresDatabase
    reader: PostgresReader
    direct: DirectWriter
    everywhere: PostgresReader
    webhooks: PostgresWebhooks


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a worker is built of, in the order in which it is opened."""

    settings: IngestSettings
    store: _Store
    broker: Broker
    view: MapView
    client: NodeClient
    staging: OpenStaging
    incarnation: Incarnation


async def run_worker(settings: IngestSettings, stopping: asyncio.Event, *, shared: bool) -> None:
    """Serve until `stopping`. `shared`: other workers listen on the same port."""
    async with AsyncExitStack() as stack:
        parts = await _open_parts(settings, stack, shared=shared)
        engine = await _open_engine(parts)
        stack.push_async_callback(engine.close)
        redriver = Redriver(
            engine.pipeline,
            parts.store.reader,
            SealAborter(parts.store.database),
            clock=SystemClock(),
        )
        uploads = AsyncUploads(
            engine,
            staging=parts.staging.staging,
            direct=parts.store.direct,
            states=parts.store.reader,
            redriver=redriver,
            outlives_us=settings.staging_durable,
        )
        stack.push_async_callback(uploads.close)
        heir = Heir(parts.staging.host, parts.store.reader, redriver, clock=SystemClock())
        inheriting = asyncio.create_task(heir.run(), name="inherit from the dead")
        stack.callback(inheriting.cancel)
        deps = _dependencies(parts, engine, uploads)
        await refuse_unfinished(parts.store.reader)
        root_secret = settings.root_secret_key.get_secret_value()
        await ensure_root(deps, settings.root_access_key, root_secret)
        await _serve(
            settings, stack, deps, stopping, view=parts.view, heir=inheriting, shared=shared
        )


async def _open_parts(settings: IngestSettings, stack: AsyncExitStack, *, shared: bool) -> _Parts:
    clock, rng = SystemClock(), random.SystemRandom()
    broker = open_kafka(settings, clock)
    stack.push_async_callback(broker.close)
    await broker.ensure_topics()
    store = await _open_store(settings, stack, rng)
    view = MapView(broker, clock=clock)
    await view.start()
    stack.push_async_callback(view.close)
    client = NodeClient(_secret(settings), clock, timeout_s=settings.node_timeout_s)
    stack.push_async_callback(client.close)
    incarnation = Incarnation(new_id(rng))
    staging = await open_settings_staging(settings, stack, incarnation, shared=shared)
    return _Parts(settings, store, broker, view, client, staging, incarnation)


async def _open_store(
    settings: IngestSettings, stack: AsyncExitStack, rng: random.Random
) -> _Store:
    connections = await open_connections(settings.database_url.get_secret_value(), size_max=8)
    database = PostgresDatabase(connections, rng=rng)
    stack.push_async_callback(database.close)
    direct = DirectWriter(database, rng=rng)
    stack.push_async_callback(direct.close)
    archive = await stack.enter_async_context(open_archive(load_settings(ArchiverSettings)))
    blocks = None if archive is None else ArchivedBlocks(archive)
    everywhere = PostgresReader(connections, blocks)
    webhooks = PostgresWebhooks(connections)
    return _Store(database, PostgresReader(connections), direct, everywhere, webhooks)


async def _open_engine(parts: _Parts) -> UploadEngine:
    settings = parts.settings
    return await open_engine(
        EngineDependencies(
            incarnation=parts.incarnation,
            broker=parts.broker,
            reader=parts.store.reader,
            direct=parts.store.direct,
            aborter=SealAborter(parts.store.database),
            view=parts.view,
            staging=parts.staging.staging,
            lane_count=settings.lanes,
            slot_count=settings.slots,
            silence_s=settings.silence_s,
            settle_timeout_s=settings.settle_timeout_s,
        )
    )


def _dependencies(parts: _Parts, engine: UploadEngine, uploads: AsyncUploads) -> Dependencies:
    clock, settings, reader = SystemClock(), parts.settings, parts.store.reader
    memory = MemoryBudget(settings.memory_bytes)
    master_key = bytes.fromhex(settings.master_key.get_secret_value())
    identities = DatabaseIdentities(reader, master_key, clock)
    replicas = ReplicaReader(
        parts.client, parts.view, reader, clock=clock, hedge_s=settings.hedge_s
    )
    cache = ChunkCache(settings.cache_bytes)
    buckets = BucketDirectory(reader, clock)
    return Dependencies(
        engine=engine,
        direct=parts.store.direct,
        reader=reader,
        buckets=buckets,
        lookup=ManifestLookup(reader),
        objects=ObjectReader(reader, replicas, cache=cache, memory=memory),
        admission=Admission(
            staging=parts.staging.staging,
            seals=engine.pipeline.seals,
            listener=engine.completions,
            clock=clock,
            memory=memory,
            requests_max=settings.requests_max,
            large_bytes=parts.staging.large_bytes,
        ),
        asynchronous=uploads,
        credentials=identities,
        passwords=ArgonPasswords(identities),
        auth=_auth_settings(settings),
        events=EventService(
            parts.store.everywhere,
            lambda: parts.broker.source([(AUDIT, 0)]),
            clock=clock,
            master_key=master_key,
            memory=memory,
            streams_max=settings.event_streams_max,
        ),
        access=AccessLog(parts.broker.safe_publisher, buckets, lanes=settings.lanes),
        webhooks=parts.store.webhooks,
        history=parts.store.everywhere,
        clock=clock,
        classes=settings.storage_classes,
        default_class=settings.default_class,
        master_key=master_key,
        open_registration=settings.open_registration,
    )


def _auth_settings(settings: IngestSettings) -> AuthSettings:
    names = (name.strip().lower() for name in settings.domains.split(","))
    return AuthSettings(region=settings.region, domains=tuple(filter(None, names)))


async def _serve(
    settings: IngestSettings,
    stack: AsyncExitStack,
    deps: Dependencies,
    stopping: asyncio.Event,
    *,
    view: MapView,
    heir: asyncio.Task[None],
    shared: bool,
) -> None:
    """Listen, check the pipeline by a canary, and stay until asked to stop."""
    server = EmbeddedServer(_s3_config(settings, deps))
    canary = Canary(deps, worker=str(deps.rng.getrandbits(32)))
    watching = asyncio.create_task(_run_canary(canary, view), name="canary")
    stack.callback(watching.cancel)
    ops = _ops_server(settings, deps, canary, stopping, tasks=(heir, watching))
    await ops.start()
    stack.push_async_callback(ops.stop)
    await view.wait_ready(timeout_s=MAP_WAIT_S)
    await server.start(bound_socket(settings.host, settings.port, shared=shared))
    announce(settings.ready_file, {"s3": server.port, "ops": ops.port})
    log.info("serving", port=server.port, ops_port=ops.port)
    await stopping.wait()
    log.info("stopping: no longer ready", serves_on_s=settings.drain_s)
    await asyncio.sleep(settings.drain_s)
    log.info("stopping: no new requests, what is in flight settles")
    deps.events.close()
    await server.stop()
    await deps.access.close()


def _s3_config(settings: IngestSettings, deps: Dependencies) -> uvicorn.Config:
    host_id = deps.rng.randbytes(16).hex()
    return http_config(
        S3App(deps, host_id=host_id),
        http=with_head_deadline(settings.head_timeout_s),
        timeout_graceful_shutdown=settings.stop_timeout_s,
        host=settings.host,
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
    )


async def _run_canary(canary: Canary, view: MapView) -> None:
    await view.wait_ready(timeout_s=MAP_WAIT_S)
    await canary.run()


def _ops_server(
    settings: IngestSettings,
    deps: Dependencies,
    canary: Canary,
    stopping: asyncio.Event,
    *,
    tasks: Sequence[asyncio.Task[None]],
) -> OpsServer:
    async def live() -> str | None:
        ended = [task.get_name() for task in tasks if task.done()]
        return deps.engine.problem() or (f"{', '.join(ended)} ended" if ended else None)

    async def ready() -> str | None:
        return readiness(stopping, deps.engine.problem() or _first_canary(canary))

    async def pipeline() -> str | None:
        return canary.problem

    port = settings.metrics_port or settings.ops_port
    checks = {"live": live, "ready": ready, "pipeline": pipeline}
    return OpsServer(settings.ops_host, port, checks)


def readiness(stopping: asyncio.Event, problem: str | None) -> str | None:
    """Whoever is asked to stop takes no new work, however well it is."""
    return "stopping" if stopping.is_set() else problem


def _first_canary(canary: Canary) -> str | None:
    """The first one gates the start; later failures take no reader out of service."""
    return None if canary.has_succeeded else canary.problem


def _secret(settings: IngestSettings) -> bytes:
    return settings.cluster_secret.get_secret_value().encode()
