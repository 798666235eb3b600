"""Builds the adapters for the command line: from the environment, or from a `dev` that runs.

`fileflux dev` leaves a private file beside its data that says where Kafka and the database answer;
a command given --data-dir reads it. The environment wins.
"""

import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from fileflux.core.clock import SystemClock
from fileflux.core.errors import Invalid
from fileflux.core.settings import CommonSettings
from fileflux.events.kafka import KafkaBroker, open_kafka
from fileflux.metadata.archive import Archive
from fileflux.metadata.archive_blocks import ArchivedBlocks
from fileflux.metadata.archive_open import open_archive
from fileflux.metadata.deliveries_of_event import EventDeliveries
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.postgres import (
    Connections,
    PostgresDatabase,
    PostgresReader,
    open_connections,
)
from fileflux.metadata.postgres_routes import PostgresRoutes
from fileflux.metadata.postgres_webhooks import PostgresWebhooks
from fileflux.metadata.settings import ArchiverSettings

FILE_NAME: Final = "surroundings.json"


class NoSurroundings(Invalid):
    """Nobody said where the system is. The message says how to say it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the system's parts answer, and its master key."""

    database_url: str = field(repr=False)
    kafka_bootstrap_servers: str
    master_key: str = field(repr=False)
    cluster_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The database's two doors. `reader` sees what left the database, if there is an archive."""

    reader: PostgresReader
    database: PostgresDatabase
    direct: DirectWriter
    archive: Archive | None
    database_reader: PostgresReader
    """Sees the database alone."""
    webhooks: PostgresWebhooks


def write_surroundings(run_dir: Path, found: Surroundings) -> None:
    """Leave them for commands on the same data directory; only the owner may read the file."""
    path = run_dir / FILE_NAME
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(asdict(found), file)


def find_surroundings(data_dir: Path) -> Surroundings:
    """The environment's, completed by the file of a `dev` on `data_dir`; raise NoSurroundings."""
    found = known_surroundings(data_dir)
    needed = ("database_url", "kafka_bootstrap_servers", "master_key")
    missing = [name for name in needed if not getattr(found, name)]
    if missing:
        raise NoSurroundings(
            f"{', '.join(missing)} unknown: start `fileflux dev --data-dir {data_dir}`, or set "
            "DATABASE_URL, KAFKA_BOOTSTRAP_SERVERS and FILEFLUX_MASTER_KEY."
        )
    return found


def known_surroundings(data_dir: Path) -> Surroundings:
    """The same, with an empty text for what nobody says."""
    stored = _read(data_dir / "run" / FILE_NAME)
    variables = {
        "database_url": "DATABASE_URL",
        "kafka_bootstrap_servers": "KAFKA_BOOTSTRAP_SERVERS",
        "master_key": "FILEFLUX_MASTER_KEY",
        "cluster_secret": "FILEFLUX_CLUSTER_SECRET",
    }
    found = {
        name: os.environ.get(variable) or stored.get(name) or ""
        for name, variable in variables.items()
    }
    return Surroundings(**found)


def database_surroundings(data_dir: Path) -> Surroundings:
    """The same for commands that need the database alone; raise NoSurroundings without it."""
    found = known_surroundings(data_dir)
    if not found.database_url:
        raise NoSurroundings(
            f"the database is unknown: start `fileflux dev --data-dir {data_dir}`, or set "
            "DATABASE_URL"
        )
    return found


@asynccontextmanager
async def open_metadata(found: Surroundings) -> AsyncIterator[Metadata]:
    """Connections to the database, closed at the end."""
    connections = await open_connections(found.database_url, size_max=2)
    rng = random.SystemRandom()
    database = PostgresDatabase(connections, rng=rng)
    direct = DirectWriter(database, rng=rng)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        stack.push_async_callback(direct.close)
        archive = await stack.enter_async_context(open_archive(archive_settings(found)))
        blocks = None if archive is None else ArchivedBlocks(archive)
        everywhere, alone = PostgresReader(connections, blocks), PostgresReader(connections)
        webhooks = PostgresWebhooks(connections)
        yield Metadata(everywhere, database, direct, archive, alone, webhooks)


def archive_of(metadata: Metadata) -> Archive:
    """Return the archive; raise Invalid where the environment names none."""
    if metadata.archive is None:
        raise Invalid("there is no archive: set FILEFLUX_ARCHIVE_URL")
    return metadata.archive


def archive_settings(found: Surroundings) -> ArchiverSettings:
    """Return where the environment says that the archive is; raise Invalid."""
    try:
        return ArchiverSettings(**{"DATABASE_URL": found.database_url})  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors()]
        raise Invalid("; ".join(lines)) from None


@asynccontextmanager
async def open_webhooks(
    found: Surroundings,
) -> AsyncIterator[tuple[PostgresWebhooks, PostgresReader]]:
    """The tables of webhooks and the audit stream, wherever it is; closed at the end."""
    async with _open_connections(found) as (connections, reader):
        yield PostgresWebhooks(connections), reader


@asynccontextmanager
async def open_routes(
    found: Surroundings,
) -> AsyncIterator[tuple[PostgresRoutes, PostgresReader]]:
    """The table of routes and the audit stream, wherever it is; closed at the end."""
    async with _open_connections(found) as (connections, reader):
        yield PostgresRoutes(connections), reader


@asynccontextmanager
async def _open_connections(
    found: Surroundings,
) -> AsyncIterator[tuple[Connections, PostgresReader]]:
    connections = await open_connections(found.database_url, size_max=2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(connections.close)
        archive = await stack.enter_async_context(open_archive(archive_settings(found)))
        blocks = None if archive is None else ArchivedBlocks(archive)
        yield connections, PostgresReader(connections, blocks)


@asynccontextmanager
async def open_deliveries(
    found: Surroundings,
) -> AsyncIterator[tuple[PostgresWebhooks, EventDeliveries]]:
    """The subscriptions, and what became of single events; closed at the end."""
    connections = await open_connections(found.database_url, size_max=1)
    try:
        yield PostgresWebhooks(connections), EventDeliveries(connections)
    finally:
        await connections.close()


@asynccontextmanager
async def open_broker(found: Surroundings) -> AsyncIterator[KafkaBroker]:
    """A broker adapter that creates nothing, closed at the end."""
    settings = CommonSettings(**{**CommonSettings().model_dump(by_alias=True), **_kafka_env(found)})
    broker = open_kafka(settings, SystemClock(), looks_only=True)
    try:
        yield broker
    finally:
        await broker.close()


def _kafka_env(found: Surroundings) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP_SERVERS": found.kafka_bootstrap_servers}


def _read(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
