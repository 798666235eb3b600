"""Poison records are set aside on `<topic>.dead-letter`, with their cause, up to a limit.

More than the limit in a row means that *we* are wrong: the consumer stops, and nothing is lost by
a bug that refuses everything. A dead letter can be replayed once the cause is mended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid, PoisonLimitReached
from fileflux.core.telemetry import DEAD_LETTERS, get_logger
from fileflux.events.ports import EventPublisher, Record
from fileflux.events.topics import dead_letter_topic

log = get_logger(__name__)

DEFAULT_IN_A_ROW_MAX: Final = 20
_PREFIX: Final = "fileflux-dead-"


@dataclass(frozen=True, slots=True)
class DlqLimit:
    """How many records in a row may be set aside before the consumer stops."""

    in_a_row_max: int = DEFAULT_IN_A_ROW_MAX


class DeadLetters:
    """Sets records aside. One per consumer, since it counts how many came in a row."""

    def __init__(
        self, publisher: EventPublisher, *, clock: Clock, limit: DlqLimit | None = None
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        self._limit = limit or DlqLimit()
        self._in_a_row = 0

    async def set_aside(self, record: Record, cause: str) -> None:
        """Return when the record is on its dead-letter topic.

        Raise PoisonLimitReached instead when too many came in a row, BrokerUnavailable when it
        could not be published: the record then still is the next one to handle.
        """
        if self._in_a_row >= self._limit.in_a_row_max:
            raise PoisonLimitReached(f"{self._in_a_row} records in a row failed, last: {cause}")
        position = record.position
        await self._publisher.publish(
            dead_letter_topic(position.topic),
            record.value,
            partition=0,
            key=record.key,
            headers=(*record.headers, *self._why(record, cause)),
        )
        self._in_a_row += 1
        DEAD_LETTERS.labels(position.topic).inc()
        log.error("a record was set aside", position=str(position), cause=cause)

    def note_success(self) -> None:
        """A record was applied, so the fault is not ours alone."""
        self._in_a_row = 0

    def _why(self, record: Record, cause: str) -> list[tuple[str, bytes]]:
        facts = {
            "topic": record.position.topic,
            "partition": str(record.position.partition),
            "offset": str(record.position.offset),
            "timestamp-us": str(record.timestamp_us),
            "set-aside-us": str(self._clock.now_us()),
            "cause": cause[:1_000],
        }
        return [(_PREFIX + name, text.encode()) for name, text in facts.items()]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was set aside: where it stood, why, and what it was."""

    topic: str
    partition: int
    offset: int
    cause: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def read_dead_letter(record: Record) -> DeadLetter:
    """Return what `set_aside` wrote; raise EventInvalid for anything else."""
    facts = {n.removeprefix(_PREFIX): v.decode("utf-8", "replace") for n, v in record.headers}
    try:
        return DeadLetter(
            topic=facts["topic"],
            partition=int(facts["partition"]),
            offset=int(facts["offset"]),
            cause=facts["cause"],
            key=record.key,
            value=record.value,
            headers=tuple((n, v) for n, v in record.headers if not n.startswith(_PREFIX)),
        )
    except (KeyError, ValueError) as error:
        raise EventInvalid(f"not a dead letter: {error!r}") from error


async def replay(records: Sequence[Record], publisher: EventPublisher) -> int:
    """Publish dead letters where they came from; return how many. Handlers bear them twice."""
    for record in records:
        letter = read_dead_letter(record)
        await publisher.publish(
            letter.topic,
            letter.value,
            partition=letter.partition,
            key=letter.key,
            headers=letter.headers,
        )
    return len(records)
