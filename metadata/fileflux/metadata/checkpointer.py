"""Sign checkpoints of what was numbered and published, and bring their topic up to the database.

The sequencer calls `step` after it has published. A checkpoint is stored before anybody is told;
its number is taken by insertion, so of two that sign one finds it taken and reads the newest again.
The topic is compared with the database at the start, now and then, and after any failure.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid, LaneLost, Unavailable
from fileflux.core.failpoints import failpoint
from fileflux.core.telemetry import AUDIT_CHECKPOINTS, AUDIT_SIGNED_POSITION, get_logger
from fileflux.events.ports import EventPublisher, TopicLookup
from fileflux.events.topics import AUDIT_CHECKPOINTS as TOPIC
from fileflux.metadata.archive import Archive
from fileflux.metadata.archive_blocks import checkpoints_at
from fileflux.metadata.checkpoint import FIRST_NUMBER, Checkpoint, decode_checkpoint, sign_next
from fileflux.metadata.checkpoint_row import archived_row, is_row, published_row
from fileflux.metadata.ports import (
    Database,
    MetadataReader,
    SequencerHead,
    StoredCheckpoint,
    Transaction,
)
from fileflux.metadata.retention import record_at

log = get_logger(__name__)

PARTITION: Final = 0
COMPARE_EVERY_S: Final = 30.0
READ_MAX: Final = 500
DEADLINE_S: Final = 10.0
LOOK_S: Final = 0.05
"""How long a step waits for the row to be looked up; usually it is one row of the database."""


class Checkpointer:
    """`every_records`, `every_s`: what is due first signs, if anything is new.

    `archive`: asked for a row that a rebuilt database lacks, if the topic has none.
    """

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
        archive: Archive | None = None,
    ) -> None:
        self._database = database
        self._reader = reader
        self._topic = topic
        self._key = key
        self._archive = archive
        self._clock = clock
        self._every_records = every_records
        self._every_s = every_s
        self._last: Checkpoint | None = None
        self._is_known = False
        self._looking: asyncio.Task[bool] | None = None
        self._look_again_s = float("-inf")
        self._signed_s = -every_s

    async def step(self, head: SequencerHead) -> None:
        """Sign where the head stands if that is due, and publish; `head` is published already."""
        if not self._is_known and not await self._knows(head):
            return
        if self._is_due(head):
            await self._sign(head)
        if self._last is not None:
            await self._topic.publish(head.stream, self._last.number)

    async def _knows(self, head: SequencerHead) -> bool:
        """Find out where the row ends, beside the numbering: a long one takes minutes."""
        if self._clock.monotonic_s() < self._look_again_s:
            return False
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(head), name="checkpoints taken over")
        await asyncio.wait({self._looking}, timeout=LOOK_S)
        if not self._looking.done():
            return False
        looked, self._looking = self._looking, None
        try:
            self._is_known = looked.result()
        except (LaneLost, EventInvalid) as error:
            log.warning("where the checkpoints end cannot be told now", cause=repr(error))
        if not self._is_known:
            self._look_again_s = self._clock.monotonic_s() + COMPARE_EVERY_S
        return self._is_known

    async def _look(self, head: SequencerHead) -> bool:
        """Read the last checkpoint, and store what a rebuilt database lacks behind it.

        Return whether signing may go on.
        """
        stored = await self._reader.last_checkpoint(head.stream)
        self._last = None if stored is None else decode_checkpoint(stored.line)
        known = 0 if stored is None else stored.number
        row = await self._row_beyond(head.stream, known)
        if not row:
            return True
        last = row[-1]
        record = await record_at(self._reader, head.stream, last.position)
        fits = record is not None and record.chain_hash == last.chain_hash
        is_ours = self._last is None or row[known - 1] == self._last
        public_key = self._key.public_key().public_bytes_raw()
        if not (fits and is_ours and is_row(row, public_key=public_key)):
            log.warning(
                "no checkpoints are signed: those that are published are of other records, or "
                "their last one is of another key",
                position=last.position,
            )
            return False
        for one in row[known:]:
            await self._store(one, await self._reader.clock_us())
            self._last = one
        log.info("took over checkpoints that were signed before", count=len(row) - known)
        return True

    async def _row_beyond(self, stream: str, known: int) -> list[Checkpoint]:
        """Return the whole row of the topic or the archive, the longer, if it goes beyond `known`.

        The topic may have lost its end: what the archive has, somebody has seen.
        """
        row = await self._topic.row(stream) if await self._topic.last_number() > known else []
        reached = row[-1].number if row else known
        if self._archive is not None and await checkpoints_at(self._archive, stream, reached + 1):
            return await archived_row(self._archive, stream)
        return row

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

    async def last_number(self) -> int:
        """Return the number of the topic's last checkpoint, 0 if it has none."""
        first, end = await self._source.bounds(TOPIC, PARTITION)
        return 0 if first == end else await self._number_at(end - 1)

    async def row(self, stream: str) -> list[Checkpoint]:
        """Return the checkpoints that the topic has, by number."""
        return await published_row(self._source, stream)

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
