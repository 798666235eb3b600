"""A topic of somebody else as a destination: partitioned by key as Kafka's own producers do it.

A key stays in its partition and in order, as long as the topic keeps its number of partitions.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import BrokerUnavailable, EventInvalid, TopicsInvalid
from fileflux.core.failpoints import failpoint
from fileflux.events.ports import Broker, EventPublisher, UserTopics
from fileflux.events.topics import is_ours
from fileflux.webhooks.history import RECORDS_MAX
from fileflux.webhooks.routes.destination import (
    DestinationFailed,
    KafkaTopic,
    Outcome,
    RoutedMessage,
    one_line,
)

LOOK_AGAIN_S: Final = 30.0
"""A topic that was deleted, or given more partitions, is noticed after so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRoutes:
    """What destinations of this kind need. `create_partitions` 0: no topic is ever made."""

    broker: Broker
    topics: UserTopics
    clock: Clock
    create_partitions: int = 0


@asynccontextmanager
async def open_kafka_topic(
    target: KafkaTopic, tools: KafkaRoutes
) -> AsyncIterator["KafkaDestination"]:
    """Each has a publisher of its own: what one topic's broker refuses does not disturb others."""
    if is_ours(target.name):
        raise DestinationFailed(f"{target.name} is FileFlux's own: a route never writes there")
    publisher = await tools.broker.safe_publisher()
    try:
        yield KafkaDestination(target.name, publisher, tools)
    finally:
        await publisher.close()


class KafkaDestination:
    """The port `Destination`."""

    def __init__(self, topic: str, publisher: EventPublisher, tools: KafkaRoutes) -> None:
        self._topic = topic
        self._publisher = publisher
        self._tools = tools
        self._partitions = 0
        self._look_s = 0.0
        self._together = RECORDS_MAX

    async def send(self, messages: Sequence[RoutedMessage]) -> Outcome:
        try:
            count = await self._partition_count()
        except (BrokerUnavailable, TopicsInvalid, DestinationFailed) as error:
            return Outcome(tuple(messages), one_line(str(error)))
        by_partition: dict[int, list[RoutedMessage]] = defaultdict(list)
        for message in messages:
            by_partition[self._tools.topics.partition_of(message.key, count)].append(message)
        outcomes = await asyncio.gather(
            *(self._send_to(partition, run) for partition, run in by_partition.items())
        )
        left = [message for one in outcomes for message in one.left]
        if left:
            self._look_s = 0.0  # It may have been deleted.
        left.sort(key=lambda message: message.position)
        return Outcome(tuple(left), next((one.problem for one in outcomes if one.left), ""))

    async def _send_to(self, partition: int, run: Sequence[RoutedMessage]) -> Outcome:
        """Send in order, fewer at once where the topic takes less than FileFlux's own do."""
        at = 0
        while at < len(run):
            part = run[at : at + self._together]
            try:
                await self._publish(partition, part)
            except (BrokerUnavailable, EventInvalid) as error:
                if isinstance(error, EventInvalid) and len(part) > 1:
                    self._together = min(self._together, len(part) // 2)
                    continue
                problem = one_line(f"{self._topic}, partition {partition}: {error}")
                return Outcome(tuple(run[at:]), problem)
            at += len(part)
        failpoint("routes.after_partition")
        return Outcome()

    async def _publish(self, partition: int, part: Sequence[RoutedMessage]) -> None:
        records = [(one.key, one.body, _encoded(one.headers)) for one in part]
        await self._publisher.publish_all(self._topic, records, partition=partition)

    async def _partition_count(self) -> int:
        now_s = self._tools.clock.monotonic_s()
        if now_s >= self._look_s:
            self._partitions = await self._look()
            self._together = min(2 * self._together, RECORDS_MAX)  # It may take more by now.
            self._look_s = now_s + LOOK_AGAIN_S
        return self._partitions

    async def _look(self) -> int:
        topics, wanted = self._tools.topics, self._tools.create_partitions
        count = await topics.partition_count(self._topic)
        if count is None and wanted:
            await topics.create(self._topic, wanted)
            count = await topics.partition_count(self._topic)
        if count is None:
            advice = "it will be there in a moment" if wanted else "create it, or allow FileFlux to"
            raise DestinationFailed(
                f"the topic {self._topic} does not exist, or FileFlux may not see it: {advice}"
                f"{'' if wanted else ' (FILEFLUX_ROUTES_TOPIC_PARTITIONS)'}"
            )
        return count


def _encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in headers]
