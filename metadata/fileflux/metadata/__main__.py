"""The metadata processes: `python -m fileflux.metadata materializer | sequencer | migrate`."""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, Protocol

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.ops import OpsServer
from fileflux.core.service import announce, run_service
from fileflux.core.settings import CommonSettings, load_settings
from fileflux.core.telemetry import get_logger
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.kafka import open_kafka
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.completions import CompletionPublisher
from fileflux.metadata.lanes import places_of
from fileflux.metadata.materializer import Materializer, MaterializerDependencies
from fileflux.metadata.migrate import migrate
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader, open_connections
from fileflux.metadata.sequencer import Sequencer, SequencerDependencies
from fileflux.metadata.settings import MaterializerSettings, MetadataSettings, SequencerSettings

log = get_logger(__name__)

STUCK_S: Final = 30.0
"""A loop that has not come round for so long is restarted by whoever watches /health/live."""


class Loop(Protocol):
    """What a process runs. `turned_s`: when its last turn ended; `problem`: why that failed."""

    turned_s: float
    problem: str | None

    async def run(self, stopping: asyncio.Event) -> None: ...


async def run_materializer(stopping: asyncio.Event) -> None:
    settings = load_settings(MaterializerSettings)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        broker = open_kafka(settings, clock)
        stack.push_async_callback(broker.close)
        await broker.ensure_topics()
        database, reader = await _open_database(settings.database_url.get_secret_value(), stack)
        deps = MaterializerDependencies(
            database=database,
            reader=reader,
            source=await broker.source(places_of(settings.own_lanes)),
            completions=CompletionPublisher(await broker.fast_publisher(), clock=clock),
            dead_letters=DeadLetters(await broker.safe_publisher(), clock=clock),
            clock=clock,
            lanes=settings.own_lanes,
        )
        await _serve(settings, Materializer(deps), clock, stopping)


async def run_sequencer(stopping: asyncio.Event) -> None:
    settings = load_settings(SequencerSettings)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        broker = open_kafka(settings, clock)
        stack.push_async_callback(broker.close)
        await broker.ensure_topics()
        database, reader = await _open_database(settings.database_url.get_secret_value(), stack)
        publisher = AuditPublisher(
            reader=reader,
            publisher=await broker.safe_publisher(),
            source=await broker.source([(AUDIT, 0)]),
            clock=clock,
            stream=settings.stream,
        )
        deps = SequencerDependencies(
            database=database,
            reader=reader,
            publisher=publisher,
            clock=clock,
            stream=settings.stream,
        )
        await _serve(settings, Sequencer(deps), clock, stopping)


async def run_migrate(_stopping: asyncio.Event) -> None:
    settings = load_settings(MetadataSettings)
    version = await migrate(settings.database_url.get_secret_value(), rng=random.SystemRandom())
    log.info("the database is migrated", version=version)


async def _open_database(
    dsn: str, stack: AsyncExitStack
) -> tuple[PostgresDatabase, PostgresReader]:
    connections = await open_connections(dsn)
    database = PostgresDatabase(connections, rng=random.SystemRandom())
    stack.push_async_callback(database.close)
    return database, PostgresReader(connections)


async def _serve(
    settings: CommonSettings, loop: Loop, clock: Clock, stopping: asyncio.Event
) -> None:
    """Run the loop beside its ops port."""

    async def live() -> str | None:
        silent_s = clock.monotonic_s() - loop.turned_s
        return f"the loop has not turned for {silent_s:.0f} s" if silent_s > STUCK_S else None

    async def ready() -> str | None:
        return loop.problem

    ops = OpsServer(settings.ops_host, settings.ops_port, {"live": live, "ready": ready})
    await ops.start()
    announce(settings.ready_file, {"ops": ops.port})
    try:
        await loop.run(stopping)
    finally:
        await ops.stop()


COMMANDS: Final[dict[str, Callable[[asyncio.Event], Awaitable[None]]]] = {
    "materializer": run_materializer,
    "sequencer": run_sequencer,
    "migrate": run_migrate,
}


def main(arguments: list[str]) -> int:
    """Return 2 for an unknown command; otherwise run until stopped."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: python -m fileflux.metadata {' | '.join(COMMANDS)}", file=sys.stderr)
        return 2
    run_service(COMMANDS[arguments[0]])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
