"""An in-memory broker with the contract of `ports.py`, for tests, examples and the simulation.

Its faults come from a seeded `random.Random`: what a fast publisher was told is there may be
missing, doubled, late or behind its successor, exactly as the pipeline must bear. What a safe
publisher was told is there stays; it may be doubled, and an exception leaves open whether it is
there. `wipe`, `lose_tail`, `stop` and `start` are the operator's and the power cut's part.
"""

import asyncio
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import BrokerUnavailable
from fileflux.core.tracing import tracer
from fileflux.events.ports import (
    EventPublisher,
    EventSource,
    Position,
    Record,
    TopicLookup,
    TopicsFound,
)
from fileflux.events.topics import Topic, all_topics
from fileflux.events.traced_publisher import TracedPublisher

HELD_S_MAX: Final = 0.05
"""A reordered record with no successor comes after this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFaults:
    """Probabilities per record. `topics` None: all of them.

    drop: acknowledged, and not there. duplicate: there twice. reorder: behind its successor.
    delay: up to `delay_s_max` late. refuse: BrokerUnavailable, and half of them there nevertheless.
    A safe publisher knows only `duplicate`, `delay` and `refuse`.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    delay_s_max: float = 1.0
    refuse: float = 0.0
    topics: frozenset[str] | None = None


@dataclass(slots=True)
class _Log:
    """One partition. `held`: a record that waits to stand behind its successor."""

    first: int = 0
    records: list[Record] = field(default_factory=list)
    held: "list[_Draft]" = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.records)


@dataclass(frozen=True, slots=True)
class _Draft:
    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class MemoryBroker:
    """Topics of the registry, each partition a list. `faults` may be changed at any time."""

    def __init__(
        self,
        *,
        clock: Clock,
        lanes: int = 4,
        slots: int = 8,
        rng: random.Random | None = None,
        faults: MemoryFaults | None = None,
        topics: Sequence[Topic] | None = None,
    ) -> None:
        self.faults = faults or MemoryFaults()
        self._clock = clock
        self._rng = rng or random.Random(0)
        self._is_up = True
        self._sources: dict[_MemorySource, None] = {}  # In order: a simulation repeats itself.
        self._logs = {
            (topic.name, partition): _Log()
            for topic in (all_topics() if topics is None else topics)
            for partition in range(topic.partition_count(lanes=lanes, slots=slots))
        }

    async def fast_publisher(self) -> EventPublisher:
        return self._publisher(is_safe=False)

    async def safe_publisher(self) -> EventPublisher:
        return self._publisher(is_safe=True)

    def _publisher(self, *, is_safe: bool) -> EventPublisher:
        publisher = _MemoryPublisher(self, is_safe=is_safe)
        return TracedPublisher(publisher, tracer()) if tracer().is_on else publisher

    async def source(self, partitions: Sequence[tuple[str, int]]) -> EventSource:
        for topic, partition in partitions:
            self.log(topic, partition)
        made = _MemorySource(self, partitions)
        self._sources[made] = None
        return made

    async def lookup(self) -> TopicLookup:
        return await self.source([])

    def user_topics(self) -> "_MemoryUserTopics":
        return _MemoryUserTopics(self)

    async def ensure_topics(self) -> None:
        self.check_up()

    async def check_topics(self) -> TopicsFound:
        self.check_up()
        return TopicsFound()

    async def drop_records(self, topic: str, partition: int, before_offset: int) -> None:
        self.check_up()
        self.expire(topic, partition, before_offset)

    async def close(self) -> None:
        for source in list(self._sources):
            await source.close()

    # What tests and the simulation do to it.

    def stop(self) -> None:
        """Nobody is answered until `start`; records stay."""
        self._is_up = False

    def start(self) -> None:
        self._is_up = True
        self._wake()

    def wipe(self, topic: str | None = None) -> None:
        """Forget all records of a topic, or of every topic; offsets start again at 0."""
        for name, partition in self._logs:
            if topic in (None, name):
                self._logs[name, partition] = _Log()
        self._wake()

    def lose_tail(self, topic: str, partition: int, count: int) -> None:
        """Lose the newest records, as a broker without flush does in a power cut."""
        log = self.log(topic, partition)
        del log.records[max(0, len(log.records) - count) :]

    def expire(self, topic: str, partition: int, before_offset: int) -> None:
        """Let retention remove the records before this offset."""
        log = self.log(topic, partition)
        keep_from = min(max(before_offset, log.first), log.end)
        del log.records[: keep_from - log.first]
        log.first = keep_from

    def records(self, topic: str, partition: int = 0) -> list[Record]:
        """Return what the partition holds."""
        return list(self.log(topic, partition).records)

    # What publishers, sources and questions about topics share.

    def partition_count(self, topic: str) -> int:
        return sum(name == topic for name, _ in self._logs)

    def add_topic(self, topic: str, partitions: int) -> None:
        for partition in range(partitions):
            self._logs.setdefault((topic, partition), _Log())

    def log(self, topic: str, partition: int) -> _Log:
        try:
            return self._logs[topic, partition]
        except KeyError:
            raise BrokerUnavailable(f"there is no partition {partition} of {topic}") from None

    def check_up(self) -> None:
        if not self._is_up:
            raise BrokerUnavailable("the broker does not answer")

    @property
    def is_up(self) -> bool:
        return self._is_up

    def forget(self, source: "_MemorySource") -> None:
        self._sources.pop(source, None)

    async def accept(self, draft: _Draft, *, is_safe: bool) -> Position:
        """Append the record as the faults have it, and acknowledge it."""
        self.check_up()
        faults = self._faults_of(draft.topic)
        if self._happens(faults.delay):
            await self._clock.sleep(self._rng.uniform(0, faults.delay_s_max))
        else:
            await asyncio.sleep(0)
        self.check_up()
        if self._happens(faults.refuse):
            if self._happens(0.5):
                self._append(draft)
            raise BrokerUnavailable("not acknowledged in time")
        if not is_safe and self._is_lost_or_held(draft, faults):
            return Position(draft.topic, draft.partition, self.log(*_place(draft)).end)
        position = self._append(draft)
        if self._happens(faults.duplicate):
            self._append(draft)
        return position

    def _faults_of(self, topic: str) -> MemoryFaults:
        faults = self.faults
        return faults if faults.topics is None or topic in faults.topics else MemoryFaults()

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._rng.random() < probability

    def _is_lost_or_held(self, draft: _Draft, faults: MemoryFaults) -> bool:
        if self._happens(faults.drop):
            return True
        if not self._happens(faults.reorder):
            return False
        self.log(*_place(draft)).held.append(draft)
        asyncio.get_running_loop().call_later(HELD_S_MAX, self._release, draft)
        return True

    def _append(self, draft: _Draft) -> Position:
        position = self._write(draft)
        for held in self.log(*_place(draft)).held[:]:
            self._release(held)
        return position

    def _release(self, draft: _Draft) -> None:
        held = self.log(*_place(draft)).held
        if draft in held:
            held.remove(draft)
            self._write(draft)

    def _write(self, draft: _Draft) -> Position:
        log = self.log(*_place(draft))
        position = Position(draft.topic, draft.partition, log.end)
        at_us = self._clock.now_us() // 1_000 * 1_000
        log.records.append(Record(position, draft.key, draft.value, draft.headers, at_us))
        self._wake(_place(draft))
        return position

    def _wake(self, place: tuple[str, int] | None = None) -> None:
        for source in self._sources:
            if place is None or source.reads(place):
                source.arrived.set()


def _place(draft: _Draft) -> tuple[str, int]:
    return draft.topic, draft.partition


class _MemoryUserTopics:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def partition_count(self, topic: str) -> int | None:
        self._broker.check_up()
        return self._broker.partition_count(topic) or None

    async def create(self, topic: str, partitions: int) -> None:
        self._broker.check_up()
        if not self._broker.partition_count(topic):
            self._broker.add_topic(topic, partitions)

    def partition_of(self, key: bytes, partitions: int) -> int:
        return zlib.crc32(key) % partitions


class _MemoryPublisher:
    def __init__(self, broker: MemoryBroker, *, is_safe: bool) -> None:
        self._broker = broker
        self._is_safe = is_safe
        self._closed = False

    async def publish(
        self,
        topic: str,
        value: bytes,
        *,
        partition: int,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        if self._closed:
            raise BrokerUnavailable("the publisher is closed")
        self._broker.log(topic, partition)
        draft = _Draft(topic, partition, key, bytes(value), tuple(headers))
        return await self._broker.accept(draft, is_safe=self._is_safe)

    async def publish_all(
        self,
        topic: str,
        records: Sequence[tuple[bytes | None, bytes, Sequence[tuple[str, bytes]]]],
        *,
        partition: int,
    ) -> Position:
        assert records, "at least one record"
        for key, value, headers in records:
            last = await self.publish(topic, value, partition=partition, key=key, headers=headers)
        return last

    async def close(self) -> None:
        self._closed = True


class _MemorySource:
    def __init__(self, broker: MemoryBroker, partitions: Sequence[tuple[str, int]]) -> None:
        self.arrived = asyncio.Event()
        self._broker = broker
        self._next = dict.fromkeys(partitions, 0)
        self._closed = False

    def reads(self, place: tuple[str, int]) -> bool:
        return place in self._next

    async def seek(self, topic: str, partition: int, offset: int | None) -> None:
        self._check_assigned(topic, partition)
        self._next[topic, partition] = offset or 0
        self.arrived.set()

    async def seek_to_end(self, topic: str, partition: int) -> int:
        self._check_assigned(topic, partition)
        _, end = await self.bounds(topic, partition)
        self._next[topic, partition] = end
        return end

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        self._broker.check_up()
        log = self._broker.log(topic, partition)
        return log.first, log.end

    async def read_one(self, topic: str, partition: int, offset: int) -> Record | None:
        self._broker.check_up()
        log = self._broker.log(topic, partition)
        if not log.first <= offset < log.end:
            return None
        return log.records[offset - log.first]

    async def read_run(self, topic: str, partition: int, offset: int, count: int) -> list[Record]:
        self._broker.check_up()
        log = self._broker.log(topic, partition)
        if not log.first <= offset < log.end:
            return []
        return log.records[offset - log.first :][:count]

    async def fetch(self, *, max_records: int = 500, wait_s: float = 0.1) -> list[Record]:
        if not (records := self._take(max_records)) and not self._closed:
            await self._wait(wait_s)
            records = self._take(max_records)
        return records

    async def close(self) -> None:
        self._closed = True
        self._broker.forget(self)
        self.arrived.set()

    def _check_assigned(self, topic: str, partition: int) -> None:
        assert (topic, partition) in self._next, f"partition {partition} of {topic} is not read"

    async def _wait(self, wait_s: float) -> None:
        self.arrived.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self.arrived.wait()
        except TimeoutError:
            return

    def _take(self, max_records: int) -> list[Record]:
        taken: list[Record] = []
        if self._closed or not self._broker.is_up:
            return taken
        for place, offset in self._next.items():
            log = self._broker.log(*place)
            start = offset if log.first <= offset <= log.end else log.first
            index = start - log.first
            run = log.records[index : index + max_records - len(taken)]
            self._next[place] = start + len(run)
            taken += run
        return taken
