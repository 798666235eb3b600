"""One suite for every destination of a route: what the worker relies on (`destination.py`)."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from aiobotocore.session import get_session
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner
from moto.server import ThreadedMotoServer
from tests.model.route_rows import message

from fileflux.core.clock import SystemClock
from fileflux.events.kafka import KafkaBroker
from fileflux.events.memory import MemoryBroker
from fileflux.webhooks.routes.destination import (
    Destination,
    KafkaTopic,
    RoutedMessage,
    SnsTopic,
    SqsQueue,
    Target,
)
from fileflux.webhooks.routes.kafka_destination import KafkaRoutes
from fileflux.webhooks.routes.memory_destination import MemoryDestination
from fileflux.webhooks.routes.opening import Opener

PARTITIONS = 3
REGION = "us-east-1"
ACCOUNT = "123456789012"
KINDS = ["memory", "kafka-memory", "kafka", "sqs", "sqs-fifo", "sns", "sns-fifo"]
KEPT_IN_ORDER = ("memory", "kafka-memory", "kafka", "sqs-fifo", "sns-fifo")


@dataclass
class Case:
    """A destination, and how to see what arrived: (event id, key) in the order of each key."""

    kind: str
    destination: Destination
    missing: Destination
    arrived: Callable[[int], Awaitable[list[tuple[str, str]]]]


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """Somebody else's SQS and SNS."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=KINDS)
async def case(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Case]:
    kind = request.param
    async with AsyncExitStack() as stack:
        if kind == "memory":
            yield memory_case()
        elif kind.startswith("kafka"):
            servers = "" if kind == "kafka-memory" else request.getfixturevalue("kafka_bootstrap")
            yield await kafka_case(kind, servers, stack)
        else:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.setenv(name, "test")
            yield await aws_case(kind, request.getfixturevalue("moto_url"), stack)


def memory_case() -> Case:
    there, missing = MemoryDestination(), MemoryDestination()
    missing.judge = lambda one: "it is not there"

    async def arrived(count: int) -> list[tuple[str, str]]:
        return [(one.event_id, one.key.decode()) for one in there.taken]

    return Case("memory", there, missing, arrived)


async def kafka_case(kind: str, servers: str, stack: AsyncExitStack) -> Case:
    clock = SystemClock()
    broker: KafkaBroker | MemoryBroker = (
        KafkaBroker(servers, lanes=1, slots=1, clock=clock)
        if servers
        else MemoryBroker(clock=clock)
    )
    stack.push_async_callback(broker.close)
    topic = f"routed.{uuid.uuid4().hex}"
    await broker.user_topics().create(topic, PARTITIONS)
    tools = KafkaRoutes(broker=broker, topics=broker.user_topics(), clock=clock)

    async def opened(name: str) -> Destination:
        return await stack.enter_async_context(Opener(kafka=tools)(KafkaTopic(name)))

    async def arrived(count: int) -> list[tuple[str, str]]:
        source = await broker.source([(topic, n) for n in range(PARTITIONS)])
        found: list[tuple[str, str]] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                for one in await source.fetch():
                    headers = dict(one.headers)
                    found.append((headers["ce_id"].decode(), (one.key or b"").decode()))
        await source.close()
        return found

    return Case(kind, await opened(topic), await opened(f"{topic}.missing"), arrived)


async def aws_case(kind: str, url: str, stack: AsyncExitStack) -> Case:
    """What is sent to SNS is seen in a queue that has subscribed to the topic."""
    sqs, sns = [
        await stack.enter_async_context(
            session().create_client(name, endpoint_url=url, region_name=REGION)
        )
        for name in ("sqs", "sns")
    ]
    fifo = {"FifoQueue": "true"} if kind.endswith("fifo") else {}
    name = uuid.uuid4().hex + (".fifo" if fifo else "")
    queue = (await sqs.create_queue(QueueName=name, Attributes=fifo))["QueueUrl"]
    target: Target = SqsQueue(queue, REGION)
    missing: Target = SqsQueue(f"{url}/{ACCOUNT}/missing-{name}", REGION)
    if kind.startswith("sns"):
        target = SnsTopic(await subscribed_topic(sqs, sns, queue, name), REGION)
        missing = SnsTopic(f"arn:aws:sns:{REGION}:{ACCOUNT}:missing-{name}", REGION)
    opener = Opener(kafka=None, aws_endpoint=url)  # type: ignore[arg-type]  # Not asked for Kafka.
    there = await stack.enter_async_context(opener(target))
    lost = await stack.enter_async_context(opener(missing))

    async def arrived(count: int) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                found += await received(sqs, queue)
        return found

    return Case(kind, there, lost, arrived)


@cache
def session() -> Any:
    """One for all: it reads the descriptions of the services once."""
    return get_session()


async def subscribed_topic(sqs: Any, sns: Any, queue: str, name: str) -> str:
    attributes = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
    arn = str((await sns.create_topic(Name=name, Attributes=attributes))["TopicArn"])
    asked = await sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    await sns.subscribe(
        TopicArn=arn,
        Protocol="sqs",
        Endpoint=asked["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )
    return arn


async def received(sqs: Any, queue: str) -> list[tuple[str, str]]:
    answer = await sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=1
    )
    found = []
    for one in answer.get("Messages", ()):
        await sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
        data = json.loads(one["Body"])["data"]
        event_id = one["MessageAttributes"]["fileflux-event-id"]["StringValue"]
        found.append((event_id, f"{data['bucket']}/{data['key']}"))
    return found


def messages_for(kind: str, count: int) -> list[RoutedMessage]:
    form = "cloudevents-structured" if kind.startswith("s") else "cloudevents"
    return [message(n, f"fotos/ä {n % 4}".encode(), format=form) for n in range(1, count + 1)]


async def test_all_that_is_acknowledged_is_there_and_each_key_in_order(case: Case) -> None:
    sent = messages_for(case.kind, 34)
    outcome = await case.destination.send(sent)
    assert outcome.left == ()
    assert outcome.problem == ""
    found = await case.arrived(len(sent))
    wanted = [(one.event_id, one.key.decode()) for one in sent]
    assert sorted(found) == sorted(wanted)
    if case.kind in KEPT_IN_ORDER:
        for key in {key for _, key in wanted}:
            assert [e for e, k in found if k == key] == [e for e, k in wanted if k == key]


async def test_a_destination_that_is_not_there_leaves_everything_and_says_so(case: Case) -> None:
    sent = messages_for(case.kind, 3)
    outcome = await case.missing.send(sent)
    assert list(outcome.left) == sent
    assert len(outcome.problem) > 10


@pytest.mark.parametrize("case", ["sqs-fifo", "sns-fifo"], indirect=True)
async def test_a_fifo_queue_takes_an_event_once_and_a_replay_of_it_again(case: Case) -> None:
    (sent,) = messages_for(case.kind, 1)
    again = replace(sent, send_id=f"{sent.send_id}-07")
    for one in (sent, sent, again):
        assert (await case.destination.send([one])).left == ()
    found = await case.arrived(2)
    assert [event_id for event_id, _ in found] == [sent.event_id] * 2


@pytest.mark.parametrize("kind", ["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def test_a_topic_is_made_where_that_is_allowed_and_takes_the_keys_as_kafkas_producers_do(
    kind: str, request: pytest.FixtureRequest
) -> None:
    clock = SystemClock()
    broker: KafkaBroker | MemoryBroker = MemoryBroker(clock=clock)
    if kind == "kafka":
        servers = request.getfixturevalue("kafka_bootstrap")
        broker = KafkaBroker(servers, lanes=1, slots=1, clock=clock)
    topics, name = broker.user_topics(), f"routed.{uuid.uuid4().hex}"
    assert await topics.partition_count(name) is None
    tools = KafkaRoutes(broker=broker, topics=topics, clock=clock, create_partitions=5)
    async with Opener(kafka=tools)(KafkaTopic(name)) as destination:
        assert (await destination.send([message(1)])).left == ()
    assert await topics.partition_count(name) == 5
    await topics.create(name, 7)
    assert await topics.partition_count(name) == 5, "what is there stays"
    keys: Sequence[bytes] = [b"photos/%d" % n for n in range(100)]
    places = [topics.partition_of(key, 5) for key in keys]
    assert set(places) == set(range(5))
    if kind == "kafka":
        theirs = DefaultPartitioner()
        assert places == [theirs(key, list(range(5)), []) for key in keys]
    await broker.close()


@pytest.mark.kafka
async def test_a_topic_that_takes_little_at_once_gets_everything_up_to_what_it_never_takes(
    kafka_bootstrap: str,
) -> None:
    """Its `max.message.bytes` is about a batch; sending what stands before again helps nobody."""
    broker = KafkaBroker(kafka_bootstrap, lanes=1, slots=1, clock=SystemClock())
    topic = f"routed.{uuid.uuid4().hex}"
    async with admin_of(kafka_bootstrap) as admin:
        limit = {"max.message.bytes": "3000"}
        await admin.create_topics([NewTopic(topic, 1, 1, None, limit)])
    sent = [message(n, b"k%d" % (n % 4)) for n in range(1, 31)]
    sent[20] = message(21, b"k" * 4_000)
    tools = KafkaRoutes(broker=broker, topics=broker.user_topics(), clock=SystemClock())
    async with Opener(kafka=tools)(KafkaTopic(topic)) as destination:
        outcome = await destination.send(sent)
        assert "MessageSizeTooLarge" in outcome.problem
        assert list(outcome.left) == sent[20:]
        assert (await destination.send(sent[21:])).left == ()
    source = await broker.source([(topic, 0)])
    found: list[bytes] = []
    async with asyncio.timeout(20):
        while len(found) < 29:
            found += [dict(one.headers)["ce_id"] for one in await source.fetch()]
    assert found == [one.event_id.encode() for one in sent if one is not sent[20]]
    await broker.close()


@asynccontextmanager
async def admin_of(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    yield admin
    await admin.close()
