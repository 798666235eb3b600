"""The end of the audit stream, read once for all routes and kept in memory.

A route that keeps up is given what was just read; one that is behind what is kept reads the past by
itself, and disturbs nobody.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import AuditGap, Unavailable
from fileflux.core.telemetry import get_logger
from fileflux.metadata.chain import NumberedRecord
from fileflux.webhooks.history import RECORDS_MAX, History

log = get_logger(__name__)

KEPT_RECORDS: Final = 4_000
KEPT_BYTES: Final = 8 * 1024 * 1024
POLL_S: Final = 0.1
IDLE_S: Final = 0.25
PAUSE_S: Final = 1.0


class Tail:
    """`next_position`: the first that was not read. `is_wanted`: whether anybody listens."""

    def __init__(self, history: History, clock: Clock, is_wanted: Callable[[], bool]) -> None:
        self._history = history
        self._clock = clock
        self._is_wanted = is_wanted
        self._kept: list[NumberedRecord] = []
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._one_past_at_a_time = asyncio.Lock()
        self._past: Sequence[NumberedRecord] = ()
        self.next_position = 0

    async def start(self) -> None:
        """Begin where the stream ends; raise MetadataBusy."""
        self.next_position = await self._history.end()

    async def run(self) -> None:
        """Read until cancelled. While nobody listens nothing is read."""
        while True:
            try:
                if self._is_wanted():
                    await self._read_on()
                else:
                    await self._skip()
            except Unavailable as error:
                log.warning("routes wait for the audit stream", cause=str(error))
                await self._clock.sleep(PAUSE_S)

    async def read(self, position: int, *, wait_s: float) -> Sequence[NumberedRecord]:
        """Return records from exactly `position` on; none if nothing comes within `wait_s`.

        Raise AuditGap, BrokerUnavailable, EventInvalid, MetadataBusy: the past cannot be read.
        """
        if position >= self.next_position:
            await self._wait(wait_s)
            return () if position >= self.next_position else await self._from(position)
        return await self._from(position)

    async def _from(self, position: int) -> Sequence[NumberedRecord]:
        at = position - (self.next_position - len(self._kept))
        if at >= 0:
            return self._kept[at : at + RECORDS_MAX]
        async with self._one_past_at_a_time:
            if not _run_from(self._past, position):
                self._past = await self._history.past(position)
            found = _run_from(self._past, position)
            if not found:
                self._past = ()
                raise AuditGap(f"position {position} of the past is not there")
            if found[-1] is self._past[-1]:
                self._past = ()
            return found

    async def _read_on(self) -> None:
        before = self.next_position
        for record in await self._history.next(before, wait_s=POLL_S):
            if record.position != self.next_position:
                break  # The next read asks for the one that is missing.
            self._kept.append(record)
            self._bytes += len(record.payload)
            self.next_position += 1
        if self.next_position > before:
            self._forget()
            self._arrived.set()
            self._arrived.clear()

    async def _skip(self) -> None:
        end = await self._history.end()
        if end > self.next_position:
            self._kept, self._bytes, self.next_position = [], 0, end
        await self._clock.sleep(IDLE_S)

    def _forget(self) -> None:
        """Some at a time: each removal moves all the others."""
        if len(self._kept) <= KEPT_RECORDS and self._bytes <= KEPT_BYTES:
            return
        count = 0
        while len(self._kept) - count > KEPT_RECORDS // 2 or self._bytes > KEPT_BYTES // 2:
            self._bytes -= len(self._kept[count].payload)
            count += 1
        del self._kept[:count]

    async def _wait(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._arrived.wait()
        except TimeoutError:
            return


def _run_from(records: Sequence[NumberedRecord], position: int) -> Sequence[NumberedRecord]:
    """Return some of them from `position` on, up to where one is missing; none without it.

    The past comes by megabytes: what one route does not take of it the next read is given.
    """
    at = max(0, position - records[0].position) if records else 0
    run = records[at : at + RECORDS_MAX]
    whole = next((n for n, one in enumerate(run) if one.position != position + n), len(run))
    return run[:whole]
