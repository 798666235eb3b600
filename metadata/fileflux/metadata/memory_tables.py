"""Dictionaries that behave like a SERIALIZABLE database: snapshot, optimistic commit, 40001.

A view remembers what it read, by key or by a whole range. Somebody else's commit that touches any
of it makes the view fail, at its next statement or at its own commit: that is what a retry of a
serialization failure is for, and it keeps every view's reads at one snapshot without copying.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

RowKey = tuple[Any, ...]
Matches = Callable[[RowKey, Any], bool]


class SerializationFailure(Exception):
    """40001: run the transaction again."""


@dataclass(frozen=True, slots=True)
class _Written:
    table: str
    key: RowKey
    before: Any
    after: Any


class MemoryTables:
    """The committed rows, and the commits that open views may conflict with."""

    def __init__(self) -> None:
        self._tables: defaultdict[str, dict[RowKey, Any]] = defaultdict(dict)
        self._by_first: defaultdict[tuple[str, Any], set[RowKey]] = defaultdict(set)
        self._commits: list[tuple[int, tuple[_Written, ...]]] = []
        self._version = 0
        self._open: defaultdict[int, int] = defaultdict(int)

    def open(self) -> "MemoryView":
        """Begin: a view of everything committed so far. Close it whatever happens."""
        self._open[self._version] += 1
        return MemoryView(self, self._version)

    def get(self, table: str, key: RowKey) -> Any:
        return self._tables[table].get(key)

    def rows(self, table: str) -> dict[RowKey, Any]:
        """Return the committed rows of a table; not to be changed."""
        return self._tables[table]

    def begins_with(self, table: str, first: Any) -> list[RowKey]:
        """Return, in order, the keys whose first column is `first`."""
        return sorted(self._by_first.get((table, first), ()))

    def since(self, version: int) -> list[_Written]:
        return [write for at, writes in self._commits if at > version for write in writes]

    def commit(self, writes: dict[tuple[str, RowKey], Any]) -> None:
        if not writes:
            return
        self._version += 1
        done = [self._store(table, key, row) for (table, key), row in writes.items()]
        self._commits.append((self._version, tuple(done)))

    def close(self, version: int) -> None:
        self._open[version] -= 1
        if not self._open[version]:
            del self._open[version]
        oldest = min(self._open, default=self._version)
        self._commits = [commit for commit in self._commits if commit[0] > oldest]

    def _store(self, table: str, key: RowKey, row: Any) -> _Written:
        before = self._tables[table].pop(key, None)
        if row is not None:
            self._tables[table][key] = row
            self._by_first[(table, key[0])].add(key)
        elif before is not None:
            self._by_first[(table, key[0])].discard(key)
        return _Written(table, key, before, row)


class MemoryView:
    """One transaction's view. Its own writes are seen by its later reads."""

    def __init__(self, tables: MemoryTables, version: int) -> None:
        self._tables = tables
        self._version = version
        self._writes: dict[tuple[str, RowKey], Any] = {}
        self._keys: set[tuple[str, RowKey]] = set()
        self._ranges: list[tuple[str, Matches]] = []

    def get(self, table: str, key: RowKey) -> Any:
        """Return the row with this primary key, None if there is none."""
        self._keys.add((table, key))
        self._check(lambda write: (write.table, write.key) == (table, key))
        if (table, key) in self._writes:
            return self._writes[(table, key)]
        return self._tables.get(table, key)

    def begins_with(self, table: str, first: Any) -> list[tuple[RowKey, Any]]:
        """Return, in order, the rows whose first key column is `first`."""
        self._guard(table, lambda key, _: key[0] == first)
        keys = set(self._tables.begins_with(table, first))
        keys.update(key for name, key in self._writes if name == table and key[0] == first)
        return self._present(table, sorted(keys))

    def where(self, table: str, matches: Matches) -> list[tuple[RowKey, Any]]:
        """Return, in order, the rows of a table that match. Reads the whole table."""
        self._guard(table, matches)
        keys = set(self._tables.rows(table))
        keys.update(key for name, key in self._writes if name == table)
        return [(key, row) for key, row in self._present(table, sorted(keys)) if matches(key, row)]

    def put(self, table: str, key: RowKey, row: Any) -> None:
        self._writes[(table, key)] = row

    def remove(self, table: str, key: RowKey) -> None:
        self._writes[(table, key)] = None

    def commit(self) -> None:
        """Make the writes visible at once; raise SerializationFailure if what was read changed."""
        if self._writes:
            self._check(self._was_read)
            self._tables.commit(self._writes)

    def close(self) -> None:
        self._tables.close(self._version)

    def _present(self, table: str, keys: list[RowKey]) -> list[tuple[RowKey, Any]]:
        rows = ((key, self._current(table, key)) for key in keys)
        return [(key, row) for key, row in rows if row is not None]

    def _current(self, table: str, key: RowKey) -> Any:
        if (table, key) in self._writes:
            return self._writes[(table, key)]
        return self._tables.get(table, key)

    def _guard(self, table: str, matches: Matches) -> None:
        self._ranges.append((table, matches))
        self._check(lambda write: write.table == table and _touches(write, matches))

    def _was_read(self, write: _Written) -> bool:
        if (write.table, write.key) in self._keys:
            return True
        return any(
            write.table == table and _touches(write, matches) for table, matches in self._ranges
        )

    def _check(self, conflicts: Callable[[_Written], bool]) -> None:
        if any(conflicts(write) for write in self._tables.since(self._version)):
            raise SerializationFailure


def _touches(write: _Written, matches: Matches) -> bool:
    return (write.before is not None and matches(write.key, write.before)) or (
        write.after is not None and matches(write.key, write.after)
    )
