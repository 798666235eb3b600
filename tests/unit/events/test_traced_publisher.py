"""A trace goes with a record and comes out on the other side, and asks nothing of other records."""

from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from tests.model.recorded_spans import (
    SAMPLED,
    SPAN,
    TRACE,
    UNSAMPLED,
    RecordedSpans,
    recording,
    traceparent_of,
)

from fileflux.core.clock import ManualClock
from fileflux.core.tracing import TraceContext, parse_traceparent, tracer
from fileflux.events.memory import MemoryBroker
from fileflux.events.topics import AUDIT, UPLOADS_SEALED
from fileflux.events.traced_publisher import consumed, context_of, trace_headers

HERE = TraceContext(TRACE, SPAN, True)
OTHER = TraceContext("a" * 32, "b" * 16, True)


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    with recording() as recorded:
        yield recorded


async def test_a_record_carries_the_context_of_the_span_that_sent_it(spans: RecordedSpans) -> None:
    broker = MemoryBroker(clock=ManualClock(), lanes=1)
    publisher = await broker.fast_publisher()
    headers = trace_headers(None, HERE, OTHER)
    await publisher.publish(UPLOADS_SEALED, b"x", partition=0, headers=headers)

    (record,) = broker.records(UPLOADS_SEALED)
    (sent,) = spans.named(f"send {UPLOADS_SEALED}")
    assert record.headers == (("traceparent", traceparent_of(sent).encode()),)
    assert sent.attributes is not None
    assert sent.attributes["messaging.system"] == "kafka"
    assert sent.attributes["messaging.destination.name"] == UPLOADS_SEALED
    assert sent.attributes["messaging.kafka.offset"] == 0
    assert [link.context.trace_id for link in sent.links] == [int(OTHER.trace_id, 16)]
    with consumed(tracer(), record) as taken:
        assert taken.context is not None
        assert taken.context.trace_id == TRACE


@pytest.mark.parametrize("headers", [(), trace_headers(parse_traceparent(UNSAMPLED))])
async def test_a_record_that_nobody_records_leaves_no_span_and_keeps_its_headers(
    spans: RecordedSpans, headers: tuple[tuple[str, bytes], ...]
) -> None:
    broker = MemoryBroker(clock=ManualClock(), lanes=1)
    publisher = await broker.safe_publisher()
    await publisher.publish(UPLOADS_SEALED, b"x", partition=0, headers=headers)

    (record,) = broker.records(UPLOADS_SEALED)
    assert record.headers == headers
    assert spans.all() == []
    assert not consumed(tracer(), record)


async def test_of_many_records_each_has_a_span_of_its_own_trace(spans: RecordedSpans) -> None:
    broker = MemoryBroker(clock=ManualClock(), lanes=1)
    publisher = await broker.safe_publisher()
    traced = [("ce_id", b"e1"), ("ce_position", b"%020d" % 7), *trace_headers(HERE)]
    await publisher.publish_all(AUDIT, [(b"k", b"1", traced), (b"k", b"2", ())], partition=0)

    first, second = broker.records(AUDIT)
    (sent,) = spans.all()
    assert context_of(first) == parse_traceparent(traceparent_of(sent))
    assert second.headers == ()
    assert sent.attributes is not None
    assert sent.attributes["fileflux.audit.position"] == 7
    assert sent.attributes["cloudevents.event_id"] == "e1"


@pytest.mark.parametrize("position", [b"x", b"", b"9" * 20, b"\xb2", b"-1"])
async def test_whatever_the_headers_of_a_dead_letter_say_it_is_published_and_its_span_exported(
    spans: RecordedSpans, position: bytes
) -> None:
    """A record that is set aside keeps its headers, and who wrote them is not known."""
    broker = MemoryBroker(clock=ManualClock(), lanes=1)
    publisher = await broker.safe_publisher()
    headers = [("ce_position", position), ("ce_id", b"\xff"), *trace_headers(HERE)]
    await publisher.publish(UPLOADS_SEALED, b"x", partition=0, headers=headers)

    assert len(broker.records(UPLOADS_SEALED)) == 1
    assert len(encode_spans(spans.all()).SerializeToString()) > 0


async def test_a_hostile_header_of_a_record_is_no_context() -> None:
    broker = MemoryBroker(clock=ManualClock(), lanes=1)
    publisher = await broker.safe_publisher()
    headers = [("traceparent", b"\xff" + SAMPLED.encode())]
    await publisher.publish(UPLOADS_SEALED, b"x", partition=0, headers=headers)

    assert context_of(broker.records(UPLOADS_SEALED)[0]) is None
