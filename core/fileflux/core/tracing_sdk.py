"""The tracer of OpenTelemetry's SDK, and the only module that names it. Imported when it is needed.

Sampler, resource, queue and exporter follow the standard variables (`OTEL_…`). Spans wait in the
SDK's bounded queue and leave by a thread of its own: a collector that is slow, absent or broken
costs spans, which are counted, and never a request.
"""

import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.status import StatusCode

from fileflux.core.telemetry import TRACE_SPANS, get_logger
from fileflux.core.tracing import CURRENT, NO_SPAN, Attribute, Kind, SilentSpan, Span, TraceContext
from fileflux.core.tracing_session import collector_session, hide_header_values

log = get_logger(__name__)

COMPLAIN_EVERY_S: Final = 60.0
_KINDS: Final = {
    "internal": otel.SpanKind.INTERNAL,
    "server": otel.SpanKind.SERVER,
    "client": otel.SpanKind.CLIENT,
    "producer": otel.SpanKind.PRODUCER,
    "consumer": otel.SpanKind.CONSUMER,
}
_RECORDED: Final = TRACE_SPANS.labels("recorded")


class SdkSpan:
    """A recorded span."""

    __slots__ = ("_span", "_token", "context")

    def __init__(self, span: otel.Span, context: TraceContext) -> None:
        self._span = span
        self._token: Any = None
        self.context = context

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, problem: str) -> None:
        self._span.set_attribute("error.type", problem)
        self._span.set_status(StatusCode.ERROR)

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> "SdkSpan":
        self._token = CURRENT.set(self.context)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with suppress(ValueError):  # Ended in another context, which it leaves as it is.
            CURRENT.reset(self._token)
        if kind is not None:
            self.fail(kind.__name__)
        self._span.end()
        _RECORDED.inc()


class SdkTracer:
    """Records spans with a provider. `is_on` is always true."""

    is_on = True

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("fileflux")

    def request(self, name: str, parent: TraceContext | None, *, kind: Kind = "server") -> Span:
        span = self._tracer.start_span(name, _as_parent(parent), _KINDS[kind])
        if span.is_recording():
            return SdkSpan(span, _context_of(span))
        return NO_SPAN if parent is None else SilentSpan(_context_of(span))

    def span(
        self,
        name: str,
        parent: TraceContext | None,
        *,
        kind: Kind = "internal",
        links: Sequence[TraceContext] = (),
    ) -> Span:
        if parent is None or not parent.is_sampled:
            return NO_SPAN
        span = self._tracer.start_span(
            name,
            _as_parent(parent),
            _KINDS[kind],
            links=[otel.Link(_as_otel(link)) for link in links],
        )
        return SdkSpan(span, _context_of(span)) if span.is_recording() else NO_SPAN

    def close(self, *, timeout_s: float) -> None:
        # A collector that does not answer must not hold up the end of the process.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True, name="last spans")
        ending.start()
        ending.join(timeout_s)


class CountingExporter(SpanExporter):
    """Counts what was taken and what was lost, and says so once a minute at most."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._complained_s: float | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception as error:  # The boundary of somebody else's code, in a thread of its own.
            self._complain(repr(error))
            result = SpanExportResult.FAILURE
        is_taken = result is SpanExportResult.SUCCESS
        TRACE_SPANS.labels("exported" if is_taken else "lost").inc(len(spans))
        if not is_taken:
            self._complain("the collector did not take them")
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)

    def _complain(self, cause: str) -> None:
        now_s = time.monotonic()
        if self._complained_s is None or now_s - self._complained_s >= COMPLAIN_EVERY_S:
            self._complained_s = now_s
            log.warning("spans were lost; requests are not affected", cause=cause)


def open_sdk_tracer(service: str) -> SdkTracer:
    """Return a tracer that sends to the endpoint of the environment, by OTLP over HTTP."""
    provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
    hide_header_values()
    exporter = OTLPSpanExporter(session=collector_session())
    provider.add_span_processor(BatchSpanProcessor(CountingExporter(exporter)))
    return SdkTracer(provider)


def _resource(service: str) -> Resource:
    """What the environment says wins; `fileflux.service` always tells the processes apart."""
    return Resource.create(
        {
            "service.name": f"fileflux-{service}" if service else "fileflux",
            "service.namespace": "fileflux",
            "service.instance.id": str(uuid.uuid4()),
            **OTELResourceDetector().detect().attributes,
            "fileflux.service": service,
        }
    )


def _as_otel(context: TraceContext) -> otel.SpanContext:
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if context.is_sampled else 0)
    return otel.SpanContext(
        int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags
    )


def _as_parent(context: TraceContext | None) -> Any:
    """Never the SDK's own current span: ours is passed by hand. An empty context starts a trace."""
    span = otel.INVALID_SPAN if context is None else otel.NonRecordingSpan(_as_otel(context))
    return otel.set_span_in_context(span)


def _context_of(span: otel.Span) -> TraceContext:
    made = span.get_span_context()
    return TraceContext(
        otel.format_trace_id(made.trace_id),
        otel.format_span_id(made.span_id),
        made.trace_flags.sampled,
    )
