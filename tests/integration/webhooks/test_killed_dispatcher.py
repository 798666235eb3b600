"""F3 for webhooks and routes: their process between real parts, killed at each step."""

import asyncio
import contextlib
import json
import os
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.model.route_rows import route
from tests.model.webhook_receiver import VerifyingReceiver, until
from tests.model.webhook_world import MASTER_KEY, WebhookWorld
from tests.model.webhook_world import until as until_asked

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.events.kafka import KafkaBroker
from fileflux.events.ports import EventSource, Record
from fileflux.metadata.postgres import Connections
from fileflux.metadata.postgres_routes import PostgresRoutes
from fileflux.metadata.route_rows import Route

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
WAIT_S = 60.0
POINTS = ("webhooks.after_queue", "webhooks.before_send", "webhooks.after_send")
ROUTE_POINTS = (
    *("routes.before_send", "routes.after_partition", "routes.after_send", "routes.after_move"),
)
PARTITIONS = 4
DEAD_QUEUE = "http://127.0.0.1:1/123456789012/jobs"
"""An SQS where nobody listens."""


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
    connections: Connections,
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
            await _forget_leases(connections)
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


async def test_killed_at_any_step_a_routes_topic_has_every_event_and_each_key_in_order(
    real: tuple[WebhookWorld, KafkaBroker],
    server: KafkaServer,
    connections: Connections,
    migrated_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a queue that is dead all the time delays nobody."""
    world, broker = real
    await broker.drop_records("fileflux.audit", 0, (await _end(broker)))
    topic = f"alice.{uuid.uuid4().hex}"
    await broker.user_topics().create(topic, PARTITIONS)
    store = PostgresRoutes(connections)
    one = route(destination=f"kafka:{topic}", prefix=b"in/")
    assert await store.put_route(one)
    names = []
    for number, point in enumerate(ROUTE_POINTS):
        keys = [f"in/{number}-{n % 4}" for n in range(24)]
        async with process(
            migrated_dsn, server.bootstrap_servers, tmp_path, f"{point}=kill"
        ) as killed:
            await world.happen(*keys[:12], "out/1")
            await world.happen(*keys[12:], "out/2")
            async with asyncio.timeout(WAIT_S):
                assert await killed.wait() == -9, point
        names += keys
        await _forget_leases(connections)
    dead = route(destination=DEAD_QUEUE, format="s3")
    assert await store.put_route(dead)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    source = await broker.source([(topic, n) for n in range(PARTITIONS)])
    async with process(migrated_dsn, server.bootstrap_servers, tmp_path):
        found = await until_all(source, len(names))
        await until_asked(lambda: _has_problem(store, dead))
    await source.close()
    assert_complete_and_in_order(found, names)


async def until_all(source: EventSource, count: int) -> list[Record]:
    """Read until there are so many different events."""
    found: list[Record] = []
    async with asyncio.timeout(WAIT_S):
        while len({event_id(one) for one in found}) < count:
            found += await source.fetch()
    return found


def assert_complete_and_in_order(found: list[Record], names: list[str]) -> None:
    """Each event at least once; when what came again is left out, each key in order."""
    first_times = {event_id(one): one for one in reversed(found)}
    keys = sorted((one.key or b"").decode() for one in first_times.values())
    assert keys == sorted(f"photos/{name}" for name in names)
    assert len({one.position.partition for one in found}) > 1
    by_key: dict[bytes, list[bytes]] = defaultdict(list)
    places: dict[bytes, set[int]] = defaultdict(set)
    for one in sorted(
        first_times.values(), key=lambda r: (r.position.partition, r.position.offset)
    ):
        by_key[one.key or b""].append(dict(one.headers)["ce_sequence"])
        places[one.key or b""].add(one.position.partition)
    assert [key for key, sequences in by_key.items() if sequences != sorted(sequences)] == []
    assert [key for key, partitions in places.items() if len(partitions) != 1] == []


def event_id(record: Record) -> bytes:
    return dict(record.headers)["ce_id"]


async def _has_problem(store: PostgresRoutes, one: Route) -> bool:
    found = await store.route(one.route_id)
    return found is not None and DEAD_QUEUE.split("/")[2] in found.problem


async def _forget_leases(connections: Connections) -> None:
    """As if their ten seconds had passed, which one test of this module waits for."""
    connection = await connections.take()
    await connection.execute("DELETE FROM leases")
    await connections.give_back(connection)
