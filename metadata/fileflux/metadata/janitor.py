"""Forget what nobody will ask for any more: settlements and floors, a slice of them at a time.

A settlement answers re-emissions, a floor makes a successor's stamp larger; after seven days
neither can be needed. A step removes one of many slices of the ids, so it never holds anybody up,
and a round of all slices takes about a day.
"""

import asyncio
import contextlib
import random
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import Unavailable
from fileflux.core.telemetry import HISTORY_HOLDS, get_logger
from fileflux.metadata.hold_rules import in_force
from fileflux.metadata.ports import Database, MetadataReader, Transaction

log = get_logger(__name__)

KEEP_US: Final = 7 * 24 * 3600 * 1_000_000
SLICES: Final = 4_096
STEP_S: Final = 20.0
RETRY_S: Final = 1.0
"""After a passing fault: until the next step the process says that it is not ready."""
END: Final = b"\xff" * 2_000
"""Above every id and every floor's key."""


class Janitor:
    """A worker: it runs beside the sequencer. Two of them do no harm."""

    def __init__(
        self,
        database: Database,
        reader: MetadataReader,
        *,
        clock: Clock,
        rng: random.Random,
        keep_us: int = KEEP_US,
        step_s: float = STEP_S,
    ) -> None:
        self._database = database
        self._reader = reader
        self._clock = clock
        self._keep_us = keep_us
        self._step_s = step_s
        self._slice = rng.randrange(SLICES)
        self.problem: str | None = None
        self.turned_s = clock.monotonic_s()

    async def run(self, stopping: asyncio.Event) -> None:
        """Forget a slice every few seconds until `stopping`."""
        while not stopping.is_set():
            try:
                await self.step()
                self.problem = None
            except Unavailable as error:
                self.problem = str(error)
            self.turned_s = self._clock.monotonic_s()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S if self.problem else self._step_s):
                    await stopping.wait()

    async def step(self) -> None:
        """Forget what is old of the next slice; count the holds that are in force."""
        first, end = slice_bounds(self._slice)
        before_us = await self._horizon_us()

        async def forget(transaction: Transaction) -> None:
            await transaction.forget(first, end, before_us=before_us)

        await self._database.run(forget, settled=_again)
        now_us = await self._reader.clock_us()
        HISTORY_HOLDS.set(len(in_force(await self._reader.holds(), now_us)))
        self._slice = (self._slice + 1) % SLICES

    async def _horizon_us(self) -> int:
        """Return the time before which nothing is needed: a floor stays until it is numbered."""
        horizon_us = await self._reader.clock_us() - self._keep_us
        pending = await self._reader.pending_audit(limit=1)
        return min([horizon_us, *(stamp for _, stamp, _ in pending)])


async def _again() -> None:
    """Forgetting twice is the same as once: a commit without an answer is simply run again."""


def slice_bounds(number: int) -> tuple[bytes, bytes]:
    """Return the first bytes of a slice and those of the next one; together they are everything."""
    first = (number << 4).to_bytes(2, "big") if number else b""
    end = ((number + 1) << 4).to_bytes(2, "big") if number + 1 < SLICES else END
    return first, end
