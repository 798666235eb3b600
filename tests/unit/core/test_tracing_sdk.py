"""The SDK behind the port, against a collector that takes, refuses, hangs or is not there."""

import logging
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context

import pytest
from prometheus_client import REGISTRY
from tests.model.otlp_receiver import EndlessAnswers, OtlpReceiver

from fileflux.core.tracing import NO_SPAN, TraceContext, Tracer, current
from fileflux.core.tracing_choice import choose_tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = TraceContext(TRACE, SPAN, True)


@pytest.fixture(autouse=True)
def _no_thread_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The exporter's draws from `random` for its pauses: other tests would notice."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive(), thread.name


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver().running() as running:
        yield running


@pytest.fixture
def chosen(receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracer]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    made = choose_tracer("ingest")
    yield made
    receiver.delay.set()
    made.close(timeout_s=10)


def count_of(outcome: str) -> float:
    return REGISTRY.get_sample_value("fileflux_trace_spans_total", {"outcome": outcome}) or 0.0


def test_spans_continue_the_clients_trace_and_are_sent_when_the_process_ends(
    chosen: Tracer, receiver: OtlpReceiver
) -> None:
    with chosen.request("PutObject", PARENT) as request:
        assert request.context is not None
        assert current() == request.context
        other = TraceContext("1" * 32, "2" * 16, True)
        with chosen.span("flush", current(), links=[other]) as child:
            child.set("fileflux.uploads", 2)
    assert current() is None
    chosen.close(timeout_s=10)

    by_name = {span.name: span for span in receiver.spans}
    assert by_name["PutObject"].trace_id == by_name["flush"].trace_id == TRACE
    assert by_name["PutObject"].parent_id == SPAN
    assert by_name["flush"].parent_id == request.context.span_id
    assert by_name["flush"].links == ((other.trace_id, other.span_id),)
    assert by_name["flush"].attributes == {"fileflux.uploads": 2}
    assert by_name["flush"].service == "fileflux-ingest"


def test_a_client_that_does_not_sample_is_obeyed_and_its_trace_goes_on(chosen: Tracer) -> None:
    with chosen.request("PutObject", TraceContext(TRACE, SPAN, False)) as request:
        assert not request
        assert request.context is not None
        assert (request.context.trace_id, request.context.is_sampled) == (TRACE, False)
        assert chosen.span("flush", request.context) is NO_SPAN


def test_the_sampler_of_the_environment_decides_where_a_trace_begins(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    never = choose_tracer("ingest")

    with never.request("GetObject", None) as unsampled:
        assert not unsampled
        assert unsampled.context is None, "nobody could look such a trace up"
    assert never.request("GetObject", PARENT)
    never.close(timeout_s=10)


def test_an_error_names_its_kind_and_never_its_message(
    chosen: Tracer, receiver: OtlpReceiver
) -> None:
    with pytest.raises(ValueError, match="a secret"), chosen.request("PutObject", PARENT):
        raise ValueError("a secret")
    chosen.close(timeout_s=10)

    assert receiver.spans[0].attributes == {"error.type": "ValueError"}


def test_a_span_that_is_ended_elsewhere_ends_all_the_same(
    chosen: Tracer, receiver: OtlpReceiver
) -> None:
    """As a task's that is collected with its loop: by whoever happens to collect it."""
    span = chosen.request("GetObject", PARENT)
    copy_context().run(span.__enter__)
    span.__exit__(None)
    chosen.close(timeout_s=10)

    assert [one.name for one in receiver.spans] == ["GetObject"]
    assert current() is None


def test_credentials_of_the_collector_are_not_logged_when_they_are_written_wrongly(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer open-sesame")
    caplog.set_level(logging.WARNING, "opentelemetry")
    choose_tracer("ingest").close(timeout_s=10)

    assert "Header format invalid" in caplog.text
    assert "sesame" not in caplog.text


def test_one_connection_serves_batch_after_batch(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    made = choose_tracer("ingest")
    for batch in range(1, 4):
        with made.request("GetObject", PARENT):
            pass
        receiver.wait_for_requests(batch)
    made.close(timeout_s=10)

    assert receiver.connections == 1


def test_an_endless_answer_of_a_collector_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with EndlessAnswers().running() as endless:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endless.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
        made = choose_tracer("ingest")
        exported = count_of("exported")
        with made.request("GetObject", PARENT):
            pass
        made.close(timeout_s=20)

        assert count_of("exported") == exported + 1
        assert endless.sent < 64 << 20


def test_a_collector_that_refuses_costs_spans_which_are_counted(
    chosen: Tracer, receiver: OtlpReceiver
) -> None:
    receiver.status = 400
    lost = count_of("lost")
    for _ in range(3):
        with chosen.request("GetObject", PARENT):
            pass
    chosen.close(timeout_s=10)

    assert receiver.spans == []
    assert count_of("lost") == lost + 3


def test_a_collector_that_hangs_holds_up_neither_requests_nor_the_end(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    made = choose_tracer("ingest")
    receiver.delay.clear()
    began_s = time.monotonic()
    for _ in range(3_000):  # More than the queue takes.
        with made.request("GetObject", PARENT):
            pass
    made.close(timeout_s=0.2)

    assert time.monotonic() - began_s < 30, "it did not wait for an answer"
    assert receiver.spans == []


def test_a_collector_that_is_not_there_is_no_problem_of_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    nowhere = choose_tracer("ingest")
    with nowhere.request("GetObject", PARENT) as request:
        assert request
    nowhere.close(timeout_s=0.2)
