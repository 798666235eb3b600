"""What this process records while a test runs, kept in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from fileflux.core.tracing import NO_TRACER, install
from fileflux.core.tracing_sdk import SdkTracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"


class RecordedSpans:
    """The spans that ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def of_trace(self, trace_id: str = TRACE) -> list[ReadableSpan]:
        return [one for one in self.all() if format_trace_id(one.context.trace_id) == trace_id]

    def named(self, name: str) -> list[ReadableSpan]:
        return [one for one in self.all() if one.name == name]

    def clear(self) -> None:
        self._exporter.clear()


@contextmanager
def recording() -> Iterator[RecordedSpans]:
    """Record every sampled span of what is constructed until the block ends."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    install(SdkTracer(provider))
    try:
        yield RecordedSpans(kept)
    finally:
        install(NO_TRACER)


def traceparent_of(span: ReadableSpan) -> str:
    context = span.context
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01"
