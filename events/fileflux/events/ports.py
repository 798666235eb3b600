"""What the rest of the code sees of a broker.

Delivery is at least once, in order inside a partition, and may lose the tail: whoever waits
re-emits until the state is final.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record is."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """An event batch as the broker holds it. `timestamp_us` is the broker's create time."""

    position: Position
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_us: int


@dataclass(frozen=True, slots=True)
class TopicsFound:
    """`missing`: names. `problems`: what is wrong with those that are there, a sentence each."""

    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class EventPublisher(Protocol):
    """Sends records. Two kinds are made: fast (acks=1) and safe (acks=all, idempotent)."""

    async def publish(
        self,
        topic: str,
        value: bytes,
        *,
        partition: int,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        """Return when the broker acknowledged; raise BrokerUnavailable after the deadline.

        After an exception the record may or may not be there.
        """

    async def publish_all(
        self,
        topic: str,
        records: Sequence[tuple[bytes | None, bytes, Sequence[tuple[str, bytes]]]],
        *,
        partition: int,
    ) -> Position:
        """Send (key, value, headers) in order; return where the last of them (at least one) is.

        After an exception some prefix of them may be there: never a later one without all before
        it, which is what the audit stream needs.
        """

    async def close(self) -> None:
        """Flush and stop. Idempotent."""


class TopicLookup(Protocol):
    """Answers questions about partitions; reads nothing ahead."""

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return (first offset, offset after the last record)."""

    async def read_one(self, topic: str, partition: int, offset: int) -> Record | None:
        """Return the record at `offset`, None if it is not there."""

    async def read_run(self, topic: str, partition: int, offset: int, count: int) -> list[Record]:
        """Return records from `offset` on, in order: at most `count`, at least one if there is.

        Fewer than `count` do not say that the partition ends.
        """

    async def close(self) -> None:
        """Stop. Idempotent."""


class EventSource(TopicLookup, Protocol):
    """Reads chosen partitions by manual assignment: no group, no rebalance.

    `read_one` and `read_run` do not move the reading.
    """

    async def seek(self, topic: str, partition: int, offset: int | None) -> None:
        """Read this partition from `offset` on; None: from its first record."""

    async def seek_to_end(self, topic: str, partition: int) -> int:
        """Read this partition from its end on; return that offset."""

    async def fetch(self, *, max_records: int = 500, wait_s: float = 0.1) -> list[Record]:
        """Return the next records of all partitions, drained at once; empty after `wait_s`."""


class UserTopics(Protocol):
    """Topics of other people: FileFlux looks at them, and makes one where it is allowed to."""

    async def partition_count(self, topic: str) -> int | None:
        """Return how many it has; None: it is not there, or not for us. Creates nothing.

        Raise BrokerUnavailable.
        """

    async def create(self, topic: str, partitions: int) -> None:
        """Create one, if it is not there; raise TopicsInvalid when the broker refuses."""

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return where records of a key go: where other producers put them, too."""


class Broker(Protocol):
    """Makes publishers and sources, and the topics they need."""

    async def fast_publisher(self) -> EventPublisher: ...

    async def safe_publisher(self) -> EventPublisher: ...

    async def source(self, partitions: Sequence[tuple[str, int]]) -> EventSource: ...

    async def lookup(self) -> TopicLookup: ...

    async def ensure_topics(self) -> None:
        """Create the registry's topics that are missing; raise on wrong settings."""

    async def check_topics(self) -> TopicsFound:
        """Look at the registry's topics and change nothing; raise BrokerUnavailable."""

    async def drop_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Remove the records before this offset; raise BrokerUnavailable if that is not done."""

    async def close(self) -> None: ...
