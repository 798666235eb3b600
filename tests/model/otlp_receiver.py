"""A collector of traces in a thread: takes OTLP over HTTP, decodes it, keeps the spans."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A span as it came. Ids are hexadecimal; `parent_id` empty: a root."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[tuple[str, str], ...]
    attributes: Mapping[str, Any]
    start_ns: int
    end_ns: int


class OtlpReceiver:
    """`spans`: all that came; `requests`: how many batches, over so many `connections`.

    `status` other than 200 refuses.
    """

    def __init__(self) -> None:
        self.spans: list[SeenSpan] = []
        self.requests = 0
        self.connections = 0
        self.status = 200
        self.delay = threading.Event()
        self.delay.set()
        self._came = threading.Condition()
        self.port = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[Self]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.delay.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def of_trace(self, trace_id: str) -> list[SeenSpan]:
        with self._came:
            return [span for span in self.spans if span.trace_id == trace_id]

    def wait_for(self, trace_id: str, names: set[str], within_s: float = 30.0) -> list[SeenSpan]:
        """Return the trace's spans once it has one of each name; raise TimeoutError."""
        deadline_s = time.monotonic() + within_s
        while True:
            found = self.of_trace(trace_id)
            lacking = names - {span.name for span in found}
            if not lacking:
                return found
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"no span {sorted(lacking)}; there are {shown(found)}")
            with self._came:
                self._came.wait(min(left_s, 0.5))

    def wait_for_requests(self, count: int, within_s: float = 30.0) -> None:
        with self._came:
            assert self._came.wait_for(lambda: self.requests >= count, within_s)

    def take(self, body: bytes) -> None:
        message = ExportTraceServiceRequest.FromString(body)
        made = [
            _span(_value_of(resource.resource.attributes).get("service.name", ""), span)
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._came:
            self.requests += 1
            self.spans += made
            self._came.notify_all()


class EndlessAnswers(OtlpReceiver):
    """Answers 200 and a body that ends only when nobody reads it any more, or at 256 MiB."""

    sent = 0


def shown(spans: list[SeenSpan]) -> list[str]:
    return sorted(f"{span.service}: {span.name}" for span in spans)


def is_connected(spans: list[SeenSpan], root_parent_id: str) -> bool:
    """Tell whether every span's parent is there, but for those whose parent is the client's."""
    ids = {span.span_id for span in spans} | {root_parent_id}
    return all(span.parent_id in ids for span in spans)


def _handler(receiver: OtlpReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            receiver.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces", self.path
            assert self.headers["content-type"] == "application/x-protobuf"
            receiver.delay.wait()
            if receiver.status == 200:
                receiver.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(receiver.status)
            if isinstance(receiver, EndlessAnswers):
                self.close_connection = True
                self.end_headers()
                with suppress(OSError):
                    while receiver.sent < 256 << 20:
                        receiver.sent += self.wfile.write(bytes(1 << 20))
                return
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _span(service: str, span: Any) -> SeenSpan:
    return SeenSpan(
        service=service,
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes=_value_of(span.attributes),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
    )


def _value_of(pairs: Any) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return getattr(value, kind)
