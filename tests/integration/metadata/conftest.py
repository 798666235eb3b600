"""A migrated database of its own for every module, and connections for every test."""

import asyncio
import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fileflux.metadata.migrate import migrate
from fileflux.metadata.postgres import (
    Connections,
    PostgresDatabase,
    PostgresReader,
    open_connections,
)


@pytest.fixture(scope="module")
def migrated_dsn(postgres_dsn: str) -> str:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(migrate(postgres_dsn, rng=random.Random(1)))).result()
    return postgres_dsn


@pytest.fixture
async def connections(migrated_dsn: str) -> AsyncIterator[Connections]:
    opened = await open_connections(migrated_dsn, size_max=8)
    yield opened
    await opened.close()


@pytest.fixture
def database(connections: Connections) -> PostgresDatabase:
    return PostgresDatabase(connections, rng=random.Random(2))


@pytest.fixture
def reader(connections: Connections) -> PostgresReader:
    return PostgresReader(connections)
