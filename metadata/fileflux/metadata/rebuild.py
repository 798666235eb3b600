"""Build a database from the audit stream: verify, replay, and end where the original stood.

Records come in runs; a batch of them is verified and decoded while the one before it is being
stored, so that both of a machine's cores work. Nothing is decided: effects are applied as they
were recorded. Memory holds two batches, whatever the stream's length.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import Invalid
from fileflux.core.ids import BucketId
from fileflux.metadata.chain import (
    FIRST_POSITION,
    ChainFault,
    ChainState,
    NumberedRecord,
    verify_chain,
)
from fileflux.metadata.ports import SequencerHead
from fileflux.metadata.rebuild_target import RebuildRefused, RebuildTarget
from fileflux.metadata.record_sources import RecordSource
from fileflux.metadata.replay_batch import ReplayBatch, data_of
from fileflux.metadata.rows import RowWrite

RECORDS_PER_BATCH: Final = 4_000
BYTES_PER_BATCH: Final = 4 << 20
"""A batch becomes one stored block, and blocks have at most 4 MiB, as the sequencer's."""
SEQUENCES_KEPT_MAX: Final = 100_000
OBJECTS_PER_COLLECTION: Final = 500_000
YIELD_EVERY: Final = 100
"""Records between two looks at the connection that is storing the batch before."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python look for cycles once in some batches: rows make none, and there are millions.

    For a process that does nothing else; the looking took a quarter of a rebuild's time.
    """
    former = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(OBJECTS_PER_COLLECTION, *former[1:])
    try:
        yield
    finally:
        gc.set_threshold(*former)
        gc.unfreeze()


class StreamBroken(Invalid):
    """A record is missing or changed. What stands before it is rebuilt; nothing behind it is."""


@dataclass(frozen=True, slots=True)
class Until:
    """Where to stop: behind a position, or before the first change after a time (µs)."""

    position: int | None = None
    at_us: int | None = None

    def is_beyond(self, position: int, stamp: int) -> bool:
        if self.position is not None:
            return position > self.position
        return self.at_us is not None and stamp > self.at_us


EVERYTHING: Final = Until()


def parse_until(text: str) -> Until:
    """Return what `--until`, `--from` and `--to` mean: a position, or a time of RFC 3339.

    Raise ValueError with a sentence for anything else. A time needs its offset or Z.
    """
    if text.isascii() and text.isdigit():
        if int(text) < FIRST_POSITION:
            raise ValueError(f"positions begin with {FIRST_POSITION}")
        return Until(position=int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(
            f"{text!r} is neither a position (1200) nor a time with its offset "
            "(2026-03-01T12:00:00Z)"
        )
    seconds = int(moment.replace(microsecond=0).timestamp())
    return Until(at_us=seconds * 1_000_000 + moment.microsecond)


@dataclass(frozen=True, slots=True)
class Progress:
    """`position`: the last one stored. `end`: the last one there is, None if nobody knows."""

    position: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`records`: replayed by this run. `position`: the last one in the database."""

    records: int
    position: int
    chain_hash: bytes


@dataclass(frozen=True, slots=True)
class _Prepared:
    batch: ReplayBatch
    rows: Sequence[RowWrite]
    records: Sequence[NumberedRecord]
    sequences: dict[BucketId, int]


class Rebuild:
    """One run. `report` hears of every batch that is stored."""

    def __init__(
        self,
        source: RecordSource,
        target: RebuildTarget,
        *,
        clock: Clock,
        until: Until = EVERYTHING,
        records_per_batch: int = RECORDS_PER_BATCH,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._target = target
        self._clock = clock
        self._until = until
        self._records_per_batch = records_per_batch
        self._report = report
        self._state = ChainState()
        self._sequences: dict[BucketId, int] = {}
        self._touched: dict[BucketId, int] = {}
        self._end: int | None = None
        self._is_at_until = False

    async def run(self) -> Rebuilt:
        """Replay what the target lacks; the caller finishes it.

        Raise RebuildRefused, StreamBroken, EventInvalid, and what source and target raise. What was
        stored stays, and the next run goes on behind it.
        """
        start = await self._target.begin()
        self._end = await self._source.end()
        self._check(start)
        await self._check_time()
        self._state = self._target.state()
        try:
            count = await self._replay(start.next_position)
        except StreamBroken:
            await self._target.check_alone()  # What another one stored looks like a fault here.
            raise
        reached = self._target.state()
        self._check_end(reached.next_position)
        return Rebuilt(count, reached.next_position - 1, reached.chain_hash)

    async def _replay(self, position: int) -> int:
        count = 0
        storing: asyncio.Task[None] | None = None
        try:
            async for records in self._batches(position):
                prepared = await self._prepare(records)
                if storing is not None:
                    await storing
                storing = None
                if prepared.records:
                    storing = asyncio.create_task(self._store(prepared), name="store a batch")
                    count += len(prepared.records)
                if self._is_at_until:
                    break
        finally:
            # Also before a fault comes out: what stands before it shall not be read again.
            if storing is not None:
                await storing
        return count

    async def _batches(self, position: int) -> AsyncIterator[list[NumberedRecord]]:
        waiting: list[NumberedRecord] = []
        size = 0
        async for run in self._source.read(position):
            for record in run:
                if waiting and size + len(record.payload) > BYTES_PER_BATCH:
                    yield waiting
                    waiting, size = [], 0
                waiting.append(record)
                size += len(record.payload)
                if len(waiting) == self._records_per_batch:
                    yield waiting
                    waiting, size = [], 0
        if waiting:
            yield waiting

    async def _prepare(self, records: Sequence[NumberedRecord]) -> _Prepared:
        """Verify and decode; cut at `until`. Raise StreamBroken."""
        await self._learn_sequences(records)
        batch = ReplayBatch()
        taken = await self._take(batch, records)
        before = replace(self._state, sequences=self._sequences)
        faults, state = verify_chain(taken, after=before)
        if faults:
            raise _broken(faults[0])
        self._state = state
        self._touched = {record.stream: state.sequences[record.stream] for record in taken}
        self._sequences.update(self._touched)
        return _Prepared(batch, await _decoded(batch), taken, self._touched)

    async def _take(
        self, batch: ReplayBatch, records: Sequence[NumberedRecord]
    ) -> Sequence[NumberedRecord]:
        for count, record in enumerate(records):
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            data = data_of(record)
            if self._until.is_beyond(record.position, data["stamp"]):
                self._is_at_until = True
                return records[:count]
            batch.add(data, record.position)
        return records

    async def _learn_sequences(self, records: Sequence[NumberedRecord]) -> None:
        """A stream that was never stored begins with 1; all others go on."""
        if len(self._sequences) > SEQUENCES_KEPT_MAX:
            self._sequences = dict(self._touched)  # Perhaps not stored yet.
        unknown = list({record.stream for record in records} - self._sequences.keys())
        if unknown:
            self._sequences.update(await self._target.sequences(unknown))

    async def _store(self, prepared: _Prepared) -> None:
        await self._target.store(
            prepared.batch, prepared.rows, prepared.records, prepared.sequences
        )
        last = None if self._end is None else self._end - 1
        self._report(Progress(prepared.records[-1].position, last))

    def _check(self, start: SequencerHead) -> None:
        """Refuse an `until` that cannot be reached, before anything is read."""
        wanted = self._until
        if wanted.at_us is not None and wanted.at_us > self._clock.now_us():
            raise RebuildRefused("--until is in the future: nobody knows yet what happens then")
        if wanted.position is not None and wanted.position + 1 < start.next_position:
            raise RebuildRefused(
                f"the database is rebuilt up to position {start.next_position - 1} already, beyond "
                "--until: give an empty one with --into"
            )
        if self._end is not None and self._end < start.next_position:
            raise RebuildRefused(
                f"the stream ends at position {self._end - 1}, the database was rebuilt up to "
                f"{start.next_position - 1}: it is another stream, or an older copy"
            )
        if self._end is not None and wanted.position is not None:
            self._check_end(self._end)

    async def _check_time(self) -> None:
        """An earlier run may have got further than this one shall."""
        wanted = self._until.at_us
        if wanted is not None and await self._target.last_stamp() > wanted:
            raise RebuildRefused(
                "the database is rebuilt beyond --until already: give an empty one with --into"
            )

    def _check_end(self, next_position: int) -> None:
        wanted = self._until.position
        if wanted is not None and wanted >= next_position:
            raise RebuildRefused(
                f"the stream ends at position {next_position - 1}, before --until {wanted}"
            )
        if next_position == FIRST_POSITION:
            raise RebuildRefused(
                "there is nothing to rebuild: the stream has no record"
                + ("" if self._until == EVERYTHING else " before --until")
            )


async def _decoded(batch: ReplayBatch) -> list[RowWrite]:
    rows = []
    for row in batch.writes():
        rows.append(row)
        if len(rows) % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return rows


def _broken(fault: ChainFault) -> StreamBroken:
    detail = f" ({fault.detail})" if fault.detail else ""
    return StreamBroken(
        f"the stream is broken at position {fault.position}: {fault.kind}{detail}. What stands "
        "before it can be rebuilt with --until; see also `fileflux audit verify`"
    )
