"""Makes sure of the topics beside the dispatcher, which reads the database until they are there."""

import asyncio
from contextlib import suppress
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import Unavailable
from fileflux.core.telemetry import get_logger
from fileflux.events.ports import Broker

log = get_logger(__name__)

TURN_S: Final = 1.0


class Topics:
    """A loop that ends its work with the first success. `problem`: why there was none yet."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self.problem: str | None = "Kafka has not answered yet"
        self.turned_s = clock.monotonic_s()

    async def run(self, stopping: asyncio.Event) -> None:
        """Turn until `stopping`; raise TopicsInvalid when a person must look."""
        while not stopping.is_set():
            if self.problem is not None:
                await self._ensure()
            self.turned_s = self._clock.monotonic_s()
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_S):
                    await stopping.wait()

    async def _ensure(self) -> None:
        try:
            await self._broker.ensure_topics()
        except Unavailable as error:
            self.problem = f"{error}; what the database has is delivered meanwhile"
            return
        self.problem = None
        log.info("the topics are there")
