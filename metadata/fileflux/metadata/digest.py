"""A digest over all audited rows, and where two databases differ. Streaming, in constant memory.

A table's digest is SHA-256 over its rows in the order of their keys, each as canonical JSON behind
its length; so it depends on what is stored and on nothing else: not on the order on disk, the
collation or the kind of database. The whole one goes over the tables' names and digests.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from fileflux.metadata.ports import SequencerHead
from fileflux.metadata.row_json import effect_to_json, row_to_json
from fileflux.metadata.row_keys import key_of
from fileflux.metadata.rows import Row, RowWrite
from fileflux.metadata.snapshot import TABLES, Snapshot

LENGTH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class TableDigest:
    """`digest`: hexadecimal."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Digest:
    """`head`: where the stream stood. `waiting`: transactions beyond it, whose rows count here."""

    head: SequencerHead
    waiting: int
    tables: Mapping[str, TableDigest]
    whole: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same. `key`: JSON-ready. `fields`: of a changed one, those that differ.

    missing: only in the first database. extra: only in the second. changed: in both.
    """

    table: str
    key: tuple[Any, ...]
    kind: Literal["missing", "extra", "changed"]
    fields: tuple[str, ...] = ()


class TableDigester:
    """Takes a table's rows in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._count = 0

    def add(self, row: Any) -> None:
        raw = _canonical(row)
        self._digest.update(len(raw).to_bytes(LENGTH_BYTES, "big"))
        self._digest.update(raw)
        self._count += 1

    def result(self) -> TableDigest:
        return TableDigest(self._count, self._digest.hexdigest())


async def digest_of(snapshot: Snapshot) -> Digest:
    """Read everything once."""
    tables = {table: await _digest_table(snapshot, table) for table in TABLES}
    whole = hashlib.sha256()
    for table, found in tables.items():
        whole.update(f"{table} {found.rows} {found.digest}\n".encode())
    return Digest(await snapshot.head(), await snapshot.waiting(), tables, whole.hexdigest())


async def differences(first: Snapshot, second: Snapshot) -> AsyncIterator[Difference]:
    """Yield every row that differs, by tables and keys."""
    for table in TABLES:
        async for one in _table_differences(table, first, second):
            yield one


async def _digest_table(snapshot: Snapshot, table: str) -> TableDigest:
    digester = TableDigester()
    async for page in snapshot.pages(table):
        for row in page:
            digester.add(row)
    return digester.result()


async def _table_differences(
    table: str, first: Snapshot, second: Snapshot
) -> AsyncIterator[Difference]:
    ours, theirs = _rows(first, table), _rows(second, table)
    one, other = await anext(ours, None), await anext(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and _order(one) < _order(other)):
            assert one is not None, "one of them is left"
            yield Difference(table, _shown_key(one), "missing")
            one = await anext(ours, None)
        elif one is None or _order(other) < _order(one):
            yield Difference(table, _shown_key(other), "extra")
            other = await anext(theirs, None)
        else:
            fields = _changed_fields(one, other)
            if fields:
                yield Difference(table, _shown_key(one), "changed", fields)
            one, other = await anext(ours, None), await anext(theirs, None)


async def _rows(snapshot: Snapshot, table: str) -> AsyncIterator[Row]:
    async for page in snapshot.pages(table):
        for row in page:
            yield row


def _order(row: Row) -> tuple[Any, ...]:
    """Text sorts by its bytes, as the pages do."""
    return tuple(v.encode() if isinstance(v, str) else v for v in key_of(row)[1])


def _shown_key(row: Row) -> tuple[Any, ...]:
    return tuple(effect_to_json(RowWrite(*key_of(row), None))["key"])


def _changed_fields(one: Row, other: Row) -> tuple[str, ...]:
    if one == other:
        return ()
    ours, theirs = row_to_json(one), row_to_json(other)
    return tuple(name for name in ours if ours[name] != theirs[name])


def _canonical(row: Any) -> bytes:
    return orjson.dumps(row_to_json(row), option=orjson.OPT_SORT_KEYS)
