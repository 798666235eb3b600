"""One client that follows the audit stream: server-sent events, at the client's pace.

Nothing is read before what was read is sent, so a slow client costs one page of memory, its own
time, and after a while its connection (`answering`). Whoever is cut off comes back with the last
`id:` and misses nothing. A heartbeat every few seconds moves that id on where the filter lets
little through, tells proxies that somebody is there, and asks whether the client still may read.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final

from fileflux.core.errors import AuditGap, EventInvalid, Unavailable
from fileflux.core.model import KIB
from fileflux.core.telemetry import get_logger
from fileflux.ingest.auth import Principal
from fileflux.ingest.event_limits import Slot
from fileflux.ingest.event_query import EventQuery
from fileflux.ingest.event_service import EventService
from fileflux.metadata.audit_filter import AuditFilter, OpenedRecord
from fileflux.metadata.audit_json import structured, structured_for
from fileflux.metadata.audit_places import Run
from fileflux.metadata.chain import NumberedRecord

log = get_logger(__name__)

HEARTBEAT_S: Final = 15.0
AGAIN_S: Final = 0.5
PAGE_BYTES: Final = 256 * KIB
PIECE_BYTES: Final = 64 * KIB
RECORDS_AT_ONCE: Final = 64
"""Then others have their turn on the event loop."""
UNAVAILABLE_S_MAX: Final = 60.0
"""Then the client shall ask anew: another worker may know, or the stream's past was replaced."""
BEGIN: Final = b": FileFlux events\nretry: 2000\nid: %s\n\n"
"""The id at once: who is cut off before the first event must not begin later than it did."""

IsValid = Callable[[], Awaitable[bool]]


class EventStream:
    """The body of an answer. `slot` is given back when it ends or is closed, also unread."""

    def __init__(
        self, service: EventService, query: EventQuery, slot: Slot, *, is_valid: IsValid
    ) -> None:
        self._service = service
        self._query = query
        self._slot = slot
        self._is_valid = is_valid
        self._position = query.start
        self._previous_hash: bytes | None = None
        self._sent_s = self._heard_s = self._asked_s = service.clock.monotonic_s()
        self._pieces = self._run()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        try:
            await self._pieces.aclose()
        finally:
            self._slot.leave()

    async def _run(self) -> AsyncGenerator[bytes, None]:
        try:
            async with self._service.tail.followed():
                yield BEGIN % self._cursor(self._position - 1)
                while not self._service.closing.is_set():
                    run = await self._read()
                    if run is None:
                        return
                    async for piece in self._encoded(run):
                        yield piece
                    if not await self._may_go_on():
                        return
                    if self._is_heartbeat_due():
                        yield self._heartbeat()
                    if not run:
                        await self._wait()
        finally:
            self._slot.leave()

    async def _read(self) -> Run | None:
        """Return what comes next; None when this stream shall end, and its client ask anew."""
        now_s = self._service.clock.monotonic_s()
        if self._service.tail.ends_before(self._position):
            self._heard_s = now_s
            return ()
        try:
            run = await self._service.reader.read(
                self._position, previous_hash=self._previous_hash, bytes_max=PAGE_BYTES
            )
        except AuditGap:
            return None
        except Unavailable as error:
            log.info("an event stream waits", problem=str(error))
            await self._service.clock.sleep(AGAIN_S)
            return () if now_s - self._heard_s < UNAVAILABLE_S_MAX else None
        self._heard_s = now_s
        if run:
            self._previous_hash = run[-1].chain_hash
        return run

    async def _encoded(self, run: Run) -> AsyncIterator[bytes]:
        piece: list[bytes] = []
        size = 0
        for count, record in enumerate(run, 1):
            line = event_line(self._query.wanted, self._query.principal, record)
            if line is not None:
                cursor = self._cursor(record.position)
                piece.append(b"id: %s\ndata: %s\n\n" % (cursor, line))
                size += len(line)
            if size >= PIECE_BYTES or (piece and count == len(run)):
                self._position = record.position + 1
                self._sent_s = self._service.clock.monotonic_s()
                yield b"".join(piece)
                piece, size = [], 0
            elif count % RECORDS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if run:
            self._position = run[-1].position + 1

    def _cursor(self, position: int) -> bytes:
        return self._service.cursors.text_of(position, self._query.principal).encode()

    def _is_heartbeat_due(self) -> bool:
        return self._service.clock.monotonic_s() - self._sent_s >= HEARTBEAT_S

    def _heartbeat(self) -> bytes:
        self._sent_s = self._service.clock.monotonic_s()
        return b": heartbeat\nid: %s\n\n" % self._cursor(self._position - 1)

    async def _wait(self) -> None:
        """Return when there is more, a heartbeat is due, or the worker stops."""
        passed_s = self._service.clock.monotonic_s() - self._sent_s
        timeout_s = max(0.0, HEARTBEAT_S - passed_s)
        more = asyncio.ensure_future(self._service.tail.wait(self._position, timeout_s=timeout_s))
        closing = asyncio.ensure_future(self._service.closing.wait())
        try:
            await asyncio.wait({more, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            more.cancel()
            closing.cancel()

    async def _may_go_on(self) -> bool:
        """Ask as often as a heartbeat would come, also of a stream that needs none."""
        now_s = self._service.clock.monotonic_s()
        if now_s - self._asked_s < HEARTBEAT_S:
            return True
        self._asked_s = now_s
        try:
            return await self._is_valid()
        except Unavailable:
            return True  # Nobody can say; we ask again.


def event_line(wanted: AuditFilter, principal: Principal, record: NumberedRecord) -> bytes | None:
    """Return what this principal sees of a record, None if nothing."""
    try:
        opened = wanted.open(record)
        return None if opened is None else _line(opened, principal)
    except EventInvalid:
        log.exception("a record of the audit stream cannot be read", position=record.position)
        return None


def _line(opened: OpenedRecord, principal: Principal) -> bytes:
    if principal.is_root:
        return structured(opened.record)
    return structured_for(principal.user_id.hex(), opened)
