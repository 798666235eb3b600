"""F3 for webhooks: the process between real Kafka, PostgreSQL and HTTP, killed at each step."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.model.webhook_receiver import VerifyingReceiver, until
from tests.model.webhook_world import MASTER_KEY, WebhookWorld

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.events.kafka import KafkaBroker
from fileflux.metadata.postgres import Connections

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
WAIT_S = 60.0
POINTS = ("webhooks.after_queue", "webhooks.before_send", "webhooks.after_send")


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    """A broker of our own: the audit topic has a history of its own here."""
    made = KafkaServer(server_dir / "kafka-webhooks", cache_dir=cache_dir)
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    yield made
    made.stop()


@pytest.fixture
async def real(
    server: KafkaServer, connections: Connections
) -> AsyncIterator[tuple[WebhookWorld, KafkaBroker]]:
    broker = KafkaBroker(server.bootstrap_servers, lanes=4, slots=8, clock=SystemClock())
    await broker.ensure_topics()
    world = WebhookWorld(connections, broker=broker)
    yield world, broker
    await broker.close()


@contextlib.asynccontextmanager
async def process(
    dsn: str, kafka: str, tmp_path: Path, failpoint: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fileflux.webhooks"),
        env={
            **os.environ,
            "DATABASE_URL": dsn,
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "FILEFLUX_MASTER_KEY": MASTER_KEY.hex(),
            "FILEFLUX_WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.1/32",
            "FILEFLUX_FAILPOINTS": failpoint,
            "FILEFLUX_READY_FILE": str(tmp_path / "ready.json"),
            "FILEFLUX_LOG_LEVEL": "WARNING",
        },
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
        async with asyncio.timeout(WAIT_S):
            await started.wait()


async def test_killed_at_any_step_it_loses_nothing_and_keeps_the_order_of_each_key(
    real: tuple[WebhookWorld, KafkaBroker],
    server: KafkaServer,
    migrated_dsn: str,
    tmp_path: Path,
) -> None:
    world, _ = real
    kafka = server.bootstrap_servers
    async with VerifyingReceiver().running() as receiver:
        one = await world.subscribe(receiver.url)
        receiver.secret = world.secrets[one.subscription_id]
        keys = []
        for number, point in enumerate(POINTS):
            more = [f"{number}-{n % 4}" for n in range(24)]
            async with process(migrated_dsn, kafka, tmp_path, f"{point}=kill") as killed:
                await world.happen(*more[:12])
                await world.happen(*more[12:])
                async with asyncio.timeout(WAIT_S):
                    assert await killed.wait() == -9, point
            keys += more
        async with process(migrated_dsn, kafka, tmp_path):
            await until(lambda: len({name for name, _, _ in receiver.taken}) == len(keys))
    assert sorted(key for _, key, _ in dict.fromkeys(receiver.taken)) == sorted(keys)
    for key in set(keys):
        first_times = dict.fromkeys(s for _, taken, s in receiver.taken if taken == key)
        assert list(first_times) == sorted(first_times)
    assert await world.waiting(one) == 0


async def test_killed_while_a_receiver_thinks_it_delivers_again_with_the_same_id(
    real: tuple[WebhookWorld, KafkaBroker],
    server: KafkaServer,
    migrated_dsn: str,
    tmp_path: Path,
) -> None:
    world, broker = real
    await broker.drop_records("fileflux.audit", 0, (await _end(broker)))
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def think() -> None:
        arrived.set()
        await go_on.wait()

    kafka = server.bootstrap_servers
    async with VerifyingReceiver().running() as receiver:
        one = await world.subscribe(receiver.url)
        receiver.secret, receiver.before = world.secrets[one.subscription_id], think
        async with process(migrated_dsn, kafka, tmp_path) as killed:
            await world.happen("a")
            async with asyncio.timeout(WAIT_S):
                await arrived.wait()
            killed.kill()
            await killed.wait()
        go_on.set()
        async with process(migrated_dsn, kafka, tmp_path):
            await until(lambda: len(receiver.taken) == 2)
    assert len({name for name, _, _ in receiver.taken}) == 1


async def test_without_kafka_at_its_start_it_delivers_from_the_database_and_is_not_ready(
    connections: Connections, migrated_dsn: str, tmp_path: Path
) -> None:
    world = WebhookWorld(connections)
    async with VerifyingReceiver().running() as receiver:
        one = await world.subscribe(receiver.url)
        receiver.secret = world.secrets[one.subscription_id]
        async with process(migrated_dsn, "127.0.0.1:1", tmp_path):
            await world.live(one)
            await world.happen("a", publish=False)
            await until(lambda: len(receiver.taken) == 1)
            ports = json.loads((tmp_path / "ready.json").read_text())["ports"]
            async with aiohttp.request(
                "GET", f"http://127.0.0.1:{ports['ops']}/health/ready"
            ) as answer:
                problem = (await answer.json())["problem"]
    assert answer.status == 503
    assert "Topics: " in problem


async def _end(broker: KafkaBroker) -> int:
    lookup = await broker.lookup()
    try:
        return (await lookup.bounds("fileflux.audit", 0))[1]
    finally:
        await lookup.close()
