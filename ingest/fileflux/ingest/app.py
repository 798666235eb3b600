"""The S3 and REST endpoint: one ASGI application, one parse of the request, one error boundary.

The order never changes: parse, authenticate, route, authorize, then the operation. What comes
before the operation reads no byte of the body.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from fileflux.core.telemetry import S3_BYTES_IN, get_logger
from fileflux.core.tracing import NO_SPAN, Span, TraceContext
from fileflux.ingest import events_api, openapi, rest_api, webhook_routes
from fileflux.ingest.access_log import Answered, asks
from fileflux.ingest.answering import send_answer
from fileflux.ingest.auth import Authenticated, Scheme, authenticate, scheme_of
from fileflux.ingest.auth_errors import IncompleteBody
from fileflux.ingest.authorization import authorize_bucket, authorize_operation
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.header_policy import refuse_unimplemented
from fileflux.ingest.hoisted_headers import with_hoisted_headers
from fileflux.ingest.names import check_bucket_name, check_key
from fileflux.ingest.operation_handlers import HANDLERS
from fileflux.ingest.operations import Level, Operation
from fileflux.ingest.parsed_request import RawRequest, parse_request
from fileflux.ingest.problem import render_problem
from fileflux.ingest.request_metrics import RequestMetrics
from fileflux.ingest.request_traces import RequestTraces, client_context
from fileflux.ingest.respond_async import is_status_request, upload_status
from fileflux.ingest.routes import check_implemented, route
from fileflux.ingest.s3_errors import RequestNames, new_request_id, render, s3_error

log = get_logger(__name__)

Scope = Mapping[str, Any]
UNAVAILABLE_STATUSES: Final = frozenset({501, 503, 507})
DRAINED_BYTES_MAX: Final = 1 << 20
DRAIN_S: Final = 5.0


class S3App:
    """Serves one worker's requests."""

    def __init__(self, deps: Dependencies, *, host_id: str) -> None:
        self._deps = deps
        self._host_id = host_id
        self._metrics = RequestMetrics()
        self._traces = RequestTraces()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = _Request(scope, receive, self._deps)
        with (
            self._traces.begin(scope["headers"], request.request_id) as request.span,
            self._metrics.measure(scope["method"]) as measured,
        ):
            try:
                answer = await self._answer(request)
            except Exception as error:  # The boundary of a request.
                answer = self._error(request, error)
            answer = await self._noted(request, answer)
            measured.operation = request.operation
            measured.status = answer.status
            if request.span:
                self._traces.describe(request.span, scope, request.answered(answer))
            if request.has_unread_body:
                await request.drain()
            headers = self._common_headers(request)
            gone = None if request.has_unread_body else request.wait_until_gone
            await send_answer(answer, scope["method"], headers, send, log=log, gone=gone)

    async def _answer(self, request: "_Request") -> Answer:
        raw = request.raw
        request.names = parse_request(raw, domains=self._deps.auth.domains)
        scheme = scheme_of(request.names)
        if openapi.is_asked(request.names):
            return openapi.answer()
        if rest_api.is_open(request.names, scheme, self._deps):
            return await rest_api.register(request.anonymous_call(), self._deps)
        verified = await authenticate(
            raw,
            self._deps.credentials,
            self._deps.clock,
            self._deps.auth,
            passwords=self._deps.passwords,
        )
        asked = events_api.operation_of(verified.request, scheme)
        if asked is not None:
            request.operation = asked
            return await events_api.answer(asked, request.call(verified), self._deps)
        if webhook_routes.is_asked(verified.request):
            wanted, words = webhook_routes.route_of(verified.request)
            request.operation = wanted.name
            return await webhook_routes.answer(wanted, words, request.call(verified), self._deps)
        if scheme is Scheme.BASIC:
            return await rest_api.answer(request.call(verified), self._deps)
        return await self._s3(request, verified)

    async def _s3(self, request: "_Request", verified: Authenticated) -> Answer:
        call = request.call(verified)
        if verified.scheme is Scheme.SIGV4_QUERY:
            call.request = with_hoisted_headers(call.request)
        if is_status_request(call):
            return await upload_status(call, self._deps)
        operation = route(call.request)
        request.operation = operation.name
        check_implemented(operation)
        authorize_operation(call.principal, operation)
        refuse_unimplemented(call.headers)
        await self._find_bucket(call, operation)
        return await HANDLERS[operation.name](call, self._deps)

    async def _find_bucket(self, call: Call, operation: Operation) -> None:
        if operation.level is Level.SERVICE:
            return
        check_bucket_name(call.request.bucket)
        if operation.name == "CreateBucket":
            return
        call.bucket_row = await self._deps.buckets.find(call.request.bucket)
        authorize_bucket(call.principal, call.bucket_row)
        if operation.level is Level.OBJECT:
            check_key(call.key)

    async def _noted(self, request: "_Request", answer: Answer) -> Answer:
        """Record an access before it is answered, where its bucket asks for that."""
        bucket = request.made_call.bucket_row if request.made_call else None
        if request.names is None or (answer.status < 400 and not asks(bucket)):
            return answer
        try:
            await self._deps.access.note(request.answered(answer))
        except Exception as error:  # The boundary of a request, again.
            close = getattr(answer.body, "aclose", None)
            if close is not None:
                await close()
            return self._error(request, error)
        return answer

    def _error(self, request: "_Request", error: Exception) -> Answer:
        parsed = request.names
        names = RequestNames(
            method=request.raw.method,
            request_id=request.request_id,
            host_id=self._host_id,
            bucket=parsed.bucket if parsed else "",
            key=parsed.key if parsed else b"",
        )
        if parsed is not None and webhook_routes.is_asked(parsed):
            status, request.code, headers, body = render_problem(error, names)
            made = Answer(status, headers, body)
        else:
            rendered = render(error, names)
            made = Answer(rendered.status, dict(rendered.headers), rendered.body)
            request.code = s3_error(error).code
        if made.status >= 500 and made.status not in UNAVAILABLE_STATUSES:
            log.error("a request failed", exc_info=error)
        elif made.status == 503:
            log.info("a request was put off", problem=str(error))
        return made

    def _common_headers(self, request: "_Request") -> dict[str, str]:
        headers = {
            "server": "FileFlux",
            "x-amz-request-id": request.request_id,
            "x-amz-id-2": self._host_id,
        }
        if request.has_unread_body or request.names is None:
            # The rest of a refused body is not worth reading, and what follows a request without
            # a single meaning may be a part of it: the client hears that we hang up.
            headers["connection"] = "close"
        return headers


class _Request:
    """What is known of a request before and while it is answered."""

    def __init__(self, scope: Scope, receive: Any, deps: Dependencies) -> None:
        self._receive = receive
        self._scope = scope
        self._received_us = deps.clock.now_us()
        self.made_call: Call | None = None
        self.span: Span = NO_SPAN
        self.request_id = new_request_id(deps.rng)
        self.raw = RawRequest(
            scope["method"], scope["raw_path"], scope["query_string"], scope["headers"]
        )
        self.names: Any = None
        self.operation = "unknown"
        self.code = ""
        self._is_body_at_end = False

    @property
    def has_unread_body(self) -> bool:
        """Whether the client still has bytes to send that nobody will read."""
        return not self._is_body_at_end and self._declares_body()

    def _declares_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
            for name, value in self.raw.headers
        )

    async def drain(self) -> None:
        """Read a short body that the answer does not need: hanging up would lose the answer."""
        sizes = [value for name, value in self.raw.headers if name == b"content-length"]
        is_short = len(sizes) == 1 and len(sizes[0]) <= 7 and sizes[0].isdigit()
        expects = any(name == b"expect" for name, _ in self.raw.headers)
        if not is_short or expects or int(sizes[0]) > DRAINED_BYTES_MAX:
            return
        with contextlib.suppress(TimeoutError, IncompleteBody):
            async with asyncio.timeout(DRAIN_S):
                async for _ in self._stream():
                    pass

    async def wait_until_gone(self) -> None:
        """Return when the client has hung up. Its body, if it had one, must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def call(self, verified: Authenticated) -> Call:
        self.made_call = Call(
            request=verified.request,
            principal=verified.principal,
            payload=verified.payload,
            request_id=self.request_id,
            received_us=self._received_us,
            source_address=self._source_address,
            stream=self._stream(),
            trace=self._trace(verified.request.headers),
        )
        return self.made_call

    def _trace(self, headers: Mapping[str, str]) -> TraceContext | None:
        """Return our place in a trace; where none is recorded here, the client's is passed on."""
        return self.span.context or client_context(headers)

    def answered(self, answer: Answer) -> Answered:
        return Answered(
            request=self.names,
            request_id=self.request_id,
            received_us=self._received_us,
            source_address=self._source_address,
            operation=self.operation,
            status=answer.status,
            code=self.code,
            size=answer.headers.get("content-length", ""),
            call=self.made_call,
        )

    @property
    def _source_address(self) -> str:
        client = self._scope.get("client")
        return client[0] if client else ""

    def anonymous_call(self) -> Call:
        return self.call(rest_api.nobody(self.names))

    async def _stream(self) -> AsyncIterator[bytes]:
        """The body's raw pieces; raise IncompleteBody when the client has gone."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise IncompleteBody
            # Noted before it is handed on: whoever refuses the last piece does not come back here.
            self._is_body_at_end = not message.get("more_body", False)
            body = message.get("body", b"")
            if body:
                S3_BYTES_IN.inc(len(body))
                yield body
            if self._is_body_at_end:
                return
