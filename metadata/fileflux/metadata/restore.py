"""Bring a bucket, or the keys under a prefix, back as they were: as new versions, all audited.

First a hold, so that nothing that is needed goes; then the history is read; then the keys are
brought back, some in a transaction, each only if it still is what was seen. Whoever runs the same
restore again goes on: what is back already is unchanged, and what was written since the first one
began stays. The hold remembers when that was.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from fileflux.core.changes import OK, Actor, Change, CreateBucket, Outcome, ReleaseHold
from fileflux.core.clock import Clock
from fileflux.core.errors import FileFluxError, MetadataBusy
from fileflux.core.ids import BucketId, UploadId, new_id
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.apply_restore import CONTENT_GONE
from fileflux.metadata.hold_rules import kept_until_us
from fileflux.metadata.ports import Database, MetadataReader, Transaction
from fileflux.metadata.rebuild import Until
from fileflux.metadata.record_sources import DatabaseRecords, RecordSource
from fileflux.metadata.restore_bucket import RestoreRefused, bucket_again, check_made
from fileflux.metadata.restore_history import BucketHistory, Past
from fileflux.metadata.restore_moment import RestoreHold, moment_of
from fileflux.metadata.restore_plan import KeyFate, Kind, Step, Target, batches, step_for
from fileflux.metadata.rows import BucketRow, HoldRow
from fileflux.metadata.sequencer import STREAM

KEYS_PER_LOOK: Final = 500
KEYS_PER_PAGE: Final = 1_000
NUMBERED_WAIT_S: Final = 30.0
NUMBERED_POLL_S: Final = 0.1
LOOK_DEADLINE_S: Final = 60.0


class Writer(Protocol):
    """Where changes go: `DirectWriter`."""

    async def submit_together(self, *changes: Change) -> tuple[Outcome, ...]: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """`as_of`: a position, or a time. `dry_run`: nothing is written, not even a hold."""

    bucket: str
    as_of: Until
    prefix: bytes = b""
    deletes_newer: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class Restored:
    """`counts`, `sizes` (bytes): by what became of the keys, those that never changed as well.

    `kept_until_us`: before then nothing removes the bytes that a dry run would bring back; None if
    no dropped bytes are needed. `makes_bucket`: it was gone, and is made again.
    """

    position: int
    makes_bucket: bool
    counts: dict[Kind, int] = field(default_factory=dict)
    sizes: dict[Kind, int] = field(default_factory=dict)
    kept_until_us: int | None = None

    def add(self, kind: Kind, count: int, size: int) -> None:
        if not count:
            return
        self.counts[kind] = self.counts.get(kind, 0) + count
        self.sizes[kind] = self.sizes.get(kind, 0) + size


@dataclass(frozen=True, slots=True)
class Reports:
    """Who hears what: each changed key's fate; how many of how many records read, keys done."""

    key: Callable[[KeyFate], None] = lambda fate: None
    read: Callable[[int, int], None] = lambda done, total: None
    done: Callable[[int, int], None] = lambda done, total: None


Announce = Callable[[BucketId, int], Awaitable[None]]


async def tell_nobody(bucket_id: BucketId, next_position: int) -> None:
    """There is no dispatcher of webhooks."""


class Restore:
    """One run. `actor`: whom the audit stream names. `source`: where history is read instead.

    `announce`: told the id of a bucket before it is made again, and a position before that of its
    first record, so that the dispatcher looks for its notifications.
    """

    def __init__(
        self,
        reader: MetadataReader,
        database: Database,
        writer: Writer,
        *,
        actor: Actor,
        clock: Clock,
        rng: random.Random,
        reports: Reports | None = None,
        source: RecordSource | None = None,
        announce: Announce = tell_nobody,
    ) -> None:
        self._announce = announce
        self._has_changed = False
        self._reader = reader
        self._database = database
        self._writer = writer
        self._actor = actor
        self._clock = clock
        self._rng = rng
        self._source = source or DatabaseRecords(reader)
        self._reports = reports or Reports()

    async def run(self, wanted: Wanted) -> Restored:
        """Do it, or say what would be done. Raise RestoreRefused, StreamBroken, Unavailable.

        What was brought back until then stays; the same restore goes on from there.
        """
        moment = await moment_of(self._reader, self._source, wanted.as_of)
        wished = RestoreHold(self._reader, _name_of(wanted), moment)
        if wanted.dry_run:
            return await self._restore(wanted, moment.position, await wished.began_us())
        hold = await self._take(wished)
        try:
            restored = await self._restore(wanted, moment.position, hold.created_us)
        except FileFluxError as error:
            is_begun = self._has_changed or wished.goes_on
            if isinstance(error, RestoreRefused) or not is_begun:
                with suppress(FileFluxError):
                    await self._release(hold)  # There is nothing to go on with.
            raise
        await self._release(hold)
        return restored

    async def _restore(self, wanted: Wanted, position: int, began_us: int) -> Restored:
        await self._all_numbered(began_us)
        past = await self._history(wanted, position)
        found = (await self._reader.find_buckets([wanted.bucket])).get(wanted.bucket)
        bucket = _checked(wanted, past, found)
        made = [] if found is not None else [bucket_again(bucket, self._rng, self._who())]
        await self._make(made, is_dry=wanted.dry_run)
        target = Target(
            bucket_id=made[0].bucket_id if found is None else found.bucket_id,
            bucket=wanted.bucket,
            position=position,
            after_stamp=past.last_stamp,
            began_us=began_us,
            deletes_newer=wanted.deletes_newer,
            who=self._who,
        )
        restored = Restored(position, makes_bucket=bool(made))
        await self._bring_back(restored, past, target, made if wanted.dry_run else None)
        await self._count_others(restored, wanted, past, target)
        return restored

    async def _take(self, hold: RestoreHold) -> HoldRow:
        change = await hold.change(self._rng, self._who)
        (outcome,) = await self._writer.submit_together(change)
        return await hold.made(change, outcome)

    async def _release(self, hold: HoldRow) -> None:
        await self._writer.submit_together(ReleaseHold(**self._who(), hold_id=hold.hold_id))

    async def _all_numbered(self, began_us: int) -> None:
        """Return when every change before the restore began is in the stream."""
        deadline_s = self._clock.monotonic_s() + NUMBERED_WAIT_S
        while any(at <= began_us for _, at, _ in await self._reader.pending_audit(limit=1)):
            if self._clock.monotonic_s() >= deadline_s:
                raise MetadataBusy("changes wait to be numbered: does the sequencer run?")
            await self._clock.sleep(NUMBERED_POLL_S)

    async def _history(self, wanted: Wanted, position: int) -> Past:
        head = await self._reader.audit_head(STREAM)
        history = BucketHistory(
            self._source, head, wanted.bucket, prefix=wanted.prefix, report=self._reports.read
        )
        return await history.at(position)

    async def _make(self, made: Sequence[CreateBucket], *, is_dry: bool) -> None:
        """Make the bucket again, or only see whether it could be."""
        for change in made:
            if is_dry:
                _, outcomes = await self._decided([change])
            else:
                self._has_changed = True
                head = await self._reader.audit_head(STREAM)
                await self._announce(change.bucket_id, head.next_position)
                outcomes = await self._writer.submit_together(change)
            check_made(outcomes)

    async def _bring_back(
        self, restored: Restored, past: Past, target: Target, dry: Sequence[Change] | None
    ) -> None:
        """`dry`: nothing is stored; what comes before in each look. None: it is done."""
        keys = sorted(past.changed)
        for start in range(0, len(keys), KEYS_PER_LOOK):
            steps = await self._steps(keys[start : start + KEYS_PER_LOOK], past, target)
            for batch in batches(steps):
                outcomes = await (
                    self._do(batch) if dry is None else self._look(restored, batch, dry)
                )
                for fate in _fates(batch, outcomes):
                    restored.add(fate.kind, 1, fate.size)
                    self._reports.key(fate)
            self._reports.done(min(start + KEYS_PER_LOOK, len(keys)), len(keys))

    async def _steps(self, keys: Sequence[bytes], past: Past, target: Target) -> list[Step]:
        found = await self._reader.find_objects([(target.bucket, key) for key in keys])
        steps = (
            step_for(
                past.objects.get(key),
                one.current(),
                past.contents,
                changed_us=past.changed[key],
                target=target,
            )
            for key, one in zip(keys, found, strict=True)
        )
        return [step for step in steps if step is not None]

    async def _do(self, batch: Sequence[Step]) -> Sequence[Outcome]:
        changes = _changes(batch)
        self._has_changed |= bool(changes)
        return await self._writer.submit_together(*changes) if changes else ()

    async def _look(
        self, restored: Restored, batch: Sequence[Step], before: Sequence[Change]
    ) -> Sequence[Outcome]:
        dropped, outcomes = await self._decided([*before, *_changes(batch)])
        if dropped:
            kept_us = kept_until_us(min(dropped), await self._reader.holds())
            restored.kept_until_us = min(restored.kept_until_us or kept_us, kept_us)
        return outcomes[len(before) :]

    async def _decided(self, changes: Sequence[Change]) -> tuple[list[int], Sequence[Outcome]]:
        """Decide as `_do` would, by the same function, and store nothing.

        Return when each row of garbage that it would take was dropped (µs), and the outcomes.
        """

        async def decide(transaction: Transaction) -> tuple[list[int], Sequence[Outcome]]:
            rows = await transaction.load_rows(footprint(changes))
            writes, outcomes = apply(rows, changes)
            return [rows.garbage[key].at_us for key in writes.garbage_taken], outcomes

        return await self._database.run(decide, settled=_again, deadline_s=LOOK_DEADLINE_S)

    async def _count_others(
        self, restored: Restored, wanted: Wanted, past: Past, target: Target
    ) -> None:
        """Count the keys that no record behind the moment names: they are what they were."""
        after = b""
        while True:
            page = await self._reader.list_objects(
                target.bucket_id,
                prefix=wanted.prefix,
                delimiter=b"",
                after=after,
                max_keys=KEYS_PER_PAGE,
            )
            same = [row.size for row in page.rows if row.key not in past.changed]
            restored.add("unchanged", len(same), sum(same))
            if not page.truncated or page.next_after is None:
                return
            after = page.next_after

    def _who(self) -> dict[str, Any]:
        upload_id = UploadId(new_id(self._rng))
        return {"upload_id": upload_id, "actor": self._actor, "at_us": self._clock.now_us()}


async def _again() -> None:
    """A look changes nothing: after a commit without an answer it is taken again."""


def _name_of(wanted: Wanted) -> str:
    prefix = wanted.prefix.decode(errors="backslashreplace").encode("unicode_escape").decode()
    return f"restore {wanted.bucket}/{prefix}"


def _checked(wanted: Wanted, past: Past, found: BucketRow | None) -> BucketRow:
    """Return the bucket as it was; raise RestoreRefused if nobody should bring it back here."""
    if past.bucket is None:
        raise RestoreRefused(
            f"there was no bucket {wanted.bucket} at that moment: choose a later one"
        )
    if found is not None and found.owner_id != past.bucket.owner_id:
        raise RestoreRefused(
            f"the name {wanted.bucket} belongs to another user's bucket now: nothing of the former "
            "owner's is restored into it"
        )
    return past.bucket


def _changes(batch: Sequence[Step]) -> list[Change]:
    return [step.change for step in batch if step.change is not None]


def _fates(batch: Sequence[Step], outcomes: Sequence[Outcome]) -> list[KeyFate]:
    told = {outcome.upload_id: outcome for outcome in outcomes}
    return [
        step.fate if step.change is None else _fate_of(step.fate, told[step.change.upload_id])
        for step in batch
    ]


def _fate_of(planned: KeyFate, outcome: Outcome) -> KeyFate:
    if outcome.status == OK:
        return planned
    if outcome.status == "PreconditionFailed":
        return planned.but("skipped", "it was written or deleted while the restore ran")
    is_gone = outcome.status == CONTENT_GONE
    return planned.but("impossible", outcome.detail if is_gone else outcome.status)
