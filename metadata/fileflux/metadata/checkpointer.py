"""Sign checkpoints of what was numbered and published, and bring their topic up to the database.

The sequencer calls `step` after it has published. A checkpoint is stored before anybody is told;
its number is taken by insertion, so of two that sign one finds it taken and reads the newest again.
The topic is compared with the database at the start, now and then, and after any failure.
"""

from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid, LaneLost, Unavailable
from fileflux.core.failpoints import failpoint
from fileflux.core.telemetry import AUDIT_CHECKPOINTS, AUDIT_SIGNED_POSITION, get_logger
from fileflux.events.ports import EventPublisher, TopicLookup
from fileflux.events.topics import AUDIT_CHECKPOINTS as TOPIC
from fileflux.metadata.checkpoint import FIRST_NUMBER, Checkpoint, decode_checkpoint, sign_next
from fileflux.metadata.ports import (
    Database,
    MetadataReader,
    SequencerHead,
    StoredCheckpoint,
    Transaction,
)

log = get_logger(__name__)

PARTITION: Final = 0
COMPARE_EVERY_S: Final = 30.0
READ_MAX: Final = 500
DEADLINE_S: Final = 10.0


class Checkpointer:
    """`every_records`, `every_s`: what is due first signs, if anything is new."""

    def __init__(
        self,
        *,
        database: Database,
        reader: MetadataReader,
        topic: "CheckpointTopic",
        key: Ed25519PrivateKey,
        clock: Clock,
        every_records: int,
        every_s: float,
    ) -> None:
        self._database = database
        self._reader = reader
        self._topic = topic
        self._key = key
        self._clock = clock
        self._every_records = every_records
        self._every_s = every_s
        self._last: Checkpoint | None = None
        self._is_known = False
        self._signed_s = -every_s

    async def step(self, head: SequencerHead) -> None:
        """Sign where the head stands if that is due, and publish; `head` is published already."""
        if not self._is_known:
            stored = await self._reader.last_checkpoint(head.stream)
            self._last = None if stored is None else decode_checkpoint(stored.line)
            self._is_known = True
        if self._is_due(head):
            await self._sign(head)
        if self._last is not None:
            await self._topic.publish(head.stream, self._last.number)

    def _is_due(self, head: SequencerHead) -> bool:
        fresh = head.next_position - 1 - (0 if self._last is None else self._last.position)
        is_time = self._clock.monotonic_s() - self._signed_s >= self._every_s
        return fresh >= self._every_records or (fresh > 0 and is_time)

    async def _sign(self, head: SequencerHead) -> None:
        at_us = await self._reader.clock_us()
        signed = sign_next(
            self._key,
            self._last,
            stream=head.stream,
            position=head.next_position - 1,
            chain_hash=head.chain_hash,
            at_us=at_us,
        )
        failpoint("sequencer.before_checkpoint")
        self._is_known = False  # Until the commit is known.
        try:
            await self._store(signed, at_us)
        except LaneLost as error:
            log.info("somebody else signed meanwhile", cause=str(error))
            return
        failpoint("sequencer.after_checkpoint")
        self._last, self._is_known = signed, True
        self._signed_s = self._clock.monotonic_s()
        AUDIT_CHECKPOINTS.inc()
        AUDIT_SIGNED_POSITION.set(signed.position)

    async def _store(self, signed: Checkpoint, at_us: int) -> None:
        async def store(transaction: Transaction) -> bool:
            await transaction.add_checkpoint(
                signed.stored, public_key=signed.public_key, at_us=at_us
            )
            return True

        async def settled() -> bool | None:
            stored = await self._reader.checkpoints(signed.stream, signed.number, limit=1)
            if not stored:
                return None
            if stored[0].line == signed.stored.line:
                return True
            raise LaneLost(f"{signed.stream}: number {signed.number} is taken")

        await self._database.run(store, settled=settled, deadline_s=DEADLINE_S)


class CheckpointTopic:
    """The compacted topic, kept equal to the database. `publisher`: a safe one."""

    # `_next`: the first number that the topic lacks, None while that is not known.
    # `_filled_behind`: the first offset of a topic whose start was gone, and was sent again.

    def __init__(
        self,
        *,
        reader: MetadataReader,
        publisher: EventPublisher,
        source: TopicLookup,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._publisher = publisher
        self._source = source
        self._clock = clock
        self._next: int | None = None
        self._compared_s = 0.0
        self._filled_behind: int | None = None

    async def publish(self, stream: str, last_number: int) -> None:
        """Return when the topic holds every checkpoint up to this one."""
        is_due = self._clock.monotonic_s() - self._compared_s >= COMPARE_EVERY_S
        # A topic that was wiped meanwhile gets all of them, in order, not the newest alone.
        if self._next is None or is_due or self._next <= last_number:
            self._next = await self._compare()
            self._compared_s = self._clock.monotonic_s()
        while self._next <= last_number:
            stored = await self._reader.checkpoints(stream, self._next, limit=READ_MAX)
            if not stored:
                return  # The database was set back; the audit topic tells more of that.
            await self._send(stored)

    async def _send(self, stored: Sequence[StoredCheckpoint]) -> None:
        try:
            await self._publisher.publish_all(
                TOPIC, [(_key_of(one), one.line, ()) for one in stored], partition=PARTITION
            )
        except Unavailable:
            self._next = None  # Some of them may be there.
            raise
        self._next = stored[-1].number + 1

    async def _compare(self) -> int:
        """Return the first number that the topic lacks; all of them where its start is gone.

        A start that is gone is filled in behind, where readers find it: once, not every time.
        """
        first, end = await self._source.bounds(TOPIC, PARTITION)
        if first == end:
            return FIRST_NUMBER
        start = await self._number_at(first)
        if start != FIRST_NUMBER and first != self._filled_behind:
            self._filled_behind = first
            return FIRST_NUMBER
        return await self._number_at(end - 1) + 1

    async def _number_at(self, offset: int) -> int:
        """Return a checkpoint's number, 0 if there is none: that is before the first one."""
        record = await self._source.read_one(TOPIC, PARTITION, offset)
        try:
            return FIRST_NUMBER - 1 if record is None else decode_checkpoint(record.value).number
        except EventInvalid as error:
            log.warning("the checkpoints' topic has a record that is none", cause=str(error))
            return FIRST_NUMBER - 1


def _key_of(checkpoint: StoredCheckpoint) -> bytes:
    """Compaction keeps the newest record of a key: every checkpoint has one of its own."""
    return f"{checkpoint.stream}/{checkpoint.number:020}".encode()
