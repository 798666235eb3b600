"""All audited rows of a database at one moment, in the order of their keys: a port, and its twin.

Whoever compares two databases, or digests one, reads them once, in pages, with constant memory.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fileflux.core.ids import BucketId
from fileflux.metadata.chain import first_head
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.ports import SequencerHead
from fileflux.metadata.row_keys import ROW_TYPES
from fileflux.metadata.rows import BundleRow, FloorRow, ReplicaRow, Row
from fileflux.metadata.sequencer import STREAM

TABLES: Final = tuple(ROW_TYPES)
"""Those that hold rows: `versions` waits for versioned buckets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """The sequencer's projection: what a bucket held behind the last number."""

    bucket_id: BucketId
    objects: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRow:
    """The next sequence of a stream."""

    bucket_id: BucketId
    next_sequence: int


Derived = FloorRow | UsageRow | SequenceRow | BundleRow | ReplicaRow
DERIVED_TYPES: Final[Mapping[str, type[Any]]] = {
    "floors": FloorRow,
    "usage": UsageRow,
    "sequences": SequenceRow,
    "bundles": BundleRow,
    "replicas": ReplicaRow,
}
"""What follows from the audited rows' history, or is told beside it; no part of a digest."""


class Snapshot(Protocol):
    """One moment of a database."""

    async def head(self) -> SequencerHead:
        """Return where its stream stands."""

    async def waiting(self) -> int:
        """Return how many transactions are not numbered yet: the rows are ahead of the head."""

    def pages(self, table: str) -> AsyncIterator[Sequence[Row]]:
        """Yield a table's rows in the order of their primary keys, as bytes, some at a time."""

    async def pending(self) -> Mapping[bytes, bytes]:
        """Return the blocks that `waiting` counts: id → payload."""

    def derived(self, table: str) -> AsyncIterator[Sequence[Derived]]:
        """Yield the rows of a table of `DERIVED_TYPES`, in an order, some at a time."""


class MemorySnapshot:
    """The port over dictionaries; nobody may write meanwhile."""

    def __init__(self, database: MemoryDatabase, *, page: int = 100) -> None:
        self._tables = database.tables
        self._page = page

    async def head(self) -> SequencerHead:
        head: SequencerHead | None = self._tables.get("heads", (STREAM,))
        return head or first_head(STREAM)

    async def waiting(self) -> int:
        return len(self._tables.rows("audit_pending"))

    async def pages(self, table: str) -> AsyncIterator[Sequence[Row]]:
        rows = self._tables.rows(table)
        keys = sorted(rows)
        for start in range(0, len(keys), self._page):
            yield [rows[key] for key in keys[start : start + self._page]]

    async def pending(self) -> Mapping[bytes, bytes]:
        blocks = self._tables.rows("audit_pending").values()
        return {block_id: payload for block_id, _, payload in blocks}

    async def derived(self, table: str) -> AsyncIterator[Sequence[Derived]]:
        rows = self._tables.rows(table)
        keys = sorted(rows)
        make: Callable[[Any, Any], Derived] = _MADE_OF.get(table, _as_it_is)
        for start in range(0, len(keys), self._page):
            yield [make(key, rows[key]) for key in keys[start : start + self._page]]


def _as_it_is(key: Any, row: Any) -> Any:
    return row


_MADE_OF: Final[Mapping[str, Callable[[Any, Any], Derived]]] = {
    "usage": lambda key, row: UsageRow(bucket_id=key[0], objects=row[0], size=row[1]),
    "sequences": lambda key, row: SequenceRow(bucket_id=key[0], next_sequence=row),
}
