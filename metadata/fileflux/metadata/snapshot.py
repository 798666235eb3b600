"""All audited rows of a database at one moment, in the order of their keys: a port, and its twin.

Whoever compares two databases, or digests one, reads them once, in pages, with constant memory.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from fileflux.metadata.chain import first_head
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.ports import SequencerHead
from fileflux.metadata.row_keys import ROW_TYPES
from fileflux.metadata.rows import Row
from fileflux.metadata.sequencer import STREAM

TABLES: Final = tuple(ROW_TYPES)
"""Those that hold rows: `versions` waits for versioned buckets."""


class Snapshot(Protocol):
    """One moment of a database."""

    async def head(self) -> SequencerHead:
        """Return where its stream stands."""

    async def waiting(self) -> int:
        """Return how many transactions are not numbered yet: the rows are ahead of the head."""

    def pages(self, table: str) -> AsyncIterator[Sequence[Row]]:
        """Yield a table's rows in the order of their primary keys, as bytes, some at a time."""


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
