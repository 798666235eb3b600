"""One suite for every broker: what publishers, sources and topics promise (`events/ports.py`)."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from fileflux.core.clock import SystemClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.events.kafka import KafkaBroker
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import Broker, EventPublisher, EventSource, Record
from fileflux.events.topics import Topic

SLOTS = 3
PublisherMaker = Callable[[Broker], Awaitable[EventPublisher]]


def _topic() -> Topic:
    return Topic(
        name=f"test-{uuid.uuid4().hex}",
        partitioned_by="slots",
        key="none",
        writers=(),
        readers=(),
        holds="",
        durable=True,
    )


@pytest.fixture
def topic() -> Topic:
    return _topic()


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def broker(request: pytest.FixtureRequest, topic: Topic) -> AsyncIterator[Broker]:
    made: MemoryBroker | KafkaBroker
    if request.param == "memory":
        made = MemoryBroker(clock=SystemClock(), slots=SLOTS, topics=[topic])
    else:
        servers = request.getfixturevalue("kafka_bootstrap")
        made = KafkaBroker(servers, lanes=1, slots=SLOTS, clock=SystemClock(), topics=[topic])
    await made.ensure_topics()
    yield made
    await made.close()


@pytest.fixture(params=["fast", "safe"])
async def publisher(
    request: pytest.FixtureRequest, broker: Broker
) -> AsyncIterator[EventPublisher]:
    made = await (broker.fast_publisher() if request.param == "fast" else broker.safe_publisher())
    yield made
    await made.close()


async def read(source: EventSource, count: int) -> list[Record]:
    """Return that many records, or fail after ten seconds."""
    records: list[Record] = []
    async with asyncio.timeout(10):
        while len(records) < count:
            records += await source.fetch(max_records=count - len(records))
    return records


async def test_a_record_comes_back_with_key_headers_and_place(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    headers = (("one", b"1"), ("two", b"\xff\x00"))
    position = await publisher.publish(
        topic.name, b"value", partition=2, key=b"key", headers=headers
    )
    source = await broker.source([(topic.name, 2)])

    (record,) = await read(source, 1)

    assert (record.position, record.key, record.value) == (position, b"key", b"value")
    assert record.headers == headers
    assert abs(record.timestamp_us - SystemClock().now_us()) < 60_000_000


async def test_records_of_a_partition_keep_their_order(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    for number in range(50):
        await publisher.publish(topic.name, b"%d" % number, partition=0)
    source = await broker.source([(topic.name, 0)])

    records = await read(source, 50)

    assert [record.value for record in records] == [b"%d" % n for n in range(50)]
    assert [record.position.offset for record in records] == list(range(50))


async def test_a_source_reads_its_partitions_and_no_other(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    for partition in range(SLOTS):
        await publisher.publish(topic.name, b"%d" % partition, partition=partition)
    source = await broker.source([(topic.name, 0), (topic.name, 2)])

    records = await read(source, 2)

    assert {record.value for record in records} == {b"0", b"2"}
    assert await source.fetch(wait_s=0.3) == []


async def test_a_lookup_finds_any_record_of_any_partition(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    for partition in (0, 2):
        await publisher.publish(topic.name, b"in %d" % partition, partition=partition)
    lookup = await broker.lookup()

    found = [await lookup.read_one(topic.name, partition, 0) for partition in (0, 2)]

    assert [record.value for record in found if record is not None] == [b"in 0", b"in 2"]
    assert await lookup.bounds(topic.name, 2) == (0, 1)
    assert await lookup.bounds(topic.name, 1) == (0, 0)
    assert await lookup.read_one(topic.name, 2, 1) is None
    await lookup.close()


async def test_a_run_of_records_is_there_in_order(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    """Larger than one batch: batches follow each other."""
    run = [(b"k%d" % n, b"%d" % n * 40_000, [("n", b"%d" % n)]) for n in range(100)]
    last = await publisher.publish_all(topic.name, run, partition=1)
    source = await broker.source([(topic.name, 1)])

    records = await read(source, 100)

    assert last == records[-1].position
    assert [(r.key, r.value, list(r.headers)) for r in records] == run


async def test_a_waiting_fetch_gets_what_comes(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    source = await broker.source([(topic.name, 0)])
    waiting = asyncio.create_task(source.fetch(wait_s=10))
    await publisher.publish(topic.name, b"late", partition=0)

    async with asyncio.timeout(9):
        (record,) = await waiting

    assert record.value == b"late"


async def test_a_fetch_of_nothing_ends_in_time(broker: Broker, topic: Topic) -> None:
    source = await broker.source([(topic.name, 0)])

    async with asyncio.timeout(5):
        assert await source.fetch(wait_s=0.05) == []


async def test_a_fetch_returns_no_more_than_was_asked_for(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    await publisher.publish_all(topic.name, [(None, b"%d" % n, []) for n in range(9)], partition=0)
    source = await broker.source([(topic.name, 0)])
    await read(source, 1)

    assert len(await source.fetch(max_records=3)) <= 3
    assert [r.position.offset for r in await _rest(source)][-1] == 8


async def _rest(source: EventSource) -> list[Record]:
    records: list[Record] = []
    while batch := await source.fetch(wait_s=0.5):
        records += batch
    return records


async def test_seeking_reads_from_there_on(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    await publisher.publish_all(topic.name, [(None, b"%d" % n, []) for n in range(6)], partition=0)
    source = await broker.source([(topic.name, 0)])
    await read(source, 2)

    await source.seek(topic.name, 0, 4)
    forward = await read(source, 2)
    await source.seek(topic.name, 0, None)
    again = await read(source, 6)

    assert [record.position.offset for record in forward] == [4, 5]
    assert [record.position.offset for record in again] == [0, 1, 2, 3, 4, 5]


async def test_an_offset_past_the_end_reads_from_the_first_record(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    """The broker lost its tail, or all: skipping what is there now would lose it for ever."""
    await publisher.publish(topic.name, b"first", partition=0)
    source = await broker.source([(topic.name, 0)])
    await source.seek(topic.name, 0, 1_000)

    (record,) = await read(source, 1)

    assert record.value == b"first"


async def test_the_end_is_where_the_next_record_comes(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    await publisher.publish(topic.name, b"old", partition=0)
    source = await broker.source([(topic.name, 0)])
    end = await source.seek_to_end(topic.name, 0)
    position = await publisher.publish(topic.name, b"new", partition=0)

    (record,) = await read(source, 1)

    assert (record.value, record.position) == (b"new", position)
    assert position.offset == end
    assert await source.bounds(topic.name, 0) == (0, 2)


async def test_one_record_is_looked_up_without_moving_the_reading(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    await publisher.publish_all(topic.name, [(None, b"%d" % n, []) for n in range(4)], partition=0)
    source = await broker.source([(topic.name, 0)])
    await read(source, 1)

    found = await source.read_one(topic.name, 0, 3)
    beyond = await source.read_one(topic.name, 0, 4)
    run = await source.read_run(topic.name, 0, 1, 2)
    nothing = await source.read_run(topic.name, 0, 4, 2)

    assert found is not None
    assert (found.value, beyond) == (b"3", None)
    assert ([record.value for record in run], nothing) == ([b"1", b"2"], [])
    assert [record.value for record in await read(source, 3)] == [b"1", b"2", b"3"]


async def test_many_publish_at_once(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    async with asyncio.TaskGroup() as tasks:
        sends = [
            tasks.create_task(publisher.publish(topic.name, b"%d" % n, partition=n % SLOTS))
            for n in range(200)
        ]
    source = await broker.source([(topic.name, partition) for partition in range(SLOTS)])

    records = await read(source, 200)

    assert {r.position: r.value for r in records} == {
        send.result(): b"%d" % n for n, send in enumerate(sends)
    }


async def test_what_is_closed_publishes_and_reads_no_more(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    source = await broker.source([(topic.name, 0)])
    for one in (publisher, source):
        await one.close()
        await one.close()

    with pytest.raises(BrokerUnavailable):
        await publisher.publish(topic.name, b"", partition=0)
    assert await source.fetch(wait_s=0) == []


async def test_ensuring_topics_twice_changes_nothing(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    await publisher.publish(topic.name, b"stays", partition=0)
    await broker.ensure_topics()
    source = await broker.source([(topic.name, 0)])

    assert [record.value for record in await read(source, 1)] == [b"stays"]


async def test_dropped_records_are_gone_and_the_rest_keeps_its_place(
    broker: Broker, publisher: EventPublisher, topic: Topic
) -> None:
    for number in range(5):
        await publisher.publish(topic.name, b"%d" % number, partition=1)
    source = await broker.source([(topic.name, 1)])
    await broker.drop_records(topic.name, 1, 3)

    assert await source.bounds(topic.name, 1) == (3, 5)
    await source.seek(topic.name, 1, None)
    left = await read(source, 2)
    assert [(r.position.offset, r.value) for r in left] == [(3, b"3"), (4, b"4")]
    await broker.drop_records(topic.name, 1, 5)
    assert await source.bounds(topic.name, 1) == (5, 5)
    position = await publisher.publish(topic.name, b"next", partition=1)
    assert position.offset == 5
