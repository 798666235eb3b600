"""The database as many event streams read it: few at a time, and none twice for one block.

A block is larger than what a stream takes at once. What is left of a page waits a moment for the
same stream to come back; how much waits is bounded, whoever comes.
"""

import asyncio
from collections import OrderedDict
from typing import Final

from fileflux.core.model import MIB
from fileflux.metadata.audit_places import AuditPlace, Run, within

READS_MAX: Final = 2
PAGE_BYTES: Final = MIB
PAGES_KEPT: Final = 8


class SharedPlace:
    """An `AuditPlace` before another one."""

    def __init__(self, place: AuditPlace) -> None:
        self.name = place.name
        self._place = place
        self._turns = asyncio.Semaphore(READS_MAX)
        self._kept: OrderedDict[int, Run] = OrderedDict()

    async def read(self, position: int, *, bytes_max: int) -> Run:
        found = self._kept.pop(position, ())
        if not found:
            async with self._turns:
                size = PAGE_BYTES if bytes_max > 1 else bytes_max  # A look-up takes one block.
                found = await self._place.read(position, bytes_max=size)
        run = within(found, bytes_max)
        if len(run) < len(found) and bytes_max > 1:
            self._keep(found[len(run) :])
        return run

    async def end(self) -> int:
        return await self._place.end()

    def _keep(self, rest: Run) -> None:
        self._kept[rest[0].position] = rest
        if len(self._kept) > PAGES_KEPT:
            self._kept.popitem(last=False)
