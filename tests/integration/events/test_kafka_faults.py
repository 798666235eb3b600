"""What the Kafka adapter does when the real broker is killed, frozen, wiped or set up wrongly."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.core.errors import BrokerUnavailable, EventInvalid, TopicsInvalid
from fileflux.events.kafka import KafkaBroker
from fileflux.events.ports import EventPublisher, EventSource, Record
from fileflux.events.topics import AUDIT_RECORD_BYTES_MAX, AUDIT_TOPIC, Topic

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
PARTITIONS = 2
UP_AGAIN_S = 60
Run = list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]]


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    """A broker of our own: the session's is not ours to kill."""
    made = KafkaServer(server_dir / "kafka-faults", cache_dir=cache_dir)
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    yield made
    made.stop()


@pytest.fixture
def topic() -> Topic:
    return _topic()


def _topic(**changes: object) -> Topic:
    values = {"name": f"test-{uuid.uuid4().hex}", "partitioned_by": "slots", "key": "none"}
    rest = {"writers": (), "readers": (), "holds": ""}
    return Topic(**{**values, **rest, **changes})  # type: ignore[arg-type]  # As given.


def _broker(server: KafkaServer, *topics: Topic) -> KafkaBroker:
    return KafkaBroker(
        server.bootstrap_servers, lanes=1, slots=PARTITIONS, clock=SystemClock(), topics=topics
    )


@pytest.fixture
async def broker(server: KafkaServer, topic: Topic) -> AsyncIterator[KafkaBroker]:
    await asyncio.to_thread(server.start)
    made = _broker(server, topic)
    await made.ensure_topics()
    yield made
    await made.close()


async def _publish_until_taken(publisher: EventPublisher, topic: Topic, value: bytes) -> int:
    """Send again until it is acknowledged, as whoever waits does; return the attempts."""
    attempts = 0
    async with asyncio.timeout(UP_AGAIN_S):
        while True:
            attempts += 1
            try:
                await publisher.publish(topic.name, value, partition=0)
            except BrokerUnavailable:
                await asyncio.sleep(0.2)
            else:
                return attempts


async def _read_until(source: EventSource, value: bytes) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(UP_AGAIN_S):
        while value not in [record.value for record in records]:
            records += await source.fetch(wait_s=0.5)
    return records


@pytest.mark.parametrize("kind", ["fast", "safe"])
async def test_publishers_and_sources_go_on_after_the_broker_was_killed(
    server: KafkaServer, broker: KafkaBroker, topic: Topic, kind: str
) -> None:
    publisher = await (broker.fast_publisher() if kind == "fast" else broker.safe_publisher())
    source = await broker.source([(topic.name, 0), (topic.name, 1)])
    await publisher.publish(topic.name, b"before", partition=0)
    await _read_until(source, b"before")

    server.kill()
    with pytest.raises(BrokerUnavailable):
        await publisher.publish(topic.name, b"during", partition=0)
    await asyncio.to_thread(server.start)
    await _publish_until_taken(publisher, topic, b"after")
    records = await _read_until(source, b"after")

    # The broker's memory went to the page cache, which a kill spares: nothing is read twice.
    assert b"before" not in [record.value for record in records]
    assert await source.bounds(topic.name, 0) >= (0, 2)


async def test_a_broker_that_freezes_is_noticed_within_the_deadline(
    server: KafkaServer, broker: KafkaBroker, topic: Topic
) -> None:
    publisher = await broker.fast_publisher()
    source = await broker.source([(topic.name, 0)])
    await publisher.publish(topic.name, b"before", partition=0)
    await _read_until(source, b"before")

    server.pause()
    started_s = time.monotonic()
    try:
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(topic.name, b"during", partition=0)
        waited_s = time.monotonic() - started_s
        with pytest.raises(BrokerUnavailable):
            await source.bounds(topic.name, 0)
    finally:
        server.resume()

    assert waited_s < 5
    await _publish_until_taken(publisher, topic, b"after")
    await _read_until(source, b"after")


async def test_a_wiped_topic_is_read_from_its_start_although_it_grew_past_the_position(
    server: KafkaServer, broker: KafkaBroker, topic: Topic
) -> None:
    """The offset is valid again, and what stands there is another record: skipping would lose."""
    publisher = await broker.safe_publisher()
    source = await broker.source([(topic.name, 0)])
    for number in range(3):
        await publisher.publish(topic.name, b"old %d" % number, partition=0)
    await _read_until(source, b"old 2")

    server.wipe()
    writer = await _restart_and_fill(server, topic, count=10)
    records = await _read_until(source, b"new 9")
    await writer.close()

    assert [record.value for record in records] == [b"new %d" % n for n in range(10)]


async def test_a_broker_that_comes_back_empty_gets_its_topics_from_whoever_reads(
    server: KafkaServer, broker: KafkaBroker, topic: Topic
) -> None:
    """Services create topics at their start; a broker that is wiped meets running ones."""
    publisher = await broker.fast_publisher()
    source = await broker.source([(topic.name, 0)])
    await publisher.publish(topic.name, b"before", partition=0)
    await _read_until(source, b"before")

    server.wipe()
    await asyncio.to_thread(server.start)
    await _publish_until_taken(publisher, topic, b"after")

    # One that was not acknowledged in time is sent again, so it may be there more than once.
    assert {record.value for record in await _read_until(source, b"after")} == {b"after"}


async def _restart_and_fill(server: KafkaServer, topic: Topic, count: int) -> KafkaBroker:
    """Write before the source can have come back: its position is inside of the new topic."""
    await asyncio.to_thread(server.start)
    writer = _broker(server, topic)
    await writer.ensure_topics()
    publisher = await writer.safe_publisher()
    run: Run = [(None, b"new %d" % number, []) for number in range(count)]
    await publisher.publish_all(topic.name, run, partition=0)
    return writer


async def test_nobody_there_is_said_as_unavailable(server: KafkaServer, topic: Topic) -> None:
    nobody = KafkaBroker("127.0.0.1:1", lanes=1, slots=1, clock=SystemClock(), topics=[topic])

    for attempt in (
        nobody.ensure_topics,
        nobody.fast_publisher,
        nobody.safe_publisher,
        lambda: nobody.source([(topic.name, 0)]),
    ):
        with pytest.raises(BrokerUnavailable):
            await attempt()

    await nobody.close()


async def test_a_record_too_large_is_the_writers_mistake(broker: KafkaBroker, topic: Topic) -> None:
    publisher = await broker.safe_publisher()

    with pytest.raises(EventInvalid):
        await publisher.publish(topic.name, bytes(AUDIT_RECORD_BYTES_MAX + 1), partition=0)

    await publisher.publish(topic.name, b"and the next one is taken", partition=0)


async def test_the_audit_topic_takes_records_of_many_megabytes(server: KafkaServer) -> None:
    await asyncio.to_thread(server.start)
    broker = _broker(server, AUDIT_TOPIC)
    await broker.ensure_topics()
    publisher = await broker.safe_publisher()
    value = bytes(AUDIT_RECORD_BYTES_MAX - 4096)
    run: Run = [(b"k", value, []), (b"k", b"small", []), (b"k", b"last", [])]
    await publisher.publish_all(AUDIT_TOPIC.name, run, partition=0)
    source = await broker.source([(AUDIT_TOPIC.name, 0)])

    records = await _read_until(source, b"last")
    await broker.close()

    assert [len(record.value) for record in records] == [len(value), 5, 4]


async def test_every_wrong_setting_of_every_topic_is_listed(server: KafkaServer) -> None:
    await asyncio.to_thread(server.start)
    short = _topic(retention_ms=1_000)
    volatile = _topic()
    right = _topic()
    made = _broker(server, short, volatile, right)
    await made.ensure_topics()
    wanted = _broker(
        server,
        _topic(name=short.name, partitioned_by="lanes", retention_ms=2_000),
        _topic(name=volatile.name, durable=True, settings={"max.message.bytes": "9000000"}),
        right,
    )

    with pytest.raises(TopicsInvalid) as caught:
        await wanted.ensure_topics()

    lines = str(caught.value).splitlines()
    assert len([line for line in lines if short.name in line]) == 2  # Partitions, retention.
    assert len([line for line in lines if volatile.name in line]) == 2  # Flush, size.
    assert right.name not in str(caught.value)


async def test_a_check_names_what_is_missing_or_wrong_and_makes_nothing(
    server: KafkaServer,
) -> None:
    await asyncio.to_thread(server.start)
    made, never_made = _topic(), _topic()
    await _broker(server, made).ensure_topics()
    stricter = _topic(name=made.name, durable=True)

    looker = _broker(server, stricter, never_made)
    found, again = await looker.check_topics(), await looker.check_topics()

    assert found.missing == (never_made.name,)
    assert again == found
    assert len(found.problems) >= 1
    assert all(made.name in one for one in found.problems)


async def test_whoever_only_looks_restores_nothing_after_an_outage(
    server: KafkaServer, topic: Topic
) -> None:
    await asyncio.to_thread(server.start)
    looker = KafkaBroker(
        server.bootstrap_servers,
        lanes=1,
        slots=PARTITIONS,
        clock=SystemClock(),
        topics=[topic],
        looks_only=True,
    )

    await looker._restore_topics()

    assert (await looker.check_topics()).missing == (topic.name,)


async def test_services_may_create_the_topics_at_the_same_time(
    server: KafkaServer, topic: Topic
) -> None:
    await asyncio.to_thread(server.start)
    brokers = [_broker(server, topic) for _ in range(4)]

    await asyncio.gather(*[broker.ensure_topics() for broker in brokers])
