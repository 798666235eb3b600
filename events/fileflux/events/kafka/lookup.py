"""Questions about a partition that do not move the reading: its bounds, one record.

A client of its own, made at the first question and again after an error.
"""

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from fileflux.core.errors import BrokerUnavailable
from fileflux.events.kafka.connection import finish
from fileflux.events.ports import Position, Record

LOOKUP_TIMEOUT_S: Final = 5.0


class KafkaLookup:
    """Each method raises BrokerUnavailable after the deadline. One question at a time."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._consumer: AIOKafkaConsumer | None = None
        self._one_at_a_time = asyncio.Lock()

    async def bounds(self, place: TopicPartition) -> tuple[int, int]:
        """Return (first offset, offset after the last record)."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                    return await self._bounds(place)
            except (TimeoutError, KafkaError) as error:
                raise await self._given_up(error) from error

    async def read_one(self, place: TopicPartition, offset: int) -> Record | None:
        """Return the record at `offset`, or None."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                    return await self._read_one(place, offset)
            except (TimeoutError, KafkaError) as error:
                raise await self._given_up(error) from error

    async def read_run(self, place: TopicPartition, offset: int, count: int) -> list[Record]:
        """Return the records from `offset` on that one answer of the broker holds."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                    return await self._read_run(place, offset, count)
            except (TimeoutError, KafkaError) as error:
                raise await self._given_up(error) from error

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await finish(consumer.stop())

    async def _given_up(self, error: BaseException) -> BrokerUnavailable:
        await self.close()
        return BrokerUnavailable(f"the broker did not answer: {error!r}")

    async def _ready(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                group_id=None,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                fetch_max_wait_ms=100,
                **self._options,
            )
            self._consumer = consumer
            await consumer.start()
        return self._consumer

    async def _bounds(self, place: TopicPartition) -> tuple[int, int]:
        consumer = await self._ready()
        first = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        return int(first), int(end)

    async def _read_one(self, place: TopicPartition, offset: int) -> Record | None:
        run = await self._read_run(place, offset, 1)
        return run[0] if run and run[0].position.offset == offset else None

    async def _read_run(self, place: TopicPartition, offset: int, count: int) -> list[Record]:
        first, end = await self._bounds(place)
        if not first <= offset < end:
            return []
        consumer = await self._ready()
        consumer.assign([place])
        consumer.seek(place, offset)
        try:
            messages: list[Any] = []
            while not messages:
                found = await consumer.getmany(place, timeout_ms=1_000, max_records=count)
                messages = found.get(place, [])
        finally:
            consumer.unsubscribe()
        return [to_record(message) for message in messages]


class KafkaTopicLookup:
    """A `TopicLookup`."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._lookup = KafkaLookup(options)

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return await self._lookup.bounds(TopicPartition(topic, partition))

    async def read_one(self, topic: str, partition: int, offset: int) -> Record | None:
        return await self._lookup.read_one(TopicPartition(topic, partition), offset)

    async def read_run(self, topic: str, partition: int, offset: int, count: int) -> list[Record]:
        return await self._lookup.read_run(TopicPartition(topic, partition), offset, count)

    async def close(self) -> None:
        await self._lookup.close()


def to_record(message: Any) -> Record:
    """Return aiokafka's record as ours; its times are milliseconds, its headers may be null."""
    position = Position(message.topic, message.partition, message.offset)
    headers = tuple((name, value or b"") for name, value in message.headers)
    return Record(position, message.key, message.value or b"", headers, message.timestamp * 1_000)
