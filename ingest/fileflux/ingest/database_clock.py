"""The database's time, as far as ingest knows it: deadlines of seals are in it.

The offset is learnt by asking; half the round trip is its error, milliseconds against a deadline of
a minute. While the database is away the last offset goes on being used.
"""

import asyncio
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.errors import FileFluxError
from fileflux.core.telemetry import get_logger

log = get_logger(__name__)

REFRESH_S: Final = 30.0
RETRY_S: Final = 1.0
ASK_DEADLINE_S: Final = 2.0


class DatabaseTime(Protocol):
    """The part of `MetadataReader` that tells the time."""

    async def clock_us(self) -> int: ...


class DatabaseClock:
    """`now_us` is our clock plus the learnt offset, 0 before the first answer."""

    def __init__(self, reader: DatabaseTime, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self.offset_us = 0

    def now_us(self) -> int:
        return self._clock.now_us() + self.offset_us

    async def learn(self) -> bool:
        """Ask once; return whether there was an answer."""
        before_us = self._clock.now_us()
        try:
            async with asyncio.timeout(ASK_DEADLINE_S):
                database_us = await self._reader.clock_us()
        except (FileFluxError, TimeoutError) as error:
            log.info("the database's clock cannot be asked", problem=str(error))
            return False
        self.offset_us = database_us - (before_us + self._clock.now_us()) // 2
        return True

    async def run(self) -> None:
        """Learn again and again until cancelled."""
        while True:
            await self._clock.sleep(REFRESH_S if await self.learn() else RETRY_S)
