"""The chart's users on a real broker with SCRAM and the authorizer: enough for each, not more.

Strimzi's User Operator turns a KafkaUser's rules into Kafka's own; here this test does.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from confluent_kafka import admin as confluent_admin
from pydantic import SecretStr
from tests.deploy.delivery.test_kafka_chart import ACLS, of_kind

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.console.loopback_ports import LOOPBACK, free_tcp_ports
from fileflux.core.errors import BrokerUnavailable, TopicsInvalid
from fileflux.core.settings import CommonSettings
from fileflux.events.kafka import KafkaBroker, open_kafka
from fileflux.events.kafka.connection import client_options, security_of
from fileflux.events.topics import (
    AUDIT,
    NODES_HEARTBEATS,
    PLACEMENT_MAP,
    UPLOADS_SEALED,
)
from fileflux.placement.settings import PlacementSettings

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.deploy]
PASSWORD: Final = "of-one-test"
ADMIN: Final[Any] = confluent_admin
"""Its module exports by name what mypy does not see."""
LISTENERS: Final = """
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller},SASL_PLAINTEXT://{host}:{secure}
advertised.listeners=PLAINTEXT://{host}:{port},SASL_PLAINTEXT://{host}:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
"""Nobody by name is the test itself: who comes by the other listener has a name."""


class GuardedKafka(KafkaServer):
    """The usual broker, with a listener that asks who comes and an authorizer behind it."""

    secure_port: int

    def _write_settings(self) -> None:
        super()._write_settings()
        text = LISTENERS.format(
            host=LOOPBACK,
            port=self.port,
            controller=self._controller_port,
            secure=self.secure_port,
        )
        with self._settings_path.open("a") as settings:
            settings.write(text)

    def _java(self, main: str, *arguments: str, classpath: Any) -> list[str]:
        """Formatting takes the users' passwords along, as the first broker of a cluster does."""
        if main == "kafka.tools.StorageTool":
            for user in users():
                scram = f"SCRAM-SHA-512=[name={user['metadata']['name']},password={PASSWORD}]"
                arguments = (*arguments, "--add-scram", scram)
        return super()._java(main, *arguments, classpath=classpath)


def users() -> list[dict[str, Any]]:
    return of_kind("KafkaUser")


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[GuardedKafka]:
    made = GuardedKafka(server_dir / "kafka-guarded", cache_dir=cache_dir)
    (made.secure_port,) = free_tcp_ports(1)
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    admin = ADMIN.AdminClient({"bootstrap.servers": made.bootstrap_servers})
    for done in admin.create_acls([one for user in users() for one in bindings(user)]).values():
        done.result(timeout=30)
    yield made
    made.stop()


def bindings(user: dict[str, Any]) -> Iterator[Any]:
    """Yield Kafka's rules for a KafkaUser."""
    patterns = {
        "prefix": ADMIN.ResourcePatternType.PREFIXED,
        "literal": ADMIN.ResourcePatternType.LITERAL,
    }
    for rule in user["spec"]["authorization"]["acls"]:
        resource = rule["resource"]
        for operation in rule["operations"]:
            yield ADMIN.AclBinding(
                ADMIN.ResourceType[resource["type"].upper()],
                resource["name"],
                patterns[resource["patternType"]],
                f"User:{user['metadata']['name']}",
                "*",
                ADMIN.AclOperation[_kafkas_name(operation)],
                ADMIN.AclPermissionType.ALLOW,
            )


def _kafkas_name(operation: str) -> str:
    return {"DescribeConfigs": "DESCRIBE_CONFIGS"}.get(operation, operation.upper())


def settings_of(server: GuardedKafka, component: str) -> CommonSettings:
    return CommonSettings(
        kafka_bootstrap_servers=f"{LOOPBACK}:{server.secure_port}",
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username=f"fileflux-{component}",
        kafka_sasl_password=SecretStr(PASSWORD),
    )


@asynccontextmanager
async def broker_as(server: GuardedKafka, component: str) -> AsyncIterator[KafkaBroker]:
    broker = open_kafka(settings_of(server, component))
    try:
        yield broker
    finally:
        await broker.close()


@pytest.fixture(scope="module", autouse=True)
def topics(server: GuardedKafka) -> None:
    """The first service that starts makes them: here the one with the fewest rights."""

    async def make() -> None:
        async with broker_as(server, "archiver") as broker:
            await broker.ensure_topics()

    asyncio.run(make())


@pytest.mark.parametrize("component", [name for name, may in ACLS.items() if may["makes"]])
async def test_a_service_finds_its_topics_well_and_may_do_its_work(
    server: GuardedKafka, component: str
) -> None:
    """Checks at the start, the ends of what it reads, a record to each topic that it writes."""
    may = ACLS[component]
    async with broker_as(server, component) as broker:
        await broker.ensure_topics()
        for topic in may.get("writes", ()):
            for publisher in (await broker.fast_publisher(), await broker.safe_publisher()):
                await publisher.publish(topic, b"a record of a test", partition=0, key=b"a key")
        for topic in may.get("reads", ()):
            lookup = await broker.lookup()
            first, end = await lookup.bounds(topic, 0)
            assert first <= end
            source = await broker.source([(topic, 0)])
            await source.seek_to_end(topic, 0)
        for topic in may.get("deletes", ()):
            await broker.drop_records(topic, 0, 1)


async def test_placement_may_join_its_group_and_commit(server: GuardedKafka) -> None:
    group = PlacementSettings.model_fields["group"].default
    settings = settings_of(server, "placement")
    options = client_options(settings.kafka_bootstrap_servers, security_of(settings))
    consumer = AIOKafkaConsumer(NODES_HEARTBEATS, group_id=group, **options)
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            while not consumer.assignment():
                await consumer.getmany(timeout_ms=100)
        await consumer.commit()
    finally:
        await consumer.stop()


async def test_the_operators_user_looks_at_everything(server: GuardedKafka) -> None:
    async with broker_as(server, "console") as broker:
        found = await broker.check_topics()
        assert (found.missing, found.problems) == ((), ())
        for topic in ACLS["console"]["reads"]:
            await (await broker.lookup()).bounds(topic, 0)


async def publish_safely(broker: KafkaBroker, topic: str) -> None:
    publisher = await broker.safe_publisher()
    await publisher.publish(topic, b"forged", partition=0)


async def first_records(consumer: AIOKafkaConsumer) -> None:
    async with asyncio.timeout(30):
        while not await consumer.getmany(timeout_ms=500):
            pass


@pytest.mark.parametrize(
    ("component", "topic"),
    [
        ("console", AUDIT),
        ("ingest", AUDIT),
        ("webhooks", AUDIT),
        ("storage-node", PLACEMENT_MAP),
        ("materializer", UPLOADS_SEALED),
    ],
)
async def test_a_service_cannot_write_what_is_not_its_to_write(
    server: GuardedKafka, component: str, topic: str
) -> None:
    async with broker_as(server, component) as broker:
        with pytest.raises(BrokerUnavailable):
            await publish_safely(broker, topic)


@pytest.mark.parametrize(
    ("component", "topic"), [("storage-node", AUDIT), ("webhooks", UPLOADS_SEALED)]
)
async def test_a_service_cannot_read_what_is_not_its_to_read(
    server: GuardedKafka, component: str, topic: str
) -> None:
    settings = settings_of(server, component)
    options = client_options(settings.kafka_bootstrap_servers, security_of(settings))
    consumer = AIOKafkaConsumer(**options)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 0)
        with pytest.raises(TopicAuthorizationFailedError):
            await first_records(consumer)
    finally:
        await consumer.stop()


async def test_only_the_sequencer_removes_records_of_the_audit_stream(
    server: GuardedKafka,
) -> None:
    async with broker_as(server, "archiver") as broker:
        with pytest.raises(BrokerUnavailable):
            await broker.drop_records(AUDIT, 0, 1)


async def test_nobody_makes_a_topic_that_is_not_fileflux(server: GuardedKafka) -> None:
    async with broker_as(server, "webhooks") as broker:
        with pytest.raises(TopicsInvalid, match="uthoriz"):
            await broker.user_topics().create("somebody.elses", 1)


async def test_a_wrong_password_lets_nobody_in(server: GuardedKafka) -> None:
    settings = settings_of(server, "ingest").model_copy(
        update={"kafka_sasl_password": SecretStr("another")}
    )
    broker = open_kafka(settings)
    with pytest.raises(BrokerUnavailable):
        await broker.fast_publisher()
    await broker.close()
