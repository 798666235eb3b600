"""The consume loop: fetch, decode, handle; poison aside; drain at the end.

The handler makes its effect durable before it returns, and applying twice is the same as once: the
loop knows nothing about positions. It calls the handler again with the same records while the fault
is one that passes, and splits the batch in halves when it is not, until the poison stands alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid, FileFluxError, LaneLost, PoisonLimitReached
from fileflux.core.telemetry import get_logger
from fileflux.events.codec import decode_events
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.ports import EventSource, Record
from fileflux.events.schema import Event

log = get_logger(__name__)

RETRY_S_MIN: Final = 0.05
RETRY_S_MAX: Final = 2.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record and the events in it."""

    record: Record
    events: tuple[Event, ...]


Handler = Callable[[Sequence[Delivery]], Awaitable[None]]
"""Returns when the deliveries have their effect. Raises a retriable FileFluxError to be called
again, LaneLost to end the loop; anything else says that a record among them is poison."""


class Consumer:
    """One loop over one source."""

    def __init__(
        self,
        source: EventSource,
        handle: Handler,
        *,
        dead_letters: DeadLetters,
        clock: Clock,
        max_records: int = 500,
    ) -> None:
        self._source = source
        self._handle = handle
        self._dead_letters = dead_letters
        self._clock = clock
        self._max_records = max_records

    async def run(self, stopping: asyncio.Event) -> None:
        """Consume until `stopping`; what was fetched is handled before it returns.

        Raise LaneLost as the handler does, PoisonLimitReached when too much in a row is poison.
        """
        while not stopping.is_set():
            await self.step()

    async def drain(self, *, deadline_s: float) -> bool:
        """Handle what is there until nothing comes; return whether that was before the deadline."""
        try:
            async with asyncio.timeout(deadline_s):
                while await self.step():
                    pass
        except TimeoutError:
            return False
        return True

    async def step(self, *, wait_s: float = 0.1) -> int:
        """Handle one fetch; return how many records it had."""
        records = await self._source.fetch(max_records=self._max_records, wait_s=wait_s)
        run: list[Delivery] = []
        for record in records:
            try:
                run.append(Delivery(record, tuple(decode_events(record.value))))
            except EventInvalid as error:
                # What came before it is applied first: order, and what "in a row" counts.
                await self._apply(run)
                run = []
                await self._set_aside(record, f"cannot be decoded: {error}")
        await self._apply(run)
        return len(records)

    async def _apply(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        try:
            await self._retrying(lambda: self._handle(deliveries))
        except (LaneLost, PoisonLimitReached):
            raise
        except Exception as error:  # A boundary: the event's.
            await self._isolate(deliveries, error)
        else:
            self._dead_letters.note_success()

    async def _isolate(self, deliveries: Sequence[Delivery], error: Exception) -> None:
        if len(deliveries) == 1:
            log.warning("a record cannot be applied", exc_info=error)
            await self._set_aside(deliveries[0].record, f"cannot be applied: {error!r}")
            return
        middle = len(deliveries) // 2
        await self._apply(deliveries[:middle])
        await self._apply(deliveries[middle:])

    async def _set_aside(self, record: Record, cause: str) -> None:
        await self._retrying(lambda: self._dead_letters.set_aside(record, cause))

    async def _retrying(self, attempt: Callable[[], Awaitable[None]]) -> None:
        wait_s = RETRY_S_MIN
        while True:
            try:
                return await attempt()
            except FileFluxError as error:
                if not error.retriable:
                    raise
                log.info("handling again after a passing fault", cause=repr(error))
            await self._clock.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S_MAX)
