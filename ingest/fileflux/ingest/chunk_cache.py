"""Verified small chunks in memory, the least recently used leave first.

A chunk is immutable, so what is here is never stale; the manifest is read for every request.
"""

from collections import OrderedDict
from typing import Final

from fileflux.core.ids import BundleId
from fileflux.core.telemetry import CACHE_HITS, CACHE_MISSES

ENTRY_BYTES: Final = 256
"""What an entry costs besides its bytes."""

Key = tuple[BundleId, int, int, int]
"""(bundle, chunk number, start, length): a copied part may know only a slice of a chunk."""


class ChunkCache:
    """At most `limit_bytes`, entries' own cost included; 0 keeps nothing."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chunks: OrderedDict[Key, bytes] = OrderedDict()
        self.used_bytes = 0

    def get(self, key: Key) -> bytes | None:
        data = self._chunks.get(key)
        if data is None:
            CACHE_MISSES.inc()
            return None
        self._chunks.move_to_end(key)
        CACHE_HITS.inc()
        return data

    def put(self, key: Key, data: bytes) -> None:
        cost = len(data) + ENTRY_BYTES
        if key in self._chunks or cost > self._limit_bytes // 8:
            return
        self._chunks[key] = data
        self.used_bytes += cost
        while self.used_bytes > self._limit_bytes:
            _, dropped = self._chunks.popitem(last=False)
            self.used_bytes -= len(dropped) + ENTRY_BYTES
