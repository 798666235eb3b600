"""Records become what a materializer works on: seals that wait, commits that are not rows yet."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.changes import PutObject, PutPart
from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid
from fileflux.events.codec import decode_events
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.ports import Record
from fileflux.events.schema import BundleCommitted, UploadsSealed
from fileflux.events.topics import UPLOADS_SEALED
from fileflux.metadata.lanes import LaneBook
from fileflux.metadata.pending_seals import Mark, PendingSeal, PendingSeals

INT8_MAX: Final = 2**63 - 1
CRC_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, eq=False)
class HeldCommit:
    """A commit that is not a row yet, and the record it came in."""

    commit: BundleCommitted
    record: Record


class Intake:
    """Takes records in, each once, in order. What cannot be decoded is a dead letter.

    `held`: commits that wait for a transaction, since `held_since_s`.
    """

    def __init__(
        self, book: LaneBook, pending: PendingSeals, *, dead_letters: DeadLetters, clock: Clock
    ) -> None:
        self._book = book
        self._pending = pending
        self._dead_letters = dead_letters
        self._clock = clock
        self._records: deque[Record] = deque()
        self._before: Mark | None = None
        self.held: list[HeldCommit] = []
        self.held_since_s = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether records of an earlier fetch could not be taken in yet."""
        return bool(self._records)

    async def take(self, records: Sequence[Record]) -> list[PendingSeal]:
        """Return the seals that are new. A record is not forgotten before it is in, or set aside.

        Raise BrokerUnavailable when a dead letter could not be published: call again.
        """
        self._records += records
        new: list[PendingSeal] = []
        while self._records:
            record = self._records[0]
            if self._is_readable(record):
                new += await self._take_record(record)
            self._records.popleft()
            self._before = None
        return new

    def release(self, commits: Sequence[HeldCommit]) -> None:
        """These are rows now."""
        gone = set(commits)
        self.held = [held for held in self.held if held not in gone]
        self.held_since_s = self._clock.monotonic_s()

    def _is_readable(self, record: Record) -> bool:
        """Skip lanes of others, and seals while we are full: their lane is read again later."""
        lane = self._book.lanes.get(record.position.partition)
        if lane is None or not lane.is_ours:
            return False
        if record.position.topic != UPLOADS_SEALED:
            return True
        lane.is_parked = lane.is_parked or self._pending.is_full
        return not lane.is_parked

    async def _take_record(self, record: Record) -> list[PendingSeal]:
        if self._before is None:
            self._before = self._book.note(record)
        try:
            events = decode_events(record.value)
        except EventInvalid as error:
            await self._dead_letters.set_aside(record, f"cannot be decoded: {error}")
            return []
        new = []
        for event in events:
            if isinstance(event, UploadsSealed):
                new.append(self._pending.add(event, record, self._before))
            elif isinstance(event, BundleCommitted):
                self._take_commit(event, record)
        return [pending for pending in new if pending is not None]

    def _take_commit(self, commit: BundleCommitted, record: Record) -> None:
        if not self.held:
            self.held_since_s = self._clock.monotonic_s()
        self.held.append(HeldCommit(commit, record))
        self._pending.take(commit)


def seal_fault(seal: UploadsSealed) -> str | None:
    """Return why a seal must not take effect whatever its bundles' state; None: it may.

    A seal stores bytes and nothing else, and refers to bytes of its own bundles only.
    """
    own = {bundle.bundle_id for bundle in seal.bundles}
    for change in seal.changes:
        if not isinstance(change, PutObject | PutPart):
            return f"a seal does not carry {type(change).__name__}"
        if change.manifest.parts or any(c.bundle_id not in own for c in change.manifest.chunks):
            return "a manifest refers to bundles of another seal"
    return None


def commit_fault(commit: BundleCommitted) -> str | None:
    """Return why a commit can be no row; None: it can."""
    if not (0 <= commit.size <= INT8_MAX and 0 <= commit.node_epoch <= INT8_MAX):
        return "its size or epoch is out of range"
    if not 0 <= commit.crc <= CRC_MAX:
        return "its CRC is out of range"
    return "its node's name holds NUL" if "\x00" in commit.node_id else None
