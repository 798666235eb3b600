"""Bucket names become rows: cached for a second, since every request begins with one.

A stale row is harmless: bucket ids are never reused, owners never change, and the sealing
transaction reads the bucket's row itself.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from fileflux.core.batching import Batcher
from fileflux.core.clock import Clock
from fileflux.core.errors import NoSuchBucket
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.rows import BucketRow

FRESH_S: Final = 1.0
ENTRIES_MAX: Final = 10_000


class BucketDirectory:
    """`find` answers from the cache or, with all that wait, in one statement."""

    def __init__(self, reader: MetadataReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, BucketRow]] = OrderedDict()
        self._batcher: Batcher[str, BucketRow | None] = Batcher(self._load, depth=2)

    async def find(self, name: str) -> BucketRow:
        """The bucket's row; raise NoSuchBucket. Absence is never cached."""
        known = self._known.get(name)
        if known is not None and self._clock.monotonic_s() - known[0] < FRESH_S:
            return known[1]
        row = await self._batcher.submit(name)
        if row is None:
            raise NoSuchBucket(name)
        return row

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    def forget(self, name: str) -> None:
        """After a change of ours, or an outcome NoSuchBucket: the next request asks again."""
        self._known.pop(name, None)

    async def _load(self, names: Sequence[str]) -> Sequence[BucketRow | None]:
        found = await self._reader.find_buckets(sorted(set(names)))
        now_s = self._clock.monotonic_s()
        for name in names:
            self._known.pop(name, None)
            if name in found:
                self._known[name] = (now_s, found[name])
        self._drop_stale(now_s)
        return [found.get(name) for name in names]

    def _drop_stale(self, now_s: float) -> None:
        """The oldest come first. A row may have a notification configuration of 64 KiB."""
        while self._known:
            read_s, _ = next(iter(self._known.values()))
            if now_s - read_s < FRESH_S and len(self._known) <= ENTRIES_MAX:
                return
            self._known.popitem(last=False)
