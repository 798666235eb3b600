"""Traces across the broker: W3C's `traceparent` in the headers of records, a span for each send.

Whoever publishes names the contexts of those that it publishes for: the first is the parent of the
send's span, the others are linked, and the record goes out with the span's own context. Only a
process that records traces has this publisher; without a context a record is sent as it is.
"""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from fileflux.core.tracing import TRACEPARENT, Span, TraceContext, Tracer, parse_traceparent
from fileflux.events.ports import EventPublisher, Position, Record

Headers = Sequence[tuple[str, bytes]]
Message = tuple[bytes | None, bytes, Headers]

SYSTEM: Final = "kafka"
_POSITION: Final = re.compile(rb"00[0-9]{18}")
"""As the sequencer writes it, small enough for an attribute; a dead letter's may be anything."""
_COPIED: Final = {"ce_id": "cloudevents.event_id", "ce_type": "cloudevents.event_type"}


def trace_headers(*contexts: TraceContext | None) -> tuple[tuple[str, bytes], ...]:
    """Return what to give to `publish` as headers: nothing without a context."""
    return tuple((TRACEPARENT, one.traceparent.encode()) for one in contexts if one is not None)


def context_of(record: Record) -> TraceContext | None:
    """Return the context that a record came with."""
    for name, value in record.headers:
        if name == TRACEPARENT:
            return parse_traceparent(value.decode("latin-1"))
    return None


class TracedPublisher:
    """An `EventPublisher` around another one."""

    def __init__(self, inner: EventPublisher, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    async def publish(
        self,
        topic: str,
        value: bytes,
        *,
        partition: int,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> Position:
        if not headers:
            return await self._inner.publish(topic, value, partition=partition, key=key)
        with self._begin(topic, partition, headers) as span:
            place = await self._inner.publish(
                topic, value, partition=partition, key=key, headers=_replaced(headers, span)
            )
            span.set("messaging.kafka.offset", place.offset)
        return place

    async def publish_all(
        self, topic: str, records: Sequence[Message], *, partition: int
    ) -> Position:
        with ExitStack() as spans:
            traced = []
            for key, value, headers in records:
                span = spans.enter_context(self._begin(topic, partition, headers))
                traced.append((key, value, _replaced(headers, span)))
            return await self._inner.publish_all(topic, traced, partition=partition)

    async def close(self) -> None:
        await self._inner.close()

    def _begin(self, topic: str, partition: int, headers: Headers) -> Span:
        contexts = [
            parse_traceparent(value.decode("latin-1"))
            for name, value in headers
            if name == TRACEPARENT
        ]
        sampled = [one for one in contexts if one is not None and one.is_sampled]
        parent = sampled[0] if sampled else None
        span = self._tracer.span(f"send {topic}", parent, kind="producer", links=sampled[1:])
        if span:
            describe(span, topic, partition, operation="send")
            for name, value in headers:
                if name in _COPIED:
                    span.set(_COPIED[name], value.decode("utf-8", "replace"))
                elif name == "ce_position" and _POSITION.fullmatch(value):
                    span.set("fileflux.audit.position", int(value))
        return span


def describe(span: Span, topic: str, partition: int, *, operation: str) -> None:
    """Set what the semantic conventions ask of a span about a record."""
    span.set("messaging.system", SYSTEM)
    span.set("messaging.operation.name", operation)
    span.set("messaging.operation.type", operation)
    span.set("messaging.destination.name", topic)
    span.set("messaging.destination.partition.id", str(partition))


def consumed(tracer: Tracer, record: Record) -> Span:
    """Begin the span of dealing with a record that came with a sampled context."""
    topic = record.position.topic
    span = tracer.span(f"process {topic}", context_of(record), kind="consumer")
    if span:
        describe(span, topic, record.position.partition, operation="process")
        span.set("messaging.kafka.offset", record.position.offset)
    return span


def _replaced(headers: Headers, span: Span) -> Headers:
    """The record carries one context: that of the span which sent it."""
    if not span:
        return headers
    rest = [(name, value) for name, value in headers if name != TRACEPARENT]
    return (*rest, *trace_headers(span.context))
