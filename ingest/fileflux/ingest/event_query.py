"""What a request for events asks: its parameters become a filter and a place to begin.

Every parameter is checked, and an unknown one refused: a misspelt filter would show everything. A
tenant's filter has its owner, whatever it asks, so that what it names of others it does not find.
"""

from dataclasses import dataclass, replace
from typing import Final

from fileflux.ingest.auth import Principal
from fileflux.ingest.auth_errors import AccessDenied
from fileflux.ingest.event_cursor import Cursors, is_position
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.s3_errors import S3Error, invalid_argument
from fileflux.metadata.audit_filter import (
    AuditFilter,
    FilterInvalid,
    operations_named,
    time_named,
)
from fileflux.metadata.audit_reader import AuditReader
from fileflux.metadata.chain import FIRST_POSITION

FILTERS: Final = frozenset({"bucket", "prefix", "principal", "operation"})
STREAM_PARAMETERS: Final = FILTERS | {"from", "cursor"}
SEARCH_PARAMETERS: Final = STREAM_PARAMETERS | {"until", "limit"}
LAST_EVENT_ID: Final = "last-event-id"
EVENTS_DEFAULT: Final = 100
EVENTS_MAX: Final = 1_000
START: Final = "start"
NOW: Final = "now"


@dataclass(frozen=True, slots=True)
class EventQuery:
    """`until`: the position to end before, None: none. `limit`: events of a page."""

    principal: Principal
    wanted: AuditFilter
    start: int
    until: int | None = None
    limit: int = EVENTS_DEFAULT


@dataclass(frozen=True, slots=True)
class _Begin:
    """Where to begin. `is_done`: `position` was read already."""

    position: int
    since_us: int | None = None


async def stream_query(
    request: ParsedRequest, principal: Principal, reader: AuditReader, cursors: Cursors
) -> EventQuery:
    """Return what to follow: from Last-Event-ID, `cursor`, `from`, or from now on."""
    _check_names(request, STREAM_PARAMETERS)
    wanted = _filter(request, principal)
    last_id = request.headers.get(LAST_EVENT_ID) or request.param("cursor")
    begin = await _begin(request, principal, reader, cursors, last_id=last_id, otherwise=NOW)
    return EventQuery(principal, replace(wanted, since_us=begin.since_us), begin.position)


async def search_query(
    request: ParsedRequest, principal: Principal, reader: AuditReader, cursors: Cursors
) -> EventQuery:
    """Return what to find: from `cursor`, `from`, or the start, to `until` or the end."""
    _check_names(request, SEARCH_PARAMETERS)
    wanted, limit = _filter(request, principal), _limit(request.param("limit"))
    begin = await _begin(
        request, principal, reader, cursors, last_id=request.param("cursor"), otherwise=START
    )
    until, until_us = await _until(request.param("until"), principal, reader)
    wanted = replace(wanted, since_us=begin.since_us, until_us=until_us)
    return EventQuery(principal, wanted, begin.position, until, limit)


def _check_names(request: ParsedRequest, known: frozenset[str]) -> None:
    for name, value in request.query:
        if name not in known and name[:6].lower() != "x-amz-":  # The latter signed the request.
            names = ", ".join(sorted(known))
            raise invalid_argument(f"There is no such parameter; there are: {names}", name, value)


def _filter(request: ParsedRequest, principal: Principal) -> AuditFilter:
    operations = request.param("operation") or ""
    try:
        names = operations_named([operations])
    except FilterInvalid as error:
        raise invalid_argument(str(error), "operation", operations) from None
    return AuditFilter(
        bucket=request.param("bucket") or "",
        prefix=(request.param("prefix") or "").encode(),
        principal=request.param("principal") or "",
        operations=names,
        owner=_owner(principal),
    )


def _owner(principal: Principal) -> str:
    """Return whose events may be seen; empty: everybody's."""
    if principal.is_root:
        return ""
    if not principal.user_id:
        raise AccessDenied
    return principal.user_id.hex()


async def _begin(
    request: ParsedRequest,
    principal: Principal,
    reader: AuditReader,
    cursors: Cursors,
    *,
    last_id: str | None,
    otherwise: str,
) -> _Begin:
    text = request.param("from") or otherwise
    since_us = None if text in (START, NOW) or is_position(text) else _time("from", text)
    if last_id:
        position = cursors.position_of(last_id, principal) + 1
        return _Begin(await _existing(position, reader), since_us)
    if since_us is not None:
        return _Begin(await reader.position_at(since_us), since_us)
    if text == START:
        return _Begin(FIRST_POSITION)
    if text == NOW:
        return _Begin(await reader.end())
    return _Begin(await _existing(_position("from", text, principal), reader))


async def _until(
    text: str | None, principal: Principal, reader: AuditReader
) -> tuple[int | None, int | None]:
    """(the position to end before, the time to end before)"""
    if not text or text == NOW:
        return None, None
    if is_position(text):
        return _position("until", text, principal), None
    until_us = _time("until", text)
    return await reader.position_after(until_us), until_us


async def _existing(position: int, reader: AuditReader) -> int:
    if position > await reader.end():
        raise S3Error("InvalidArgument", "The stream has not come so far.")
    return max(FIRST_POSITION, position)


def _position(name: str, text: str, principal: Principal) -> int:
    if not principal.is_root:
        message = "Positions are for operators. Give a time, or a cursor."
        raise invalid_argument(message, name, text)
    return int(text)


def _time(name: str, text: str) -> int:
    try:
        return time_named(text)
    except FilterInvalid as error:
        raise invalid_argument(str(error), name, text) from None


def _limit(text: str | None) -> int:
    if text is None:
        return EVENTS_DEFAULT
    if not (is_position(text) and 1 <= int(text) <= EVENTS_MAX):
        raise invalid_argument(f"limit is a number from 1 to {EVENTS_MAX}.", "limit", text)
    return int(text)
