"""Server spans of our internal HTTP: who came with a sampled context has its trace continued.

Around an ASGI application, only in a process that records traces. Nothing starts a trace here.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from fileflux.core.tracing import TRACEPARENT, TraceContext, parse_traceparent, tracer

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
_HEADER: Final = TRACEPARENT.encode()


def traced_app(app: App, name: str) -> App:
    """Return the application with a span named `name` around each traced request."""
    chosen = tracer()
    if not chosen.is_on:
        return app

    async def serve(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        with chosen.span(name, _context(scope.get("headers", ())), kind="server") as span:

            async def noted(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    span.set("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.fail(str(message["status"]))
                await send(message)

            if span:
                span.set("http.request.method", scope["method"])
            await app(scope, receive, noted if span else send)

    return serve


def _context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    for name, value in headers:
        if name.lower() == _HEADER:
            return parse_traceparent(value.decode("latin-1").strip())
    return None
