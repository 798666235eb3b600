"""Reads chosen partitions, and goes on reading whatever happens to the broker.

aiokafka's consumer has no public health and may stay silent after a broker came back. So a guard
compares what is there with what came, and a silent consumer is replaced by a new one at the same
positions. After an outage the last record that was read is looked up again: if it is another one,
or gone, the topic was wiped and is read from its first record.

Records are drained at once into our own bounded queue: while aiokafka holds undrained records of
one partition, it asks the broker for no other. A full queue stops the draining, and so the fetches.
"""

import asyncio
import zlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from fileflux.core.clock import Clock
from fileflux.core.errors import BrokerUnavailable
from fileflux.core.model import MIB
from fileflux.core.telemetry import BROKER_RECONNECTS, CONSUMER_LAG, EVENTS, get_logger
from fileflux.events.kafka.connection import finish
from fileflux.events.kafka.lookup import KafkaLookup, to_record
from fileflux.events.ports import Record

log = get_logger(__name__)

FETCH_WAIT_MS: Final = 100
QUEUE_RECORDS_MAX: Final = 4_096
QUEUE_BYTES_MAX: Final = 64 * MIB
GUARD_INTERVAL_S: Final = 1.0
"""A source that is idle for this long looks whether it should be."""
GUARD_TIMEOUT_S: Final = 4.0
UNSURE_AFTER_S: Final = 2.0
"""Less than a broker needs to start. Whoever was not heard for so long may have been wiped."""
BEHIND_CHECKS_MAX: Final = 2
CONNECT_TIMEOUT_S: Final = 10.0
RECONNECT_INTERVAL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last record that came of a partition."""

    offset: int
    timestamp_us: int
    crc: int


class _Silent(Exception):
    """The consumer gives nothing, although there is something or nobody can tell."""


class KafkaSource:
    """An `EventSource` over `partitions`; `options` are the clients' common settings.

    `restore_topics` creates what is missing after an outage: nobody restarts a service because its
    broker came back empty.
    """

    def __init__(
        self,
        options: dict[str, Any],
        partitions: Sequence[tuple[str, int]],
        *,
        clock: Clock,
        restore_topics: Callable[[], Awaitable[None]],
    ) -> None:
        assert partitions, "a source reads at least one partition"
        self._options = options
        self._clock = clock
        self._restore_topics = restore_topics
        self._lookup = KafkaLookup(options)
        self._next = {TopicPartition(topic, number): 0 for topic, number in partitions}
        self._seen: dict[TopicPartition, _Seen] = {}
        self._queue: deque[Record] = deque()
        self._read_counts = {topic: EVENTS.labels(topic, "read") for topic, _ in partitions}
        self._queued_bytes = 0
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._consumer: AIOKafkaConsumer | None = None
        self._last_arrival_s = self._confirmed_s = clock.monotonic_s()
        self._had_outage = False
        self._reader: asyncio.Task[None] | None = None
        self.is_closed = False

    async def start(self) -> None:
        """Connect and begin to read; raise BrokerUnavailable."""
        try:
            consumer = await self._open()
        except (KafkaError, TimeoutError, BrokerUnavailable) as error:
            raise BrokerUnavailable(f"cannot read from the broker: {error!r}") from error
        self._reader = asyncio.create_task(self._run(consumer), name="kafka source")

    async def seek(self, topic: str, partition: int, offset: int | None) -> None:
        place = TopicPartition(topic, partition)
        assert place in self._next, f"{place} is not read here"
        # Offset 0 that retention removed is out of range, and then read from the first one.
        self._next[place] = offset or 0
        self._seen.pop(place, None)
        kept = [r for r in self._queue if _place(r) != place]
        self._queue = deque(kept)
        self._queued_bytes = sum(len(r.value) for r in kept)
        self._update_room()
        if self._consumer is not None:
            self._consumer.seek(place, self._next[place])

    async def seek_to_end(self, topic: str, partition: int) -> int:
        _, end = await self.bounds(topic, partition)
        await self.seek(topic, partition, end)
        return end

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return await self._lookup.bounds(TopicPartition(topic, partition))

    async def read_one(self, topic: str, partition: int, offset: int) -> Record | None:
        return await self._lookup.read_one(TopicPartition(topic, partition), offset)

    async def read_run(self, topic: str, partition: int, offset: int, count: int) -> list[Record]:
        return await self._lookup.read_run(TopicPartition(topic, partition), offset, count)

    async def fetch(self, *, max_records: int = 500, wait_s: float = 0.1) -> list[Record]:
        if not self._queue:
            await self._wait(wait_s)
        count = min(max_records, len(self._queue))
        records = [self._queue.popleft() for _ in range(count)]
        self._queued_bytes -= sum(len(record.value) for record in records)
        self._update_room()
        for record in records:
            self._read_counts[record.position.topic].inc()
        return records

    async def close(self) -> None:
        self.is_closed = True
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
            self._reader = None
        await self._lookup.close()
        self._queue.clear()

    async def _wait(self, wait_s: float) -> None:
        self._arrived.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._arrived.wait()
        except TimeoutError:
            return

    # The reading task: one consumer after the other.

    async def _run(self, first: AIOKafkaConsumer) -> None:
        consumer: AIOKafkaConsumer | None = first
        while True:
            try:
                consumer = consumer or await self._open()
                await self._read(consumer)
            except (KafkaError, TimeoutError, BrokerUnavailable, _Silent) as error:
                self._note_outage(error)
            finally:
                self._consumer = None
                if consumer is not None:
                    await finish(consumer.stop())
            consumer = None
            await self._clock.sleep(RECONNECT_INTERVAL_S)

    async def _open(self) -> AIOKafkaConsumer:
        """Return a consumer that stands where the last one stood."""
        consumer = AIOKafkaConsumer(
            group_id=None,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=16 * MIB,
            **self._options,
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await consumer.start()
                if self._had_outage:
                    await self._restore_topics()
                    await self._check_what_was_read()
        except BaseException:
            await finish(consumer.stop())
            raise
        consumer.assign(list(self._next))
        for place, offset in self._next.items():
            consumer.seek(place, offset)
        self._consumer = consumer
        self._last_arrival_s = self._confirmed_s = self._clock.monotonic_s()
        return consumer

    async def _check_what_was_read(self) -> None:
        for place, seen in list(self._seen.items()):
            first, _ = await self._lookup.bounds(place)
            if seen.offset < first:
                continue  # Retention removed it: nothing can be told.
            record = await self._lookup.read_one(place, seen.offset)
            if record is None or _seen(record) != seen:
                log.warning("the topic was wiped and is read from its start", topic=place.topic)
                self._next[place] = 0
                self._seen.pop(place, None)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        pump = asyncio.create_task(self._pump(consumer), name="kafka pump")
        try:
            await self._guard(consumer, pump)
        finally:
            pump.cancel()
            await asyncio.wait({pump})

    async def _pump(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await self._has_room.wait()
            batches = await consumer.getmany(timeout_ms=1_000, max_records=1_000)
            if batches and self._clock.monotonic_s() - self._confirmed_s > UNSURE_AFTER_S:
                raise _Silent("the broker was away: what was read before is checked first")
            for place, messages in batches.items():
                self._accept(place, messages)

    def _accept(self, place: TopicPartition, messages: Sequence[Any]) -> None:
        records = [to_record(message) for message in messages]
        if self._had_outage:
            self._had_outage = False
            log.info("the broker answers again", topic=place.topic)
        if records[0].position.offset < self._next[place]:
            log.warning("the topic starts again", topic=place.topic, partition=place.partition)
        self._next[place] = records[-1].position.offset + 1
        self._seen[place] = _seen(records[-1])
        self._queue.extend(records)
        self._queued_bytes += sum(len(record.value) for record in records)
        self._last_arrival_s = self._confirmed_s = self._clock.monotonic_s()
        self._arrived.set()
        self._update_room()

    def _update_room(self) -> None:
        if len(self._queue) < QUEUE_RECORDS_MAX and self._queued_bytes < QUEUE_BYTES_MAX:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _guard(self, consumer: AIOKafkaConsumer, pump: "asyncio.Task[None]") -> None:
        """Return never; raise what ended the pump, or _Silent."""
        behind: dict[TopicPartition, int] = {}
        checks = 0
        while True:
            done, _ = await asyncio.wait({pump}, timeout=GUARD_INTERVAL_S)
            if done:
                pump.result()
            self._show_lag(consumer)
            if self._clock.monotonic_s() - self._last_arrival_s < GUARD_INTERVAL_S:
                behind = {}
                continue
            now_behind = await self._behind(consumer)
            is_stuck = any(behind.get(place) == at for place, at in now_behind.items())
            checks = checks + 1 if is_stuck and self._has_room.is_set() else 0
            if checks >= BEHIND_CHECKS_MAX:
                raise _Silent(f"records are there and none came for {checks + 1} s")
            behind = now_behind

    def _show_lag(self, consumer: AIOKafkaConsumer) -> None:
        waiting: Counter[TopicPartition] = Counter(map(_place, self._queue))
        for place, offset in self._next.items():
            end = max(consumer.highwater(place) or 0, offset)
            lag = CONSUMER_LAG.labels(place.topic, place.partition)
            lag.set(end - offset + waiting[place])

    async def _behind(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Return the partitions that hold more than what came, with where we stand."""
        try:
            async with asyncio.timeout(GUARD_TIMEOUT_S):
                ends = await consumer.end_offsets(list(self._next))
        except (TimeoutError, KafkaError) as error:
            raise _Silent("the broker does not answer") from error
        self._confirmed_s = self._clock.monotonic_s()
        return {place: self._next[place] for place, end in ends.items() if end > self._next[place]}

    def _note_outage(self, error: BaseException) -> None:
        if not self._had_outage:
            log.info("reading from the broker stopped; trying again", cause=repr(error))
            BROKER_RECONNECTS.labels("source").inc()
        self._had_outage = True


def _place(record: Record) -> TopicPartition:
    return TopicPartition(record.position.topic, record.position.partition)


def _seen(record: Record) -> _Seen:
    return _Seen(record.position.offset, record.timestamp_us, zlib.crc32(record.value))
