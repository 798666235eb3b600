"""W3C's `traceparent`, whoever wrote it, and a tracer that costs nothing where none is wanted."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core import tracing_choice
from fileflux.core.tracing import (
    NO_SPAN,
    NO_TRACER,
    TraceContext,
    parse_traceparent,
    sampled_of,
    shared_span,
    tracer,
)
from fileflux.core.tracing_choice import choose_tracer, is_wanted

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(("flags", "is_sampled"), [("01", True), ("00", False), ("03", True)])
def test_a_valid_header_is_read_and_written_again(flags: str, is_sampled: bool) -> None:
    found = parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}")

    assert found == TraceContext(TRACE, SPAN, is_sampled)
    assert found.traceparent == f"00-{TRACE}-{SPAN}-{'01' if is_sampled else '00'}"


def test_a_header_of_a_future_version_is_read_as_far_as_we_know_it() -> None:
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-comes") == TraceContext(TRACE, SPAN, True)
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01") == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}\u0663-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 500}",
        f"cc-{TRACE}-{SPAN}-01-\r\nx",
    ],
)
def test_an_invalid_header_is_no_context(text: str) -> None:
    assert parse_traceparent(text) is None


@given(st.one_of(st.text(), st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")))
def test_whatever_is_taken_is_valid_when_passed_on(text: str) -> None:
    found = parse_traceparent(text)

    assert found is None or parse_traceparent(found.traceparent) == found


def test_without_an_endpoint_every_span_is_the_same_nothing() -> None:
    sampled = TraceContext(TRACE, SPAN, True)

    assert choose_tracer("ingest", {}) is NO_TRACER
    assert tracer() is NO_TRACER
    assert NO_TRACER.span("x", sampled) is NO_TRACER.request("x", sampled) is NO_SPAN
    with NO_SPAN as span:
        assert not span
        assert span.context is None


def test_no_service_imports_the_sdk_unless_it_is_wanted() -> None:
    program = (
        "import sys, fileflux.ingest.wiring, fileflux.metadata.__main__\n"
        "import fileflux.webhooks.__main__, fileflux.storage_node.__main__\n"
        "from fileflux.core.tracing_choice import choose_tracer\n"
        "choose_tracer('ingest', {})\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_wanted_where_the_environment_says_no(env: dict[str, str]) -> None:
    assert not is_wanted(env)


def test_a_protocol_that_is_not_spoken_stops_no_service() -> None:
    assert choose_tracer("ingest", {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) is NO_TRACER


def test_a_missing_sdk_stops_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_choice, "EXPORTER_MODULE", "opentelemetry.not_installed.at_all")

    assert choose_tracer("ingest", ENDPOINT) is NO_TRACER


def test_only_sampled_contexts_count_and_each_once() -> None:
    first, other = TraceContext(TRACE, SPAN, True), TraceContext(TRACE, "1" * 16, True)
    unsampled = TraceContext(TRACE, "2" * 16, False)

    assert sampled_of([None, unsampled, first, other, first]) == [first, other]
    assert shared_span(NO_TRACER, "x", [None, unsampled]) is NO_SPAN
