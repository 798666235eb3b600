"""A page of audit events that pass a filter, the oldest first.

A request reads a bounded number of records: a page may be short, or empty, and have a `next`.
"""

from typing import Final

import orjson

from fileflux.core.model import MIB
from fileflux.ingest.event_query import EventQuery
from fileflux.ingest.event_service import EventService
from fileflux.ingest.event_stream import event_line
from fileflux.metadata.audit_places import Run

PAGE_BYTES: Final = MIB
ANSWER_BYTES: Final = MIB
"""One event more than this, at most."""
RECORDS_READ_MAX: Final = 50_000
SEARCH_S_MAX: Final = 5.0


async def search(service: EventService, query: EventQuery) -> bytes:
    """Return `{"events": […], "next": …}`; `next` is null when there is no more now."""
    page = _Page(service, query)
    await page.fill()
    return page.as_json()


class _Page:
    def __init__(self, service: EventService, query: EventQuery) -> None:
        self._service = service
        self._query = query
        self._position = query.start
        self._lines: list[bytes] = []
        self._size = self._read_count = 0
        self._has_more = True

    async def fill(self) -> None:
        deadline_s = self._service.clock.monotonic_s() + SEARCH_S_MAX
        previous_hash = None
        while not self._is_full() and self._service.clock.monotonic_s() < deadline_s:
            if self._query.until is not None and self._position >= self._query.until:
                self._has_more = False
                return
            run = await self._service.reader.read(
                self._position, previous_hash=previous_hash, bytes_max=PAGE_BYTES
            )
            if not run:
                self._has_more = False
                return
            previous_hash = run[-1].chain_hash if self._take(run) else None

    def as_json(self) -> bytes:
        cursor = None
        if self._has_more:
            cursor = self._service.cursors.text_of(self._position - 1, self._query.principal)
        events = b",".join(self._lines)
        return b'{"events":[%s],"next":%s}' % (events, orjson.dumps(cursor))

    def _take(self, run: Run) -> bool:
        """Add what passes; return whether all records were looked at."""
        for record in run:
            if self._is_full() or record.position == self._query.until:
                return False
            line = event_line(self._query.wanted, self._query.principal, record)
            self._position = record.position + 1
            self._read_count += 1
            if line is not None:
                self._lines.append(line)
                self._size += len(line)
        return True

    def _is_full(self) -> bool:
        return (
            len(self._lines) >= self._query.limit
            or self._size >= ANSWER_BYTES
            or self._read_count >= RECORDS_READ_MAX
        )
