"""What traces cost an upload, and what where nobody traces: `python -m tests.bench.tracing`.

First the calls alone: everything that one upload asks of the tracer on its way through ingest, a
node and the materializer. Then whole PUTs of 1 KiB, one after another, through the real services on
the in-memory twins in this process: their noise is larger than what is measured without traces.
Spans are made and encoded as for OTLP, then thrown away.
"""

import argparse
import asyncio
import logging
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, open_s3_world

from fileflux.core.tracing import NO_TRACER, Tracer, current, install, tracer
from fileflux.core.tracing_sdk import SdkTracer
from fileflux.events.traced_publisher import trace_headers
from fileflux.ingest.request_traces import RequestTraces, client_context

TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
MODES: Final = {
    "off": {},
    "on, not sampled": {"traceparent": f"{TRACE}00"},
    "on, sampled": {"traceparent": f"{TRACE}01"},
}
CHILDREN: Final = 12
"""Of a small upload's spans in one trace: about as many in each process as it makes."""
SENDS: Final = 6
"""Records that it sends, on three nodes: each asks for its headers."""


class _Encoder(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


def main(arguments: Sequence[str]) -> None:
    # Calls alone make more spans than the queue takes; what is dropped costs no less to make.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--puts", type=int, default=300, help="whole PUTs of each mode")
    options = parser.parse_args(arguments)
    print(f"{'':<18}{'calls alone':>14}{'median PUT':>14}")
    for mode, headers in MODES.items():
        install(NO_TRACER if mode == "off" else _recording())
        put_us = asyncio.run(_put_us(headers, options.puts))
        calls_us = _calls_us(headers)
        tracer().close(timeout_s=10)
        print(f"{mode:<18}{calls_us:>11.2f} µs{put_us:>11.0f} µs")
    install(NO_TRACER)
    print(f"a sampled upload makes {CHILDREN + 1} spans alone, more as a whole PUT on three nodes")


def _recording() -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Encoder()))
    return SdkTracer(provider)


def _calls_us(headers: dict[str, str]) -> float:
    """Return what the tracer's part of one upload takes: the best of several runs."""
    raw = [(b"host", b"x")] * 8 + [(n.encode(), v.encode()) for n, v in headers.items()]
    traces, chosen = RequestTraces(), tracer()

    def upload() -> None:
        with traces.begin(raw, "") as request:
            trace = request.context or client_context(headers)
            for _ in range(CHILDREN):
                with chosen.span("child", trace if request else current()) as span:
                    if span:
                        span.set("fileflux.uploads", 1)
            for _ in range(SENDS):
                trace_headers(request.context)

    return min(_timed_us(upload) for _ in range(5))


def _timed_us(work: Callable[[], None], count: int = 2_000) -> float:
    began_s = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - began_s) / count * 1_000_000


async def _put_us(headers: dict[str, str], count: int) -> float:
    took = []
    async with open_s3_world() as world:
        alice = Caller(world.app, ALICE)
        await alice("PUT", "/photos")
        for number in range(count):
            began_s = time.perf_counter()
            answer = await alice("PUT", f"/photos/{number}", headers, b"x" * 1024)
            took.append(time.perf_counter() - began_s)
            assert answer.status == 200
    return statistics.median(took) * 1_000_000


if __name__ == "__main__":
    main(sys.argv[1:])
