"""The index on disk: bundle → (extent, offset), in SQLite. Blocking; safe to use from threads.

It is a convenience that the extents can rebuild, so it may lag behind them but never lead: a row is
written only after the extent's bytes were synced. Each row carries a CRC of itself, and a database
that fails in any way is deleted and made anew from the extents.

SQLite, not a memory-mapped store: a page that the disk cannot read raises an error here instead of
ending the process, and a slow one does not stop every other thread.
"""

import contextlib
import sqlite3
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fileflux.core.checksum import crc32c
from fileflux.core.errors import NodeFull
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.node_messages import DropItem
from fileflux.storage_node.durable_files import has_room
from fileflux.storage_node.extent_format import ExtentRow

SCHEMA_VERSION: Final = 1
CHECKED_PAGES_MAX: Final = 65_536
"""256 MiB: about a second of a start."""
_NO_ROOM: Final = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE")
"""How SQLite says that the disk is full: in its file, its shared memory file, its log."""
_WRITE_FAILED: Final = "SQLITE_IOERR_WRITE"
"""For any other reason: a quota that is used up, or a broken disk."""
_CHECK: Final = struct.Struct(">16sQQIII")
_SCHEMA: Final = """
CREATE TABLE bundles (bundle_id BLOB PRIMARY KEY, extent INTEGER NOT NULL, offset INTEGER NOT NULL,
  length INTEGER NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL, self_crc INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE INDEX bundles_by_extent ON bundles (extent, offset);
CREATE TABLE garbage (bundle_id BLOB NOT NULL, number INTEGER NOT NULL,
  PRIMARY KEY (bundle_id, number)) WITHOUT ROWID;
CREATE TABLE extents (extent INTEGER PRIMARY KEY, seen_end INTEGER NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
"""


class IndexUnusable(Exception):
    """The database is damaged, foreign or of another version: make it anew from the extents."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a bundle lies; `size` and `crc` are those of its seal."""

    extent: int
    offset: int
    length: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexBatch:
    """What one checkpoint adds, in one transaction.

    `seen_ends`: extent → up to where its records are in the index. `facts`: numbers and texts.
    """

    rows: Mapping[BundleId, Location] = field(default_factory=dict)
    seen_ends: Mapping[int, int] = field(default_factory=dict)
    facts: Mapping[str, int | str] = field(default_factory=dict)


class IndexDatabase:
    """One writer and one reader connection to the same file."""

    def __init__(self, path: Path, node_id: NodeId) -> None:
        """Open or make it. Raise NodeFull or IndexUnusable."""
        self._directory = path.parent
        with _trouble_as_unusable(self._directory):
            is_new = not path.exists()
            self._writer = _connect(path)
            self._reader = _connect(path)
            self._write_lock = threading.Lock()
            self._read_lock = threading.Lock()
            if is_new:
                self._make(node_id)
            elif self.fact("node_id") != node_id or self.fact("schema") != SCHEMA_VERSION:
                raise IndexUnusable("another node's, or of another version")

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    def find(self, bundle_id: BundleId) -> Location | None:
        """Return where the bundle lies; raise IndexUnusable when the row fails its CRC."""
        with self._read_lock, _trouble_as_unusable(self._directory):
            row = self._reader.execute(
                "SELECT bundle_id, extent, offset, length, size, crc, self_crc"
                " FROM bundles WHERE bundle_id = ?",
                (bundle_id,),
            ).fetchone()
        return None if row is None else _location(row)

    def store(self, batch: IndexBatch) -> None:
        """Add a checkpoint, durably, all or nothing. Raise NodeFull or IndexUnusable."""
        with self._write_lock, _trouble_as_unusable(self._directory), _transaction(self._writer):
            self._writer.executemany(
                "INSERT OR REPLACE INTO bundles VALUES (?, ?, ?, ?, ?, ?, ?)",
                (_row(bundle_id, at) for bundle_id, at in batch.rows.items()),
            )
            self._writer.executemany(
                "INSERT OR REPLACE INTO extents VALUES (?, ?)", batch.seen_ends.items()
            )
            self._writer.executemany(
                "INSERT OR REPLACE INTO facts VALUES (?, ?)", batch.facts.items()
            )

    def drop(self, items: Sequence[DropItem], present: Mapping[BundleId, frozenset[int]]) -> None:
        """Mark chunks as garbage; a bundle whose chunks are all garbage leaves the index.

        `present`: the chunk numbers that the record of a bundle has; bundles not in it are skipped.
        """
        with self._write_lock, _trouble_as_unusable(self._directory), _transaction(self._writer):
            for item in items:
                if item.bundle_id in present:
                    self._drop_one(item, present[item.bundle_id])

    def garbage_of(self, bundle_id: BundleId) -> set[int]:
        """Return the numbers of the chunks that nobody references."""
        with self._read_lock, _trouble_as_unusable(self._directory):
            rows = self._reader.execute(
                "SELECT number FROM garbage WHERE bundle_id = ?", (bundle_id,)
            ).fetchall()
        return {number for (number,) in rows}

    def page(self, after: BundleId | None, limit: int) -> list[tuple[BundleId, Location]]:
        """Return the next bundles by id."""
        with self._read_lock, _trouble_as_unusable(self._directory):
            rows = self._reader.execute(
                "SELECT bundle_id, extent, offset, length, size, crc, self_crc"
                " FROM bundles WHERE bundle_id > ? ORDER BY bundle_id LIMIT ?",
                (after or b"", limit),
            ).fetchall()
        return [(BundleId(row[0]), _location(row)) for row in rows]

    def rows_of(self, extent: int) -> list[ExtentRow]:
        """Return the bundles of one extent, by offset; raise IndexUnusable if a row is damaged."""
        with self._read_lock, _trouble_as_unusable(self._directory):
            rows = self._reader.execute(
                "SELECT bundle_id, extent, offset, length, size, crc, self_crc"
                " FROM bundles WHERE extent = ? ORDER BY offset",
                (extent,),
            ).fetchall()
        located = [(BundleId(row[0]), _location(row)) for row in rows]
        return [ExtentRow(i, at.offset, at.length, at.size, at.crc) for i, at in located]

    def seen_ends(self) -> dict[int, int]:
        """Return extent → up to where the index knows it."""
        with self._read_lock, _trouble_as_unusable(self._directory):
            return dict(self._reader.execute("SELECT extent, seen_end FROM extents"))

    def forget_extent(self, extent: int) -> int:
        """Its file is gone: its bundles leave the index. Return how many there were."""
        with self._write_lock, _trouble_as_unusable(self._directory), _transaction(self._writer):
            gone = self._writer.execute("DELETE FROM bundles WHERE extent = ?", (extent,)).rowcount
            self._writer.execute("DELETE FROM extents WHERE extent = ?", (extent,))
        return gone

    def fact(self, name: str) -> int | str | None:
        with self._read_lock, _trouble_as_unusable(self._directory):
            row = self._reader.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def check(self) -> None:
        """Raise IndexUnusable if the file is damaged. A large one is checked as it is read."""
        with self._read_lock, _trouble_as_unusable(self._directory):
            pages = self._reader.execute("PRAGMA page_count").fetchone()[0]
            if pages <= CHECKED_PAGES_MAX:
                (verdict,) = self._reader.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise IndexUnusable(str(verdict))

    def _make(self, node_id: NodeId) -> None:
        self._writer.executescript(_SCHEMA)
        self.store(IndexBatch(facts={"node_id": node_id, "schema": SCHEMA_VERSION}))

    def _drop_one(self, item: DropItem, present: frozenset[int]) -> None:
        self._writer.executemany(
            "INSERT OR IGNORE INTO garbage VALUES (?, ?)",
            [(item.bundle_id, number) for number in present.intersection(item.numbers)],
        )
        (garbage_count,) = self._writer.execute(
            "SELECT count(*) FROM garbage WHERE bundle_id = ?", (item.bundle_id,)
        ).fetchone()
        if garbage_count >= len(present):
            self._writer.execute("DELETE FROM bundles WHERE bundle_id = ?", (item.bundle_id,))
            self._writer.execute("DELETE FROM garbage WHERE bundle_id = ?", (item.bundle_id,))


def delete_database(path: Path) -> None:
    """Take the index away, so that the next start makes it anew."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def _trouble_as_unusable(directory: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name in _NO_ROOM or (name == _WRITE_FAILED and not has_room(directory)):
            raise NodeFull("no room for the index") from error
        raise IndexUnusable(str(error)) from error


def _row(bundle_id: BundleId, at: Location) -> tuple[bytes | int, ...]:
    fields = (at.extent, at.offset, at.length, at.size, at.crc)
    return (bundle_id, *fields, crc32c(_CHECK.pack(bundle_id, *fields)))


def _location(row: Sequence[object]) -> Location:
    try:
        is_right = crc32c(_CHECK.pack(*row[:6])) == row[6]
    except struct.error:
        is_right = False
    if not is_right:
        raise IndexUnusable("a row fails its CRC")
    _, extent, offset, length, size, crc = row[:6]
    return Location(extent, offset, length, size, crc)  # type: ignore[arg-type]  # Packed as numbers.
