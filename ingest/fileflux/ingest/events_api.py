"""`GET /events` and `GET /events/search`: the audit stream over HTTP.

With HTTP Basic they have these paths. A signed request for `/events` is S3's: it lists the bucket
of that name. So signed requests ask for `/_fileflux/events…`, which no bucket can be called.
"""

from typing import Final

from fileflux.core.errors import AuditGap
from fileflux.ingest.auth import Scheme
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.event_query import search_query, stream_query
from fileflux.ingest.event_search import search
from fileflux.ingest.event_stream import EventStream, IsValid
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.respond_async import STATUS_BUCKET
from fileflux.ingest.s3_errors import S3Error

STREAM: Final = "StreamEvents"
SEARCH: Final = "SearchEvents"
_OPERATIONS: Final = {b"events": STREAM, b"events/search": SEARCH}
_STREAM_HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


def operation_of(request: ParsedRequest, scheme: Scheme) -> str | None:
    """Return which of the two is asked, None if neither."""
    if request.method != "GET":
        return None
    if request.bucket == STATUS_BUCKET:
        return _OPERATIONS.get(request.key)
    return _OPERATIONS.get(request.path[1:]) if scheme is Scheme.BASIC else None


async def answer(operation: str, call: Call, deps: Dependencies) -> Answer:
    """Answer an authenticated request. Raise S3Error, SlowDown, Unavailable."""
    _refuse_body(call)
    try:
        return await (_stream(call, deps) if operation == STREAM else _search(call, deps))
    except AuditGap as error:
        message = "These events are not kept any more: begin later."
        raise S3Error("InvalidArgument", message, status=410) from error


async def _stream(call: Call, deps: Dependencies) -> Answer:
    service = deps.events
    slot = service.limits.enter(call.principal.user_id)
    try:
        query = await stream_query(call.request, call.principal, service.reader, service.cursors)
        await service.reader.read(query.start, bytes_max=1)  # It is told now that it is gone.
        is_valid = await _validity(call, deps)
    except BaseException:
        slot.leave()
        raise
    return Answer(200, _STREAM_HEADERS, EventStream(service, query, slot, is_valid=is_valid))


async def _search(call: Call, deps: Dependencies) -> Answer:
    service = deps.events
    with service.limits.searching():
        query = await search_query(call.request, call.principal, service.reader, service.cursors)
        found = await search(service, query)
    return Answer(200, {"content-type": "application/json", "cache-control": "no-store"}, found)


async def _validity(call: Call, deps: Dependencies) -> IsValid:
    """Return the question whether what proved who asks still would: keys and passwords change."""
    who = call.principal

    async def by_key() -> bool:
        found = await deps.credentials.secret_for(who.access_key)
        return found is not None and found.active and found.user_id == who.user_id

    if who.access_key:
        return by_key
    password_hash = await _password_hash(who.name, deps)

    async def by_password() -> bool:
        return await _password_hash(who.name, deps) == password_hash

    return by_password


async def _password_hash(name: str, deps: Dependencies) -> tuple[bytes, str] | None:
    user = await deps.reader.find_user(name)
    return None if user is None else (user.user_id, user.password_hash)


def _refuse_body(call: Call) -> None:
    headers = call.headers
    if "transfer-encoding" in headers or headers.get("content-length", "0").strip() != "0":
        raise S3Error("InvalidRequest", "This request has no body.")
