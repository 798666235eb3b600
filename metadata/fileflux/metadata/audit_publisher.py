"""Bring the audit topic up to what the database has numbered.

The topic is compared with the stored blocks at the start, every five seconds and after any failure:
where it ends, the publishing goes on. Runs are sent in order, so what a failure leaves is a prefix,
and a reader may see a position twice but never a gap.
"""

from collections.abc import Sequence
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import (
    BrokerUnavailable,
    EventInvalid,
    Invalid,
    LaneLost,
    Unavailable,
)
from fileflux.core.failpoints import failpoint
from fileflux.core.telemetry import AUDIT_PUBLISHED, AUDIT_REWINDS, get_logger
from fileflux.core.tracing import TRACEPARENT, tracer
from fileflux.events.audit import (
    FIRST_POSITION,
    LATE_RECORDS_MAX,
    PARTITION,
    AuditEvent,
    find_start,
    from_record,
    is_start,
    last_event,
    skips_nothing,
    to_cloudevent,
)
from fileflux.events.ports import Broker, EventPublisher, TopicLookup
from fileflux.events.topics import AUDIT
from fileflux.events.traced_publisher import Message
from fileflux.metadata.chain import NumberedRecord, hash_before, unpack_block
from fileflux.metadata.ports import AuditBlock, MetadataReader, SequencerHead
from fileflux.metadata.retention import record_at

log = get_logger(__name__)

COMPARE_EVERY_S: Final = 5.0
BLOCKS_PER_READ: Final = 16
LOOK_AGAIN_S: Final = 5.0
"""A position that cannot be published may be 8 MiB of a slow archive: not with every turn."""
CHECK_END_AFTER_S: Final = 2.0
"""No broker loses a topic and comes back within this: a publish in between would have failed."""


class AuditTopicDiffers(Invalid):
    """The topic holds another history than the database: one of them was replaced."""


class AuditStuck(Invalid):
    """A position can be had from nobody, or only changed. What stands behind it must wait.

    A person must look, but nothing is wrong with what comes: it may be numbered.
    """

    def __init__(self, position: int, detail: str) -> None:
        super().__init__(
            f"audit position {position} cannot be published: {detail}. Nothing is published from "
            "there on, since readers would meet a gap; numbering goes on"
        )
        self.position = position
        self.detail = detail


class AuditPublisher:
    """`publisher`: a safe one. `source` is asked about the audit topic; it need not read.

    `next_position`: the first that the topic lacks, None while that is not known.
    """

    # `_end`: the offset after the topic's last record, known for sure at `_sure_s`.
    # `_follows`: the position that a reader waits for there; None before the first comparison.
    # `_own_start`: where our own position 1 went.

    def __init__(
        self,
        *,
        reader: MetadataReader,
        broker: Broker,
        publisher: EventPublisher,
        source: TopicLookup,
        clock: Clock,
        stream: str,
    ) -> None:
        self._reader = reader
        self._broker = broker
        self._publisher = publisher
        self._source = source
        self._clock = clock
        self._stream = stream
        self._is_traced = tracer().is_on
        self._compared_s = self._sure_s = 0.0
        self._end = 0
        self._follows: int | None = None
        self._own_start: int | None = None
        self._stuck: AuditStuck | None = None
        self._stuck_s = 0.0
        self.next_position: int | None = None

    async def publish(self, head: SequencerHead, fresh: Sequence[AuditBlock] = ()) -> bool:
        """Bring the topic closer to the head; return whether it holds everything before it.

        One call sends at most BLOCKS_PER_READ stored blocks: a long history is many turns, or its
        publisher would seem to stand still.

        `fresh`: blocks just stored, which need not be read again. Raise AuditTopicDiffers;
        AuditStuck, again and again, until the position can be had; LaneLost when somebody else is
        ahead of us; BrokerUnavailable or MetadataBusy, after which the topic is compared anew.
        """
        now_s = self._clock.monotonic_s()
        if self._stuck is not None and now_s - self._stuck_s < LOOK_AGAIN_S:
            raise AuditStuck(self._stuck.position, self._stuck.detail)
        try:
            is_up_to_date = await self._bring_closer(head, fresh)
        except AuditStuck as error:
            self._note_stuck(error)
            raise
        self._note_stuck(None)
        return is_up_to_date

    def _note_stuck(self, stuck: AuditStuck | None) -> None:
        if stuck is not None and self._stuck is None:
            log.error("the audit topic cannot be brought up to the database", cause=str(stuck))
        self._stuck, self._stuck_s = stuck, self._clock.monotonic_s()

    async def _bring_closer(self, head: SequencerHead, fresh: Sequence[AuditBlock]) -> bool:
        is_due = self._clock.monotonic_s() - self._compared_s >= COMPARE_EVERY_S
        if self.next_position is None or is_due:
            await self._compare_ours(head)
        for block in fresh:
            if self.next_position == block.first_position:
                await self._send(unpack_block(block), is_fresh=True)
        await self._send_stored(head)
        return self.next_position is not None and self.next_position >= head.next_position

    async def lags_behind(self, head: SequencerHead) -> bool:
        """Tell whether the topic lacks what the database has numbered."""
        last = await last_event(self._source)
        return (FIRST_POSITION - 1 if last is None else last.position) + 1 < head.next_position

    async def _send_stored(self, head: SequencerHead) -> None:
        if self.next_position is None or self.next_position >= head.next_position:
            return
        blocks = await self._stored(self.next_position, BLOCKS_PER_READ)
        unbroken = _unbroken(blocks, self.next_position)
        if not unbroken:
            raise AuditStuck(self.next_position, await self._lacking(self.next_position))
        end = unbroken[-1].first_position + unbroken[-1].count
        named = [*map(hash_before, unbroken[1:]), await self._named_at(end, head)]
        for block, chain_hash in zip(unbroken, named, strict=True):
            if chain_hash not in (None, block.chain_hash):
                raise AuditStuck(block.first_position, _differing(block))
            await self._send(_unpacked(block))

    async def _named_at(self, position: int, head: SequencerHead) -> bytes | None:
        """Return the hash that whoever stands at a position has of what is before; None: unknown.

        A segment or block that was written anew is whole in itself: only what follows tells.
        """
        if position >= head.next_position:
            return head.chain_hash if position == head.next_position else None
        try:
            record = await record_at(self._reader, self._stream, position)
        except EventInvalid:
            return None  # The next turn says so.
        return None if record is None else record.previous_hash

    async def _stored(self, position: int, limit: int) -> Sequence[AuditBlock]:
        try:
            return await self._reader.audit_blocks(self._stream, position, limit=limit)
        except EventInvalid as error:
            raise AuditStuck(position, f"the archive's segment is damaged ({error})") from error

    async def _lacking(self, position: int) -> str:
        """What nobody has must not be skipped: readers would meet a gap for ever."""
        if position < (await self._reader.archive_head(self._stream)).kept_from:
            return (
                "it left the database and is not in the archive: set FILEFLUX_ARCHIVE_URL to the "
                "one that it went to"
            )
        return "the database lacks it"

    async def _send(self, records: Sequence[NumberedRecord], *, is_fresh: bool = False) -> None:
        assert self.next_position is not None, "the topic has been compared"
        missing = [record for record in records if record.position >= self.next_position]
        if not missing:
            return
        await self._check_end()
        failpoint("sequencer.before_publish")
        if self.next_position == FIRST_POSITION:
            # Alone, so that what overtook it is removed before anybody reads on.
            await self._append(missing[:1], is_fresh)
            self._own_start = self._end - 1
            await self._find_start()
            missing = missing[1:]
        if missing:
            await self._append(missing, is_fresh)
        failpoint("sequencer.after_publish")

    async def _append(self, records: Sequence[NumberedRecord], is_fresh: bool) -> None:
        try:
            last = await self._publisher.publish_all(
                AUDIT, [self._message(record, is_fresh) for record in records], partition=PARTITION
            )
        except Unavailable:
            self.next_position = None  # Some of them may be there.
            raise
        AUDIT_PUBLISHED.inc(len(records))
        before, end = self._end, last.offset + 1
        if end - before < len(records):
            self.next_position = None  # `_end` stays: the comparison shall see it, too.
            raise BrokerUnavailable(f"the audit topic was wiped: it ended at offset {before}")
        self._end = end
        self.next_position = self._follows = records[-1].position + 1
        self._sure_s = self._clock.monotonic_s()
        if records[0].position > FIRST_POSITION and end - before > len(records):
            await self._check_between(before, records[0].position)

    def _message(self, record: NumberedRecord, is_fresh: bool) -> Message:
        """What is published again, perhaps years later, is no part of its request's trace."""
        message = to_cloudevent(
            record.payload,
            position=record.position,
            stream=record.stream,
            sequence=record.sequence,
            previous_hash=record.previous_hash,
        )
        trace = (
            dict(message.headers).get("ce_traceparent") if self._is_traced and is_fresh else None
        )
        headers = message.headers if trace is None else (*message.headers, (TRACEPARENT, trace))
        return message.key, message.value, headers

    async def _check_between(self, before: int, position: int) -> None:
        """Somebody else's records came between: of a producer that was given up, most likely."""
        if not await skips_nothing(self._source, before, self._end, position):
            self.next_position = None
            await self._start_over(self._end)
            raise BrokerUnavailable("late records came into the audit topic, which begins again")

    async def _start_over(self, end: int) -> None:
        """Remove it all: a reader would meet a later record, and no one could mend that behind it.

        A broker that does not let us keeps the gap; `fileflux audit verify` shows it.
        """
        log.warning("a late record came before others; publishing the audit topic again", end=end)
        AUDIT_REWINDS.inc()
        await self._drop_before(end)

    async def _check_end(self) -> None:
        """Never append to a topic that was wiped: its readers would meet a gap at its start."""
        if self._clock.monotonic_s() - self._sure_s < CHECK_END_AFTER_S:
            return
        _, end = await self._source.bounds(AUDIT, PARTITION)
        if end != self._end:
            self.next_position = None
            raise BrokerUnavailable(f"the audit topic ends at offset {end}, not at {self._end}")

    async def _compare_ours(self, head: SequencerHead) -> None:
        try:
            await self._compare(head)
        except EventInvalid as error:
            self.next_position = None
            raise AuditStuck(
                self._follows or FIRST_POSITION,
                f"the audit topic has a record of somebody else ({error}). Let nobody else write "
                "there, and delete the topic's records: all of them are published again",
            ) from error

    async def _compare(self, head: SequencerHead) -> None:
        """Learn where the topic ends, and that it is the database's history that it holds."""
        first, end = await self._source.bounds(AUDIT, PARTITION)
        last = await self._last_of(first, end)
        position = FIRST_POSITION - 1 if last is None else last.position
        if last is not None:
            await self._check(position, last.value, head)
        start = await self._find_start()
        if start is None or not await self._is_in_order(start, end):
            position = FIRST_POSITION - 1
        known = self.next_position
        if known is not None and position + 1 < known:
            log.warning("the audit topic lost its end; publishing again", position=position + 1)
            AUDIT_REWINDS.inc()
        self.next_position = self._follows = position + 1
        self._end = end
        self._compared_s = self._sure_s = self._clock.monotonic_s()

    async def _last_of(self, first: int, end: int) -> AuditEvent | None:
        if first == end:
            return None
        record = await self._source.read_one(AUDIT, PARTITION, end - 1)
        if record is None:
            raise BrokerUnavailable("the audit topic was wiped while we looked at it")
        return from_record(record)

    async def _find_start(self) -> int | None:
        """Return where the first position is, before which readers find nothing; None if it lacks.

        The topic keeps its records for ever: whatever its first offset, a start that lacks is
        published again. What overtook it on the way to a wiped topic is removed once it is there,
        never before: an empty topic would be taken by the next late record. Where the first copy
        of it stands is looked up each time: before a later copy are records that readers need.
        Behind LATE_RECORDS_MAX nobody looks: there it is ours, or else it would be sent again.
        """
        start, own = await find_start(self._source), self._own_start
        if start is None and own is not None and await is_start(self._source, own):
            start = own
        if start is not None:
            await self._drop_before(start)
        return start

    async def _is_in_order(self, start: int, end: int) -> bool:
        """Tell whether what came since we knew the topic's end follows it; start over if not.

        `start`: where the first position is. A topic that was wiped is looked at from there on, and
        so is a small one at our start: somebody may have ended while it was filled.
        """
        if self._follows is None and end - start > LATE_RECORDS_MAX:
            return True
        offset, position = start, FIRST_POSITION
        if self._follows is not None and start <= self._end <= end:
            offset, position = self._end, self._follows
        if await skips_nothing(self._source, offset, end, position):
            return True
        await self._start_over(end)
        return False

    async def _drop_before(self, start: int) -> None:
        """A broker that does not let us leaves readers to find the beginning behind it."""
        first, _ = await self._source.bounds(AUDIT, PARTITION)
        if first == start:
            return
        try:
            await self._broker.drop_records(AUDIT, PARTITION, start)
        except BrokerUnavailable as error:
            log.warning("late records stay in the wiped audit topic", cause=str(error))

    async def _check(self, position: int, value: bytes, head: SequencerHead) -> None:
        if position >= head.next_position:
            await self._explain_lead(position)
        blocks = await self._stored(position, limit=1)
        stored = {record.position: record.payload for b in blocks for record in _unpacked(b)}
        if position not in stored:
            detail = f"nor what follows: it cannot be compared, {await self._lacking(position)}"
            raise AuditStuck(position, detail)
        if stored[position] != value:
            raise AuditTopicDiffers(
                f"the audit topic has another record at position {position} than the database: "
                "one of them belongs to another FileFlux"
            )

    async def _explain_lead(self, position: int) -> None:
        """The topic is ahead of the head we know: raise LaneLost if only of that."""
        stored = await self._reader.audit_head(self._stream)
        if position < stored.next_position:
            raise LaneLost(f"{self._stream}: somebody else numbers and publishes")
        raise AuditTopicDiffers(
            f"the audit topic ends at position {position}, the database has numbered "
            f"{stored.next_position - 1}: the database lost its end; run `fileflux rebuild` from "
            "the topic, or delete the topic if the database is meant to start anew"
        )


def _unbroken(blocks: Sequence[AuditBlock], position: int) -> Sequence[AuditBlock]:
    """Return those that continue from `position` on: one that lacks may stand between others."""
    for place, block in enumerate(blocks):
        if block.first_position > position:
            return blocks[:place]
        position = block.first_position + block.count
    return blocks


def _differing(block: AuditBlock) -> str:
    last = block.first_position + block.count - 1
    return (
        f"what is stored up to position {last} is not what its successor, or the head, was made "
        "for: one of them was changed"
    )


def _unpacked(block: AuditBlock) -> Sequence[NumberedRecord]:
    try:
        return unpack_block(block)
    except EventInvalid as error:
        raise AuditStuck(block.first_position, str(error)) from error
