"""The metadata processes: `python -m fileflux.metadata materializer | sequencer | migrate | all`,
and `archiver`, where archiving shall not be the sequencer's.

`all` is for one machine: it migrates, then runs both loops in one process. Supervisors start
everything at once, so whoever needs the database or the broker waits for it at the start.
"""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import stamina

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.errors import BrokerUnavailable, Invalid, MetadataBusy
from fileflux.core.ops import OpsServer
from fileflux.core.service import announce, run_service
from fileflux.core.settings import load_settings
from fileflux.core.telemetry import get_logger
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.kafka import KafkaBroker, open_kafka
from fileflux.metadata.archive import Archive
from fileflux.metadata.archive_blocks import ArchivedBlocks
from fileflux.metadata.archive_open import open_archive
from fileflux.metadata.archiver import Archiver
from fileflux.metadata.audit_keys import load_audit_key
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.checkpointer import Checkpointer, CheckpointTopic
from fileflux.metadata.completions import CompletionPublisher
from fileflux.metadata.janitor import Janitor
from fileflux.metadata.lanes import places_of
from fileflux.metadata.materializer import Materializer, MaterializerDependencies
from fileflux.metadata.migrate import check_version, migrate
from fileflux.metadata.pending_seals import PendingSeals
from fileflux.metadata.postgres import (
    Connections,
    PostgresDatabase,
    PostgresReader,
    open_connections,
)
from fileflux.metadata.rebuild_target import refuse_unfinished
from fileflux.metadata.sequencer import Sequencer, SequencerDependencies
from fileflux.metadata.settings import (
    ArchiverSettings,
    BothSettings,
    MaterializerSettings,
    MetadataSettings,
    SequencerSettings,
)
from fileflux.metadata.workers import Worker, live_check, ready_check, run_until

log = get_logger(__name__)

START_TIMEOUT_S: Final = 120.0
START_RETRY_S_MAX: Final = 1.0


@dataclass(frozen=True, slots=True)
class Outside:
    """What a process reaches: the database, the broker, the archive if there is one, the time."""

    connections: Connections
    broker: KafkaBroker
    clock: Clock
    archive: Archive | None = None

    @property
    def database(self) -> PostgresDatabase:
        return PostgresDatabase(self.connections, rng=random.SystemRandom())

    @property
    def reader(self) -> PostgresReader:
        return PostgresReader(self.connections)

    @property
    def archive_reader(self) -> PostgresReader:
        """Return who reads what left the database too."""
        blocks = None if self.archive is None else ArchivedBlocks(self.archive)
        return PostgresReader(self.connections, blocks)


async def run_migrate(_stopping: asyncio.Event) -> None:
    await _migrate(load_settings(MetadataSettings))


async def run_materializer(stopping: asyncio.Event) -> None:
    settings = load_settings(MaterializerSettings)
    async with AsyncExitStack() as stack:
        outside = await _open(settings, stack)
        await _serve(settings, outside, [await _materializer(settings, outside)], stopping)


async def run_sequencer(stopping: asyncio.Event) -> None:
    settings = load_settings(SequencerSettings)
    async with AsyncExitStack() as stack:
        outside = await _with_archive(settings, await _open(settings, stack), stack)
        workers: list[Worker] = [
            await _sequencer(settings, outside),
            _janitor(outside),
            *await _archivers(settings, outside),
        ]
        await _serve(settings, outside, workers, stopping)


async def run_archiver(stopping: asyncio.Event) -> None:
    settings = load_settings(ArchiverSettings)
    async with AsyncExitStack() as stack:
        outside = await _with_archive(settings, await _open(settings, stack), stack)
        workers = await _archivers(settings, outside)
        if not workers:
            raise Invalid("there is no archive: set FILEFLUX_ARCHIVE_URL")
        await _serve(settings, outside, workers, stopping)


async def run_all(stopping: asyncio.Event) -> None:
    settings = load_settings(BothSettings)
    await _migrate(settings)
    async with AsyncExitStack() as stack:
        outside = await _with_archive(settings, await _open(settings, stack), stack)
        workers: list[Worker] = [
            await _materializer(settings, outside),
            await _sequencer(settings, outside),
            _janitor(outside),
            *await _archivers(settings, outside),
        ]
        await _serve(settings, outside, workers, stopping)


async def _migrate(settings: MetadataSettings) -> None:
    version = 0
    async for attempt in stamina.retry_context(
        on=MetadataBusy, attempts=None, timeout=START_TIMEOUT_S, wait_max=START_RETRY_S_MAX
    ):
        with attempt:
            dsn = settings.database_url.get_secret_value()
            version = await migrate(dsn, rng=random.SystemRandom())
    log.info("the database is migrated", version=version)


async def _open(settings: MetadataSettings, stack: AsyncExitStack) -> Outside:
    """Reach the database and the broker, and refuse what is not ours."""
    clock = SystemClock()
    connections = await _connect(settings)
    stack.push_async_callback(connections.close)
    broker = open_kafka(settings, clock)
    stack.push_async_callback(broker.close)
    async for attempt in stamina.retry_context(
        on=BrokerUnavailable, attempts=None, timeout=START_TIMEOUT_S, wait_max=START_RETRY_S_MAX
    ):
        with attempt:
            await broker.ensure_topics()
    return Outside(connections, broker, clock)


async def _connect(settings: MetadataSettings) -> Connections:
    dsn = settings.database_url.get_secret_value()
    async for attempt in stamina.retry_context(
        on=MetadataBusy, attempts=None, timeout=START_TIMEOUT_S, wait_max=START_RETRY_S_MAX
    ):
        with attempt:
            connections = await open_connections(dsn, size_max=settings.connections)
    connection = await connections.take()
    await check_version(connection)
    await connections.give_back(connection)
    await refuse_unfinished(PostgresReader(connections))
    return connections


async def _materializer(settings: MaterializerSettings, outside: Outside) -> Materializer:
    clock, publisher = outside.clock, await outside.broker.fast_publisher()
    return Materializer(
        MaterializerDependencies(
            database=outside.database,
            reader=outside.reader,
            source=await outside.broker.source(places_of(settings.own_lanes)),
            completions=CompletionPublisher(publisher, clock=clock),
            dead_letters=DeadLetters(await outside.broker.safe_publisher(), clock=clock),
            clock=clock,
            lanes=settings.own_lanes,
            pending=PendingSeals(bytes_max=settings.memory_mib << 20),
        )
    )


async def _with_archive(
    settings: ArchiverSettings, outside: Outside, stack: AsyncExitStack
) -> Outside:
    return replace(outside, archive=await stack.enter_async_context(open_archive(settings)))


async def _archivers(settings: ArchiverSettings, outside: Outside) -> list[Worker]:
    """Return the one that archives, if there is an archive."""
    if outside.archive is None:
        return []
    return [
        Archiver(
            database=outside.database,
            reader=outside.reader,
            source=await outside.broker.lookup(),
            archive=outside.archive,
            clock=outside.clock,
            stream=settings.stream,
            after_s=settings.archive_after_s,
            keep_s=settings.archive_keep_s,
        )
    ]


async def _checkpointer(settings: SequencerSettings, outside: Outside) -> Checkpointer | None:
    if not settings.audit_key_file:
        return None
    topic = CheckpointTopic(
        reader=outside.reader,
        publisher=await outside.broker.safe_publisher(),
        source=await outside.broker.lookup(),
        clock=outside.clock,
    )
    return Checkpointer(
        database=outside.database,
        reader=outside.archive_reader,
        topic=topic,
        key=load_audit_key(Path(settings.audit_key_file)),
        clock=outside.clock,
        every_records=settings.checkpoint_records,
        every_s=settings.checkpoint_s,
        archive=outside.archive,
    )


async def _sequencer(settings: SequencerSettings, outside: Outside) -> Sequencer:
    publisher = AuditPublisher(
        reader=outside.archive_reader,
        broker=outside.broker,
        publisher=await outside.broker.safe_publisher(),
        source=await outside.broker.lookup(),
        clock=outside.clock,
        stream=settings.stream,
    )
    return Sequencer(
        SequencerDependencies(
            database=outside.database,
            reader=outside.reader,
            publisher=publisher,
            clock=outside.clock,
            checkpointer=await _checkpointer(settings, outside),
            stream=settings.stream,
            poll_s=settings.poll_ms / 1_000,
        )
    )


def _janitor(outside: Outside) -> Janitor:
    return Janitor(outside.database, outside.reader, clock=outside.clock, rng=random.SystemRandom())


async def _serve(
    settings: MetadataSettings,
    outside: Outside,
    workers: Sequence[Worker],
    stopping: asyncio.Event,
) -> None:
    """Run the loops beside their ops port."""
    checks = {"live": live_check(workers, outside.clock), "ready": ready_check(workers)}
    ops = OpsServer(settings.ops_host, settings.ops_port, checks)
    await ops.start()
    try:
        announce(settings.ready_file, {"ops": ops.port})
        await run_until(stopping, workers)
    finally:
        await ops.stop()


COMMANDS: Final[dict[str, Callable[[asyncio.Event], Awaitable[None]]]] = {
    "materializer": run_materializer,
    "sequencer": run_sequencer,
    "archiver": run_archiver,
    "migrate": run_migrate,
    "all": run_all,
}


def main(arguments: list[str]) -> int:
    """Return 2 for an unknown command; otherwise run until stopped."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: python -m fileflux.metadata {' | '.join(COMMANDS)}", file=sys.stderr)
        return 2
    run_service(COMMANDS[arguments[0]], name=arguments[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
