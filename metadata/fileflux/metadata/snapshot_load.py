"""Put a snapshot into an empty database, so that a rebuild goes on behind its position.

Every part is compared with its digest before anything is stored, and every table's rows as they
are stored. Until all of it is there the database is marked: no service starts on it, and no rebuild
goes on. What comes then is the usual rebuild: the next record must continue the chain.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fileflux.core.errors import EventInvalid, Invalid, LaneLost
from fileflux.metadata.archive import SEGMENTS, Archive, NotArchived, next_object, span_of
from fileflux.metadata.archive_blocks import first_archive_head, segment_at
from fileflux.metadata.chain import FIRST_HASH, block_of, first_head
from fileflux.metadata.digest import TableDigester
from fileflux.metadata.ports import (
    ArchiveHead,
    Database,
    MetadataReader,
    SequencerHead,
    Transaction,
)
from fileflux.metadata.rebuild import Until
from fileflux.metadata.rebuild_target import (
    LOADING,
    NOT_ALONE,
    PROGRESS,
    TRANSACTION_DEADLINE_S,
    WHOLE,
    RebuildRefused,
)
from fileflux.metadata.row_keys import ROW_TYPES, key_of
from fileflux.metadata.rows import RowWrite, Writes
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.snapshot_format import Manifest, decode_manifest, decode_part, position_in

NAMES_PER_LOOK: Final = 1_000


class SnapshotInvalid(Invalid):
    """A snapshot was changed, or is not whole. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A snapshot in the archive. `problem`: why no rebuild can begin with it, empty if one can."""

    name: str
    manifest: Manifest | None
    problem: str


async def list_snapshots(archive: Archive, *, stream: str = STREAM) -> list[Listed]:
    """Return the snapshots that there are, by position, whole or not."""
    prefix, after = f"{stream}/snapshots/", ""
    found: list[Listed] = []
    while names := await archive.names(prefix, after=after, limit=NAMES_PER_LOOK):
        after = names[-1]
        found += [await _listed(archive, name) for name in names if position_in(name) is not None]
    return found


async def choose(archive: Archive, wanted: int | None, until: Until) -> Manifest:
    """Return the newest snapshot that a rebuild until then may begin with, or that at `wanted`.

    Raise RebuildRefused if there is none.
    """
    found = await list_snapshots(archive)
    fitting = [
        one.manifest
        for one in found
        if one.manifest is not None
        and not one.problem
        and wanted in (None, one.manifest.position)
        and _is_whole_before(one.manifest, until)
    ]
    if fitting:
        return fitting[-1]
    which = "" if wanted is None else f" at position {wanted}"
    raise RebuildRefused(
        f"the archive has no snapshot{which} to begin with: see `fileflux snapshot list`. One "
        "is of use when the archive has the records up to its position, and --until is not "
        "before it is whole; without --snapshot a rebuild begins with the first record"
    )


class SnapshotLoader:
    """`report` hears how many of how many parts are stored."""

    def __init__(
        self,
        archive: Archive,
        database: Database,
        reader: MetadataReader,
        *,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._archive = archive
        self._database = database
        self._reader = reader
        self._report = report
        self._usage: dict[Any, tuple[int, int]] = {}
        self._sequences: dict[Any, int] = {}

    async def load(self, manifest: Manifest) -> None:
        """Store it all. The database is empty. Raise SnapshotInvalid, RebuildRefused."""
        await self._check_chain(manifest)
        await self._check_parts(manifest)
        loading = SequencerHead(PROGRESS, 1, 1, LOADING)
        await self._run(_moves(first_head(PROGRESS), loading), loading)
        digesters: dict[str, TableDigester] = {name: TableDigester() for name in manifest.tables}
        for count, part in enumerate(manifest.parts, 1):
            rows = decode_part(part, await self._archive.get(part.name))
            await self._store(list(rows), digesters)
            self._report(count, len(manifest.parts))
        for table, told in manifest.tables.items():
            if digesters[table].result() != told:
                raise SnapshotInvalid(
                    f"{manifest.name}: the rows of {table} have another digest than it says. The "
                    "database holds a part of it: drop it, and rebuild without this snapshot"
                )
        await self._finish(manifest, loading)

    async def _check_chain(self, manifest: Manifest) -> None:
        """The archive's own record at that position must be the snapshot's."""
        segment = await segment_at(self._archive, manifest.stream, manifest.position)
        if segment is None or manifest.last not in segment.records:
            raise SnapshotInvalid(
                f"{manifest.name}: the archived record at position {manifest.position} is another "
                "one: the snapshot belongs to another FileFlux, or was changed"
            )

    async def _check_parts(self, manifest: Manifest) -> None:
        for part in manifest.parts:
            try:
                raw = await self._archive.get(part.name)
                tables = {table for table, _ in decode_part(part, raw)}
            except (EventInvalid, NotArchived) as error:
                raise SnapshotInvalid(
                    f"{manifest.name} cannot be used: {error}. Choose another one, or rebuild "
                    "without --snapshot"
                ) from error
            if not tables <= manifest.tables.keys():
                raise SnapshotInvalid(f"{part.name} has rows that its snapshot does not name")

    async def _store(
        self, rows: list[tuple[str, Any]], digesters: Mapping[str, TableDigester]
    ) -> None:
        tables: dict[str, list[Any]] = {}
        for table, row in rows:
            digesters[table].add(row)
            tables.setdefault(table, []).append(row)
        audited = [row for table, found in tables.items() if table in ROW_TYPES for row in found]
        writes = Writes(
            stamp=0,
            rows={key_of(row): RowWrite(*key_of(row), row) for row in audited},
            floors=tables.get("floors", []),
            bundles_live=tables.get("bundles", []),
        )
        self._usage |= {one.bucket_id: (one.objects, one.size) for one in tables.get("usage", [])}
        self._sequences |= {one.bucket_id: one.next_sequence for one in tables.get("sequences", [])}

        async def work(transaction: Transaction) -> bool:
            await transaction.store_writes(writes)
            await transaction.store_replicas(tables.get("replicas", []))
            return True

        await self._database.run(work, settled=_again, deadline_s=TRANSACTION_DEADLINE_S)

    async def _finish(self, manifest: Manifest, loading: SequencerHead) -> None:
        block = block_of(manifest.stream, [manifest.last])
        after = SequencerHead(PROGRESS, 2, manifest.position + 1, block.chain_hash)
        whole = SequencerHead(WHOLE, 1, manifest.whole_at + 1, FIRST_HASH)
        first = first_archive_head(manifest.stream)
        archived = ArchiveHead(
            manifest.stream,
            turn=1,
            next_position=manifest.position + 1,
            chain_hash=block.chain_hash,
            kept_from=manifest.position,
            next_checkpoint=first.next_checkpoint,
        )

        async def work(transaction: Transaction) -> bool:
            await transaction.move_head(loading, after)
            await transaction.move_head(first_head(WHOLE), whole)
            await transaction.move_archive_head(first, archived)
            await transaction.number_pending([], block, self._sequences)
            await transaction.add_usage(self._usage)
            return True

        await self._run(work, after)

    async def _run(
        self, work: Callable[[Transaction], Awaitable[bool]], after: SequencerHead
    ) -> None:
        async def settled() -> bool | None:
            return True if await self._reader.audit_head(after.stream) == after else None

        try:
            await self._database.run(work, settled=settled, deadline_s=TRANSACTION_DEADLINE_S)
        except LaneLost as error:
            raise RebuildRefused(NOT_ALONE) from error


def _moves(before: SequencerHead, after: SequencerHead) -> Callable[[Transaction], Awaitable[bool]]:
    async def work(transaction: Transaction) -> bool:
        await transaction.move_head(before, after)
        return True

    return work


async def _again() -> bool | None:
    """Rows that were stored are stored again: it is the same."""
    return None


def _is_whole_before(manifest: Manifest, until: Until) -> bool:
    if until.position is not None:
        return manifest.whole_at <= until.position
    return until.at_us is None or manifest.whole_us <= until.at_us


async def _listed(archive: Archive, name: str) -> Listed:
    try:
        manifest = decode_manifest(await archive.get(name))
    except (EventInvalid, NotArchived) as error:
        return Listed(name, None, str(error))
    if manifest.name != name:
        return Listed(name, None, "it holds the manifest of another snapshot")
    if not await _has_records(archive, manifest.stream, manifest.position):
        return Listed(name, manifest, "the archive has not the records up to its position yet")
    return Listed(name, manifest, "")


async def _has_records(archive: Archive, stream: str, position: int) -> bool:
    name = await next_object(archive, stream, SEGMENTS, position)
    span = None if name is None else span_of(name)
    return span is not None and span.first <= position
