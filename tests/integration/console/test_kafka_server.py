"""The broker that `fileflux dev` starts, through its own clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from fileflux.console.kafka_jars import KafkaJarsUnavailable, is_as_locked, locked_jars
from fileflux.console.kafka_server import KafkaServer, KafkaStartFailed, broker_answers

pytestmark = pytest.mark.kafka
TOPIC = "kept"


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    server = KafkaServer(server_dir / "own-kafka", cache_dir=cache_dir)
    try:
        server.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}")
    yield server
    server.stop()


async def test_acknowledged_records_survive_kill_9_and_a_restart(server: KafkaServer) -> None:
    """The page cache outlives the process (M10); a power cut is another story (M8)."""
    await _create_topic(server)
    await _send(server, [b"one", b"two"])

    server.kill()
    assert not broker_answers("127.0.0.1", server.port)
    server.start()

    assert await _read(server, 2) == [b"one", b"two"]


async def test_a_clean_stop_and_a_second_start_reuse_the_directory(server: KafkaServer) -> None:
    before = server.bootstrap_servers

    server.stop()
    server.start()

    assert server.bootstrap_servers == before
    assert await _read(server, 2) == [b"one", b"two"]


async def test_another_object_finds_the_data_on_another_port(
    server: KafkaServer, cache_dir: Path
) -> None:
    """The voters' address is a setting, not something the log remembers."""
    server.stop()
    other = KafkaServer(server.data_dir, cache_dir=cache_dir)
    other.start()
    try:
        assert await _read(other, 2) == [b"one", b"two"]
    finally:
        other.stop()
        server.start()


async def test_a_wiped_broker_has_forgotten_its_topics(server: KafkaServer) -> None:
    server.wipe()
    server.start()

    client = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap_servers)
    await client.start()
    try:
        assert TOPIC not in await client.list_topics()
    finally:
        await client.close()


def test_a_port_that_is_taken_is_said_so(server: KafkaServer, cache_dir: Path) -> None:
    second = KafkaServer(server.data_dir.parent / "second", cache_dir=cache_dir, port=server.port)

    with pytest.raises(KafkaStartFailed, match="in use"):
        second.start(timeout_s=30)

    assert server.is_running


def test_a_damaged_jar_is_not_believed(tmp_path: Path, cache_dir: Path) -> None:
    jar = locked_jars()[0]
    good = cache_dir / "kafka" / jar.filename
    damaged = tmp_path / jar.filename
    damaged.write_bytes(good.read_bytes() + b"\0")

    assert is_as_locked(good, jar)
    assert not is_as_locked(damaged, jar)


async def _create_topic(server: KafkaServer) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap_servers)
    await client.start()
    try:
        await client.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    finally:
        await client.close()


async def _send(server: KafkaServer, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=server.bootstrap_servers, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(TOPIC, value)


async def _read(server: KafkaServer, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=server.bootstrap_servers, auto_offset_reset="earliest"
    )
    async with consumer:
        return [(await consumer.getone()).value for _ in range(count)]
