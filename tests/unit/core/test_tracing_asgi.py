"""Our internal HTTP goes on with a trace that comes in, and never begins one."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from tests.model.recorded_spans import SAMPLED, SPAN, UNSAMPLED, recording

from fileflux.core.bundle_view import BundleReceiver
from fileflux.core.clock import SystemClock
from fileflux.core.errors import NoSuchBundle
from fileflux.core.ids import BundleId
from fileflux.core.node_client import NodeClient
from fileflux.core.tracing import parse_traceparent, tracer
from fileflux.core.tracing_asgi import traced_app


async def _app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": int(scope["path"]), "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


async def _status_of(app: Any, status: int, traceparent: str | None) -> int:
    headers = [(b"host", b"x")]
    if traceparent is not None:
        headers.append((b"Traceparent", traceparent.encode()))
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": str(status), "headers": headers}
    await app(scope, None, send)
    return int(sent[0]["status"])


async def test_an_answer_is_a_span_of_the_callers_trace() -> None:
    with recording() as spans:
        app = traced_app(_app, "serve bundle")
        assert await _status_of(app, 200, SAMPLED) == 200
        assert await _status_of(app, 503, SAMPLED) == 503

        well, failed = spans.of_trace()
        assert well.parent is not None
        assert well.parent.span_id == int(SPAN, 16)
        assert well.attributes is not None
        assert well.attributes["http.response.status_code"] == 200
        assert failed.attributes is not None
        assert failed.attributes["error.type"] == "503"


@pytest.mark.parametrize("traceparent", [None, UNSAMPLED, "00-zz-zz-01"])
async def test_a_request_without_a_recorded_trace_is_served_without_a_span(
    traceparent: str | None,
) -> None:
    with recording() as spans:
        assert await _status_of(traced_app(_app, "serve bundle"), 200, traceparent) == 200
        assert spans.all() == []


def test_where_nothing_is_recorded_the_application_is_not_wrapped() -> None:
    assert traced_app(_app, "serve bundle") is _app


@pytest.mark.parametrize(("path", "is_told"), [("/v1/staging/x", True), ("/bucket/x?X-Amz", False)])
async def test_a_node_is_told_the_trace_and_a_bucket_of_somebody_else_is_not(
    path: str, is_told: bool
) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
        client = NodeClient(b"a cluster's secret", SystemClock())
        with recording():
            for parent in (parse_traceparent(SAMPLED), None):
                with tracer().span("pull bundle", parent), pytest.raises(NoSuchBundle):
                    await client.pull(url, BundleReceiver(BundleId(bytes(16)), 1, 0))
        await client.close()

    traced, untraced = heads
    assert (b"traceparent: 00-" in traced) is is_told
    assert b"traceparent" not in untraced
