"""Where a rebuild writes: an empty database, and how far it got.

Each batch is one transaction that also moves the head of the stream set `rebuild`, by
compare-and-set. So a rebuild that was killed goes on behind its last batch, and of two rebuilds
into one database one stops. The head that the sequencer goes on from appears with the last step:
until then the database is unfinished, and services refuse it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import Invalid, LaneLost
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import BucketId
from fileflux.metadata.chain import ChainState, NumberedRecord, block_of, first_head, unpack_block
from fileflux.metadata.ports import Database, MetadataReader, SequencerHead, Transaction
from fileflux.metadata.replay_batch import ReplayBatch, data_of
from fileflux.metadata.rows import FloorRow, Footprint, ReplicaRow, RowWrite, Writes
from fileflux.metadata.seals import SEAL_LIFE_US
from fileflux.metadata.sequencer import STREAM

PROGRESS: Final = "rebuild"
WHOLE: Final = "rebuild-whole"
"""Head of what a snapshot needs: before this position its rows may be ahead of the records."""
LOADING: Final = b"\xff" * 32
"""The hash of `PROGRESS` while a snapshot is being loaded."""
Work = Callable[[Transaction], Awaitable[bool]]
CLOCK_SLACK_US: Final = 10_000_000
"""The new database's clock may not be the old one's."""
WAIT_POLL_S: Final = 1.0
TRANSACTION_DEADLINE_S: Final = 60.0
"""A batch has some thousand rows, and nobody waits for it."""

NOT_ALONE: Final = "somebody else writes into the database: is another rebuild running?"


class RebuildRefused(Invalid):
    """This cannot be rebuilt into that database. The message says what to do."""


async def refuse_unfinished(reader: MetadataReader, *, stream: str = STREAM) -> None:
    """Raise RebuildRefused when a rebuild into this database has not ended: no service starts."""
    rebuilding = await reader.audit_head(PROGRESS)
    if rebuilding.turn and not (await reader.audit_head(stream)).turn:
        raise RebuildRefused(
            f"the database is being rebuilt, up to position {rebuilding.next_position - 1}: run "
            "`fileflux rebuild` again, it goes on where it was; if it was a salvage that stopped, "
            "salvage into an empty database"
        )


class RebuildTarget:
    """`begin`, then `store` in order, then `finish`. Has no owner: it opens nothing."""

    def __init__(self, database: Database, reader: MetadataReader, *, stream: str = STREAM) -> None:
        self._database = database
        self._reader = reader
        self._stream = stream
        self._progress = first_head(PROGRESS)

    async def begin(self) -> SequencerHead:
        """Return how far an earlier run got; raise RebuildRefused unless empty or unfinished."""
        self._progress = await self._reader.audit_head(PROGRESS)
        if self._progress.chain_hash == LOADING:
            raise RebuildRefused(
                "a snapshot was being loaded into the database, which cannot go on: drop it, and "
                "give an empty one with --into"
            )
        main = await self._reader.audit_head(self._stream)
        if not self._progress.turn and (main.turn or await self._reader.holds_anything()):
            raise RebuildRefused(
                "the database is not empty, and a rebuild overwrites nothing: give an empty one "
                "(CREATE DATABASE …) with --into"
            )
        if main.turn:
            last = self._progress.next_position - 1
            raise RebuildRefused(
                f"the database is rebuilt already, up to position {last}: start FileFlux on it, or "
                "give an empty one with --into"
            )
        return self._progress

    async def sequences(self, streams: Sequence[BucketId]) -> dict[BucketId, int]:
        """Return the next sequence of each stream that was stored."""
        return await self._reader.bucket_sequences(streams)

    async def store(
        self,
        batch: ReplayBatch,
        rows: Sequence[RowWrite],
        records: Sequence[NumberedRecord],
        sequences: Mapping[BucketId, int],
    ) -> None:
        """Store a batch, its decoded rows and the records that made it, all or nothing.

        `sequences`: the next one of every stream of these records. Raise RebuildRefused when
        another rebuild writes into the same database.
        """
        before = self._progress
        block = block_of(self._stream, records)
        next_position = records[-1].position + 1
        after = SequencerHead(PROGRESS, before.turn + 1, next_position, block.chain_hash)
        written = {(row.table, row.key): row for row in rows}

        async def work(transaction: Transaction) -> bool:
            named: list[FloorRow] = []
            if batch.unnamed:
                users = batch.unnamed_users()
                found = await transaction.load_rows(
                    Footprint(bucket_ids=batch.unnamed_buckets(), user_ids=users)
                )
                named = batch.name_floors(found)
            # A stored row is older than one that came and went under its name in this batch.
            floors = {(floor.table, floor.key): floor for floor in named} | batch.floors
            bundles = list(batch.bundles.values())
            writes = Writes(
                stamp=batch.stamp,
                rows=written,
                floors=list(floors.values()),
                bundles_live=bundles,
            )
            await transaction.move_head(before, after)
            await transaction.store_writes(writes)
            await transaction.store_replicas(list(batch.replicas.values()))
            await transaction.number_pending([], block, sequences)
            await transaction.add_usage(batch.usage)
            return True

        failpoint("rebuild.before_batch")
        await self._run(work, after)
        failpoint("rebuild.after_batch")
        self._progress = after

    async def store_replicas(self, replicas: Sequence[ReplicaRow]) -> None:
        """Store what a node says that it holds. Twice is the same as once."""

        async def work(transaction: Transaction) -> bool:
            await transaction.store_replicas(replicas)
            return True

        async def ask_again() -> bool | None:
            return None

        await self._database.run(work, settled=ask_again, deadline_s=TRANSACTION_DEADLINE_S)

    async def outlive_seals(self, clock: Clock) -> None:
        """Return when no seal can still apply that the lost database had applied already.

        Settlements are not audited, and the broker may still hold the seals. One that is read again
        before its deadline would apply again, and bring back what was deleted or replaced since.
        """
        expired_us = await self.last_stamp() + SEAL_LIFE_US + CLOCK_SLACK_US
        while (left_us := expired_us - await self._reader.clock_us()) > 0:
            await clock.sleep(min(left_us / 1_000_000, WAIT_POLL_S))

    async def finish(self) -> SequencerHead:
        """Give the sequencer its head; return it. From here on services start.

        Raise RebuildRefused while rows of a snapshot are ahead of the records.
        """
        done = self._progress
        whole = (await self._reader.audit_head(WHOLE)).next_position
        if done.next_position < whole:
            raise RebuildRefused(
                f"the records end at position {done.next_position - 1}, and the snapshot is whole "
                f"from {whole - 1} on: give a source that has them, or begin without --snapshot"
            )
        head = SequencerHead(self._stream, 1, done.next_position, done.chain_hash)

        async def work(transaction: Transaction) -> bool:
            await transaction.move_head(first_head(self._stream), head)
            return True

        await self._run(work, head)
        return head

    async def check_alone(self) -> None:
        """Raise RebuildRefused when somebody else has stored something since `begin`."""
        if await self._reader.audit_head(PROGRESS) != self._progress:
            raise RebuildRefused(NOT_ALONE)

    async def last_stamp(self) -> int:
        """Return the stamp of the last record that is stored, 0 if there is none."""
        last = self._progress.next_position - 1
        blocks = await self._reader.audit_blocks(self._stream, last, limit=1)
        found = [record for block in blocks for record in unpack_block(block)]
        stamp: int = data_of(found[-1])["stamp"] if found else 0
        return stamp

    def state(self) -> ChainState:
        """Return where the chain stands. Sequences are asked for as they are needed."""
        return ChainState(self._progress.next_position, self._progress.chain_hash)

    async def _run(self, work: Work, after: SequencerHead) -> None:
        async def settled() -> bool | None:
            return True if await self._reader.audit_head(after.stream) == after else None

        try:
            await self._database.run(work, settled=settled, deadline_s=TRANSACTION_DEADLINE_S)
        except LaneLost as error:
            raise RebuildRefused(NOT_ALONE) from error
