"""`ports.Broker` over Apache Kafka."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.settings import CommonSettings
from fileflux.core.tracing import tracer
from fileflux.events.kafka.connection import KafkaSecurity, client_options, security_of
from fileflux.events.kafka.lookup import KafkaTopicLookup
from fileflux.events.kafka.publisher import KafkaPublisher
from fileflux.events.kafka.source import KafkaSource
from fileflux.events.kafka.topic_admin import (
    check_topics,
    drop_records,
    ensure_topics,
    restore_topics,
)
from fileflux.events.kafka.user_topics import KafkaUserTopics
from fileflux.events.ports import EventPublisher, EventSource, TopicLookup, TopicsFound
from fileflux.events.topics import Topic, all_topics
from fileflux.events.traced_publisher import TracedPublisher

FAST_DEADLINE_S: Final = 3.0
SAFE_DEADLINE_S: Final = 10.0


def open_kafka(
    settings: CommonSettings, clock: Clock | None = None, *, looks_only: bool = False
) -> "KafkaBroker":
    """Return the broker that the environment names. Nothing is connected yet."""
    return KafkaBroker(
        settings.kafka_bootstrap_servers,
        lanes=settings.lanes,
        slots=settings.slots,
        security=security_of(settings),
        clock=clock or SystemClock(),
        looks_only=looks_only,
    )


class KafkaBroker:
    """Makes publishers and sources; `close()` closes all that are open."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        lanes: int,
        slots: int,
        security: KafkaSecurity | None = None,
        clock: Clock,
        topics: Sequence[Topic] | None = None,
        looks_only: bool = False,
    ) -> None:
        """`topics`: what `ensure_topics` makes; None: the registry's.

        `looks_only`: sources never create what is missing, as those of a service do.
        """
        self._looks_only = looks_only
        self._topics = all_topics() if topics is None else topics
        self._options = client_options(bootstrap_servers, security)
        self._lanes = lanes
        self._slots = slots
        self._clock = clock
        self._made: list[KafkaPublisher | KafkaSource | KafkaTopicLookup] = []

    async def fast_publisher(self) -> EventPublisher:
        """acks=1, no idempotence: ours are never the only copy, and whoever waits sends again."""
        return await self._publisher({"acks": 1}, FAST_DEADLINE_S)

    async def safe_publisher(self) -> EventPublisher:
        """acks=all, idempotent."""
        return await self._publisher({"acks": "all", "enable_idempotence": True}, SAFE_DEADLINE_S)

    async def source(self, partitions: Sequence[tuple[str, int]]) -> EventSource:
        source = KafkaSource(
            self._options, partitions, clock=self._clock, restore_topics=self._restore_topics
        )
        # Event streams open one again and again, for as long as the worker lives.
        self._made = [one for one in self._made if not _is_closed(one)]
        self._made.append(source)
        await _opened(source, source.start)
        return source

    async def lookup(self) -> TopicLookup:
        """Connect at the first question."""
        made = KafkaTopicLookup(self._options)
        self._made.append(made)
        return made

    def user_topics(self) -> KafkaUserTopics:
        return KafkaUserTopics(self._options)

    async def ensure_topics(self) -> None:
        await ensure_topics(
            self._options, topics=self._topics, lanes=self._lanes, slots=self._slots
        )

    async def check_topics(self) -> TopicsFound:
        return await check_topics(
            self._options, topics=self._topics, lanes=self._lanes, slots=self._slots
        )

    async def _restore_topics(self) -> None:
        if self._looks_only:
            return
        await restore_topics(
            self._options, topics=self._topics, lanes=self._lanes, slots=self._slots
        )

    async def drop_records(self, topic: str, partition: int, before_offset: int) -> None:
        await drop_records(self._options, topic, partition, before_offset)

    async def close(self) -> None:
        made, self._made = self._made, []
        for one in made:
            await one.close()

    async def _publisher(self, options: dict[str, Any], deadline_s: float) -> EventPublisher:
        publisher = KafkaPublisher(
            {**self._options, **options}, deadline_s=deadline_s, clock=self._clock
        )
        self._made = [one for one in self._made if not _is_closed(one)]
        self._made.append(publisher)
        await _opened(publisher, publisher.connect)
        return TracedPublisher(publisher, tracer()) if tracer().is_on else publisher


async def _opened(
    one: KafkaPublisher | KafkaSource, open_it: Callable[[], Awaitable[None]]
) -> None:
    """Whoever fails to get one tries again with another: this one is put away."""
    try:
        await open_it()
    except BaseException:
        await one.close()
        raise


def _is_closed(one: KafkaPublisher | KafkaSource | KafkaTopicLookup) -> bool:
    return not isinstance(one, KafkaTopicLookup) and one.is_closed
