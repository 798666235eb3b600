"""The span of a request: HTTP's semantic conventions, the S3 operation, the bucket.

Never the key, the query, a header or an address: names of objects and tokens of presigned links do
not leave by this way. The audit record has what a trace lacks, under the same trace id.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fileflux.core.telemetry import note_request
from fileflux.core.tracing import (
    NO_SPAN,
    TRACEPARENT,
    Span,
    TraceContext,
    parse_traceparent,
    tracer,
)
from fileflux.ingest.access_log import Answered

METHODS: Final = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"))
OTHER_METHOD: Final = "_OTHER"
_HEADER: Final = TRACEPARENT.encode()


class RequestTraces:
    """Begins and describes the spans of requests."""

    def __init__(self) -> None:
        self._tracer = tracer()

    def begin(self, headers: Iterable[tuple[bytes, bytes]], request_id: str) -> Span:
        """Continue the client's trace, if its header is one; otherwise the sampler decides.

        Log entries carry the ids of both, whether the trace is recorded or not.
        """
        found = [value for name, value in headers if name == _HEADER]
        parent = parse_traceparent(found[0].decode("latin-1").strip()) if len(found) == 1 else None
        note_request(request_id, parent.trace_id if parent else "")
        if not self._tracer.is_on:
            return NO_SPAN
        return self._tracer.request("HTTP", parent)

    def describe(self, span: Span, scope: Mapping[str, Any], answered: Answered) -> None:
        """Name the span after its operation and set what is known at the end."""
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        is_known = answered.operation != "unknown"
        span.rename(answered.operation if is_known else method)
        span.set("http.request.method", method)
        span.set("http.response.status_code", answered.status)
        span.set("url.scheme", scope.get("scheme", "http"))
        span.set("network.protocol.version", scope.get("http_version", "1.1"))
        span.set("fileflux.request.id", answered.request_id)
        if is_known:
            span.set("fileflux.operation", answered.operation)
        if answered.call is not None and answered.call.bucket_row is not None:
            span.set("aws.s3.bucket", answered.call.bucket_row.name)
        if answered.status >= 500:
            span.fail(answered.code or str(answered.status))
        elif answered.code:
            span.set("error.type", answered.code)


def client_context(headers: Mapping[str, str]) -> TraceContext | None:
    """Return what the client says of its trace; None if it says nothing, or nothing valid."""
    text = headers.get(TRACEPARENT)
    return None if text is None else parse_traceparent(text)
