"""A migrated database for every module; a world with empty tables for every test."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.model.webhook_world import WebhookWorld

from fileflux.metadata.migrate import migrate
from fileflux.metadata.postgres import Connections, open_connections


@pytest.fixture(scope="module")
def migrated_dsn(postgres_dsn: str) -> str:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(migrate(postgres_dsn, rng=random.Random(1)))).result()
    return postgres_dsn


@pytest.fixture
async def connections(migrated_dsn: str) -> AsyncIterator[Connections]:
    opened = await open_connections(migrated_dsn, size_max=8)
    await WebhookWorld(opened).reset()
    yield opened
    await opened.close()


@pytest.fixture
def make_world(connections: Connections) -> Callable[[float], WebhookWorld]:
    """make_world(scale): how many seconds pass in one."""
    return lambda scale: WebhookWorld(connections, scale=scale)


@pytest.fixture
def world(connections: Connections) -> WebhookWorld:
    return WebhookWorld(connections)
