"""The audit stream for webhooks: as it happens from the topic, what is past from the database.

The topic is the first to ask for what is new; while it is away, wiped or has a gap, the database
answers, which numbered the records before the topic had them. The other way round for the past: the
topic keeps all of it for ever, the database need not.
"""

from collections.abc import Sequence
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import AuditGap, BrokerUnavailable, EventInvalid
from fileflux.core.telemetry import get_logger
from fileflux.events.audit import PARTITION, AuditStream
from fileflux.events.ports import Broker, EventSource
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_log import numbered
from fileflux.metadata.chain import NumberedRecord, unpack_block
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.sequencer import STREAM

log = get_logger(__name__)

RECORDS_MAX: Final = 500
BLOCKS_PER_READ: Final = 4
TOPIC_RETRY_S: Final = 5.0
ASK_DATABASE_S: Final = 2.0
"""So long nothing new from the topic: the database may know of something."""
PAST_WAIT_S: Final = 2.0

_UNREADABLE: Final = (AuditGap, BrokerUnavailable, EventInvalid)


class TopicReading:
    """The audit topic from a position on, over a source of its own."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._source: EventSource | None = None
        self._stream: AuditStream | None = None
        self._next = 0

    async def read(self, position: int, *, wait_s: float) -> list[NumberedRecord]:
        """Return the next records from exactly `position` on; raise what `_UNREADABLE` lists."""
        try:
            stream = await self._at(position)
            events = await stream.fetch(max_records=RECORDS_MAX, wait_s=wait_s)
        except BaseException:
            self._next = 0  # Look for the place anew, after a cancellation, too.
            raise
        if events:
            self._next = events[-1].position + 1
        return [numbered(event) for event in events]

    async def _at(self, position: int) -> AuditStream:
        if self._stream is None:
            self._source = await self._broker.source([(AUDIT, PARTITION)])
            self._stream = AuditStream(self._source)
        if position != self._next:
            await self._stream.seek(position)
            self._next = position
        return self._stream

    async def close(self) -> None:
        """Stop reading. Idempotent."""
        if self._source is not None:
            await self._source.close()
        self._source = self._stream = None


class History:
    """Both readings. Close it at the end."""

    def __init__(self, reader: MetadataReader, broker: Broker, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._live = TopicReading(broker)
        self._past = TopicReading(broker)
        self._topic_from_s = 0.0
        self._last_s = clock.monotonic_s()

    async def next(self, position: int, *, wait_s: float) -> list[NumberedRecord]:
        """Return records from `position` on, none if there is nothing yet."""
        now_s = self._clock.monotonic_s()
        found: list[NumberedRecord] = []
        if now_s >= self._topic_from_s:
            try:
                found = await self._live.read(position, wait_s=wait_s)
            except _UNREADABLE as error:
                log.warning("the audit topic cannot be followed", cause=str(error))
                self._topic_from_s = now_s + TOPIC_RETRY_S
        else:
            await self._clock.sleep(wait_s)
        is_silent = now_s - self._last_s >= ASK_DATABASE_S or now_s < self._topic_from_s
        if not found and is_silent:
            found = _from(await self._stored(position), position)
        if found or is_silent:
            self._last_s = now_s
        return found

    async def past(self, position: int) -> list[NumberedRecord]:
        """Return some records from exactly `position` on, which was numbered.

        Raise AuditGap while neither has it, EventInvalid when the topic's cannot be read either.
        """
        stored = _from(await self._stored(position), position)
        return stored or await self._past.read(position, wait_s=PAST_WAIT_S)

    async def end(self) -> int:
        """Return the first position that is not numbered yet."""
        return (await self._reader.audit_head(STREAM)).next_position

    async def close(self) -> None:
        await self._live.close()
        await self._past.close()

    async def _stored(self, position: int) -> list[NumberedRecord]:
        try:
            blocks = await self._reader.audit_blocks(STREAM, position, limit=BLOCKS_PER_READ)
            return [record for block in blocks for record in unpack_block(block)]
        except EventInvalid as error:  # The topic may have it whole.
            log.error("the database's audit stream is damaged", cause=str(error))  # noqa: TRY400
            return []


def _from(records: Sequence[NumberedRecord], position: int) -> list[NumberedRecord]:
    """Those from `position` on without a gap; nothing if the first of them is not there."""
    kept: list[NumberedRecord] = []
    for record in records:
        if record.position > position:
            break
        if record.position == position:
            kept.append(record)
            position += 1
    return kept
