"""Number and chain the records of committed transactions; then the topic gets them.

A writer leaves its records in a pending block and touches no shared counter. The sequencer reads
what is pending at one snapshot, and one short transaction moves its head, stores the numbered block
and removes the pending ones. The head moves by compare-and-set: of two sequencers one finds it
moved and stands by, and takes over when the turn stands still although there is work.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from fileflux.core.clock import Clock
from fileflux.core.errors import FileFluxError, LaneLost, SettlementUnknown
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import BucketId
from fileflux.core.model import MIB
from fileflux.core.telemetry import AUDIT_NUMBERED, AUDIT_PENDING, AUDIT_STUCK, get_logger
from fileflux.metadata.audit_publisher import AuditPublisher, AuditStuck
from fileflux.metadata.chain import number_blocks, streams_of, unpack_block
from fileflux.metadata.checkpointer import Checkpointer
from fileflux.metadata.ports import (
    AuditBlock,
    Database,
    MetadataReader,
    SequencerHead,
    Transaction,
)

log = get_logger(__name__)

STREAM: Final = "main"
"""The one stream set of a cluster, until there are more."""
POLL_S: Final = 0.1
"""Audit records are read by people and machines a moment later; numbering shares one fsync."""
PENDING_BLOCKS_MAX: Final = 512
BLOCK_BYTES_MAX: Final = 4 * MIB
"""Of one stored block; one transaction's records alone may be more."""
TAKE_OVER_AFTER_S: Final = 3.0
WATCH_S: Final = 0.5
RETRY_S: Final = 0.25
TRANSACTION_DEADLINE_S: Final = 10.0

Pending = Sequence[tuple[bytes, int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencerDependencies:
    database: Database
    reader: MetadataReader
    publisher: AuditPublisher
    clock: Clock
    checkpointer: Checkpointer | None = None
    stream: str = STREAM
    poll_s: float = POLL_S


class Sequencer:
    """One loop. `problem`: why the last turn failed; `turned_s`: when it ended."""

    def __init__(self, deps: SequencerDependencies) -> None:
        self._database = deps.database
        self._reader = deps.reader
        self._publisher = deps.publisher
        self._checkpointer = deps.checkpointer
        self._clock = deps.clock
        self._stream = deps.stream
        self._poll_s = deps.poll_s
        self._head: SequencerHead | None = None
        self._is_leader = True
        self._still_since_s = self._clock.monotonic_s()
        self._stuck: str | None = None
        self.problem: str | None = "not started yet"
        self.turned_s = self._clock.monotonic_s()

    @property
    def is_leader(self) -> bool:
        return self._is_leader

    async def run(self, stopping: asyncio.Event) -> None:
        """Number and publish until `stopping`. Raise AuditTopicDiffers when a person must look."""
        while not stopping.is_set():
            await self.turn()

    async def turn(self) -> None:
        """Do one step, and rest if there was nothing to do or somebody did not answer."""
        rest_s = self._poll_s
        try:
            if await self.step():
                rest_s = 0.0
            self.problem = self._stuck
        except (FileFluxError, SettlementUnknown) as error:
            if not (error.retriable or isinstance(error, SettlementUnknown)):
                raise
            self._head = None
            self.problem = str(error)
            rest_s = RETRY_S
            log.info("sequencing again after a passing fault", cause=repr(error))
        self.turned_s = self._clock.monotonic_s()
        if rest_s:
            await self._clock.sleep(rest_s)

    async def step(self) -> bool:
        """Number what is pending and publish; return whether there is more at once."""
        if not self._is_leader:
            return await self._watch()
        if self._head is None:
            self._head = await self._reader.audit_head(self._stream)
        pending = await self._reader.pending_audit(limit=PENDING_BLOCKS_MAX)
        AUDIT_PENDING.set(len(pending))
        run = _first_of(pending)
        try:
            fresh = [await self._number(self._head, run)] if run else []
            is_up_to_date = await self._publish(self._head, fresh)
            if self._checkpointer is not None and is_up_to_date and self._stuck is None:
                await self._checkpointer.step(self._head)
        except LaneLost:
            self._stand_by()
            return False
        is_all = len(run) == len(pending) < PENDING_BLOCKS_MAX
        return not (is_all and is_up_to_date)

    async def _publish(self, head: SequencerHead, fresh: Sequence[AuditBlock]) -> bool:
        """Return whether there is nothing to publish at once: all is there, or a person must look.

        Numbers follow from the head and what is pending, never from what cannot be published.
        """
        try:
            is_up_to_date = await self._publisher.publish(head, fresh)
        except AuditStuck as error:
            self._note_stuck(error)
            return True
        self._note_stuck(None)
        return is_up_to_date

    def _note_stuck(self, error: AuditStuck | None) -> None:
        self._stuck = None if error is None else str(error)
        AUDIT_STUCK.set(0 if error is None else error.position)

    async def _number(self, head: SequencerHead, pending: Pending) -> AuditBlock:
        """Give the pending blocks their numbers, all or none; raise LaneLost."""
        sequences = await self._reader.bucket_sequences(list(streams_of(pending)))
        block, after, touched = number_blocks(head, pending, sequences)
        usage = usage_in(record.payload for record in unpack_block(block))

        async def number(transaction: Transaction) -> bool:
            await transaction.move_head(head, after)
            await transaction.number_pending([name for name, _, _ in pending], block, touched)
            await transaction.add_usage(usage)
            return True

        async def settled() -> bool | None:
            return await self._is_numbered(head, after)

        await self._database.run(number, settled=settled, deadline_s=TRANSACTION_DEADLINE_S)
        failpoint("sequencer.after_number")
        AUDIT_NUMBERED.inc(block.count)
        self._head = after
        return block

    async def _is_numbered(self, before: SequencerHead, after: SequencerHead) -> bool | None:
        """After a commit of which nobody knows: True, None if it did not apply, or LaneLost."""
        stored = await self._reader.audit_head(self._stream)
        if stored == after:
            return True
        if stored == before:
            return None
        raise LaneLost(f"{self._stream}: somebody else numbers")

    def _stand_by(self) -> None:
        log.info("another sequencer numbers this stream; standing by", stream=self._stream)
        self._is_leader = False
        self._note_stuck(None)
        self._head = None
        self._still_since_s = self._clock.monotonic_s()

    async def _watch(self) -> bool:
        """Take over when the turn stands still and something waits."""
        head = await self._reader.audit_head(self._stream)
        now_s = self._clock.monotonic_s()
        if head != self._head:
            self._head, self._still_since_s = head, now_s
        elif now_s - self._still_since_s >= TAKE_OVER_AFTER_S and await self._has_work(head):
            await self._take_over(head)
            return True
        await self._clock.sleep(WATCH_S)
        return False

    async def _has_work(self, head: SequencerHead) -> bool:
        if await self._reader.pending_audit(limit=1):
            return True
        return await self._publisher.lags_behind(head)

    async def _take_over(self, head: SequencerHead) -> None:
        after = replace(head, turn=head.turn + 1)

        async def move(transaction: Transaction) -> bool:
            await transaction.move_head(head, after)
            return True

        try:
            await self._database.run(move, settled=lambda: self._is_numbered(head, after))
        except LaneLost:
            self._head = None
            return
        log.info("taking over a stream that stood still", stream=self._stream)
        self._head, self._is_leader = after, True


def _first_of(pending: Pending) -> Pending:
    """Return the blocks that one numbered block shall hold, at least one if there is one."""
    size = 0
    for count, (_, _, payload) in enumerate(pending):
        size += len(payload)
        if count and size > BLOCK_BYTES_MAX:
            return pending[:count]
    return pending


def usage_in(payloads: Iterable[bytes]) -> dict[BucketId, tuple[int, int]]:
    """Return what these records change in each bucket's (objects, bytes)."""
    usage: dict[BucketId, tuple[int, int]] = {}
    for payload in payloads:
        facts = orjson.loads(payload)["data"]["facts"]
        for name, (objects, size) in facts.get("usage", {}).items():
            bucket_id = BucketId(bytes.fromhex(name))
            before = usage.get(bucket_id, (0, 0))
            usage[bucket_id] = (before[0] + objects, before[1] + size)
    return usage
