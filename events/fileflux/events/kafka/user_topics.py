"""`ports.UserTopics` over Apache Kafka: a connection for each question; few are asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.partitioner import murmur2

from fileflux.core.errors import BrokerUnavailable, TopicsInvalid
from fileflux.events.kafka.connection import finish
from fileflux.events.topics import REPLICATION_FACTOR_MAX

QUESTION_TIMEOUT_S: Final = 10.0
_POSITIVE: Final = 0x7FFFFFFF


class KafkaUserTopics:
    """`options`: of every client."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    async def partition_count(self, topic: str) -> int | None:
        async with self._admin() as admin:
            if topic not in await admin.list_topics():  # Asking for it by name might create it.
                return None
            (found,) = await admin.describe_topics([topic])
            return len(found["partitions"]) or None

    async def create(self, topic: str, partitions: int) -> None:
        async with self._admin() as admin:
            brokers = len((await admin.describe_cluster())["brokers"])
            copies = min(brokers, REPLICATION_FACTOR_MAX)
            # What is acknowledged must outlive a broker, where there are enough.
            settings = {"min.insync.replicas": "2"} if copies >= REPLICATION_FACTOR_MAX else {}
            answer = await admin.create_topics(
                [NewTopic(topic, partitions, copies, None, settings)],
                timeout_ms=int(QUESTION_TIMEOUT_S * 1_000),
            )
        for name, code, message in answer.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise TopicsInvalid(
                    f"the topic {name} cannot be created: {message or for_code(code).__name__}"
                )

    def partition_of(self, key: bytes, partitions: int) -> int:
        """As Kafka's own producers choose it."""
        return int(murmur2(key) & _POSITIVE) % partitions

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self._options)
        try:
            async with asyncio.timeout(QUESTION_TIMEOUT_S):
                await admin.start()
                yield admin
        except (KafkaError, TimeoutError) as error:
            raise BrokerUnavailable(f"the broker did not answer: {error!r}") from error
        finally:
            await finish(admin.close())
