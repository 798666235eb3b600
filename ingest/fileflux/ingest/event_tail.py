"""The newest audit records, read once per worker for everybody who follows them.

It is a place like the others: streams that keep up read here, those that fell behind read from the
database at their own pace. It reads only while somebody follows, and holds `bytes_max` at most.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import AuditGap, EventInvalid, Unavailable
from fileflux.core.model import MIB
from fileflux.core.telemetry import get_logger
from fileflux.metadata.audit_places import Run
from fileflux.metadata.audit_reader import AuditReader
from fileflux.metadata.chain import NumberedRecord

log = get_logger(__name__)

TAIL_BYTES: Final = 8 * MIB
READ_BYTES: Final = MIB
POLL_S: Final = 0.05
"""The topic is waited for by itself; this is for the database."""
AGAIN_S: Final = 1.0


class EventTail:
    """An `AuditPlace`. `reader` is this tail's alone; `rest` puts away what it opened."""

    name = "tail"

    # Positions from `_first` to before `_next` are here; `_next` is None while nobody follows.

    def __init__(
        self,
        reader: AuditReader,
        clock: Clock,
        *,
        rest: Callable[[], Awaitable[None]],
        bytes_max: int = TAIL_BYTES,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._rest = rest
        self._bytes_max = bytes_max
        self._records: dict[int, NumberedRecord] = {}
        self._bytes = 0
        self._first = 0
        self._next: int | None = None
        self._arrived = asyncio.Event()
        self._followers = 0
        self._is_troubled = False
        self._task: asyncio.Task[None] | None = None
        self._former: asyncio.Task[None] | None = None

    async def read(self, position: int, *, bytes_max: int) -> Run:
        run, size = [], 0
        while size < bytes_max and (record := self._records.get(position)) is not None:
            run.append(record)
            size += len(record.payload)
            position += 1
        return run

    async def end(self) -> int:
        if self._next is None:
            raise Unavailable("nobody follows the audit stream")
        return self._next

    def ends_before(self, position: int) -> bool:
        """Tell whether we read up to the end, and `position` is not there yet."""
        return self._next is not None and position >= self._next

    async def wait(self, position: int, *, timeout_s: float) -> None:
        """Return when `position` is here, or after a while."""
        arrived = self._arrived
        if self._next is None or self.ends_before(position):
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await arrived.wait()

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Read while this is open."""
        self._followers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(self._former), name="event tail")
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            self._former = task
            task.cancel()
            await asyncio.wait({task})

    async def _run(self, former: asyncio.Task[None] | None) -> None:
        """`former`: one that was told to end, and may still put away what we shall open."""
        try:
            if former is not None:
                await asyncio.wait({former})
            while True:
                try:
                    await self._follow()
                except Exception as error:  # Whoever follows shall not wait for a dead tail.
                    self._note(error)
                    await self._clock.sleep(AGAIN_S)
        finally:
            self._forget()
            await self._rest()

    def _note(self, error: Exception) -> None:
        if isinstance(error, AuditGap):
            self._forget()  # Streams tell their clients.
        if not isinstance(error, Unavailable | EventInvalid):
            log.error("following the audit stream failed", exc_info=error)
        elif not self._is_troubled:
            log.info("the audit stream cannot be followed now", problem=str(error))
        self._is_troubled = True

    async def _follow(self) -> None:
        if self._next is None:
            self._next = self._first = await self._reader.end()
            self._wake()
        while True:
            before = self._records.get(self._next - 1)
            run = await self._reader.read(
                self._next,
                previous_hash=before.chain_hash if before else None,
                bytes_max=READ_BYTES,
            )
            if run:
                self._take(run)
            else:
                await self._clock.sleep(POLL_S)

    def _take(self, run: Run) -> None:
        self._is_troubled = False
        for record in run:
            self._records[record.position] = record
            self._bytes += len(record.payload)
        self._next = run[-1].position + 1
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._records.pop(self._first).payload)
            self._first += 1
        self._wake()

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    def _forget(self) -> None:
        self._records.clear()
        self._bytes, self._next = 0, None
