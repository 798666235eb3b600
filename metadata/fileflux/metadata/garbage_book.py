"""Chunks that nobody references: what a batch adds to them, and what it takes back.

A restore references again what was dropped before, as long as no compactor has claimed it. What is
dropped and taken back by one batch leaves no row. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fileflux.core.ids import BundleId, UploadId
from fileflux.core.model import Chunk
from fileflux.metadata.rows import GarbageKey, GarbageRow

ChunkName = tuple[BundleId, int]


class GarbageBook:
    """`stored`: the rows that the transaction read."""

    def __init__(self, stored: Mapping[GarbageKey, GarbageRow]) -> None:
        self._stored = stored
        self._added: dict[GarbageKey, dict[int, int]] = {}
        self._taken: dict[GarbageKey, dict[int, int]] = {}
        self._rows_of: dict[ChunkName, GarbageKey] = {
            (row.bundle_id, number): key
            for key, row in stored.items()
            for number in row.chunk_numbers
        }

    def add(self, chunks: Iterable[Chunk], by: UploadId) -> None:
        """Note chunks that the change `by` dropped."""
        for chunk in chunks:
            key = (chunk.bundle_id, by)
            self._added.setdefault(key, {})[chunk.number] = chunk.size
            self._rows_of[(chunk.bundle_id, chunk.number)] = key

    def has(self, chunks: Iterable[Chunk]) -> bool:
        """Tell whether all of these chunks are garbage, and may be taken back."""
        return all((chunk.bundle_id, chunk.number) in self._rows_of for chunk in chunks)

    def take(self, chunks: Iterable[Chunk]) -> None:
        """Let these chunks be referenced again; `has` said that they may."""
        for chunk in chunks:
            key = self._rows_of.pop((chunk.bundle_id, chunk.number), None)
            if key is None:
                continue  # Taken already.
            if chunk.number in self._added.get(key, {}):
                del self._added[key][chunk.number]
            else:
                self._taken.setdefault(key, {})[chunk.number] = chunk.size

    def gone(self) -> list[GarbageKey]:
        """Return the stored rows that are to be removed; `rows` has what is left of them."""
        return list(self._taken)

    def rows(self) -> list[GarbageRow]:
        """Return the rows to be stored."""
        left = [self._left(key, taken) for key, taken in self._taken.items()]
        added = [
            GarbageRow(
                bundle_id=bundle_id,
                chunk_numbers=tuple(sorted(sizes)),
                size=sum(sizes.values()),
                dropped_by=by,
            )
            for (bundle_id, by), sizes in self._added.items()
        ]
        return [row for row in (*added, *left) if row.chunk_numbers]

    def _left(self, key: GarbageKey, taken: Mapping[int, int]) -> GarbageRow:
        row = self._stored[key]
        numbers = tuple(number for number in row.chunk_numbers if number not in taken)
        return replace(row, chunk_numbers=numbers, size=row.size - sum(taken.values()))
