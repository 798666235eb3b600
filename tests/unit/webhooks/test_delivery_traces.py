"""A receiver gets the trace of the request that it is told of; a replay is no part of it."""

import json
from dataclasses import replace

import pytest
from tests.model.recorded_spans import SAMPLED, SPAN, recording, traceparent_of
from tests.model.webhook_rows import audit_record, subscription

from fileflux.metadata.webhook_rows import LIVE_RUN, QueuedDelivery
from fileflux.webhooks.delivery_traces import DeliveryTraces
from fileflux.webhooks.messages import queued
from fileflux.webhooks.occurrence import occurrence_of
from fileflux.webhooks.retry import Result

HOOK = "https://hooks.example:8443/services/a-secret-path?token=another"


def delivery(*, run_id: bytes = LIVE_RUN, traceparent: str = SAMPLED) -> QueuedDelivery:
    found = occurrence_of(audit_record())
    assert found is not None
    told = replace(found, actor={**found.actor, "traceparent": traceparent})
    return queued(subscription(url=HOOK), told, run_id=run_id, now_us=1)


def test_a_live_delivery_carries_its_requests_trace() -> None:
    assert json.loads(delivery().headers)["traceparent"] == SAMPLED


@pytest.mark.parametrize(("run_id", "traceparent"), [(b"r" * 16, SAMPLED), (LIVE_RUN, "00-x\r\n")])
def test_a_replay_and_an_invalid_trace_carry_none(run_id: bytes, traceparent: str) -> None:
    made = delivery(run_id=run_id, traceparent=traceparent)

    assert "traceparent" not in json.loads(made.headers)


def test_an_attempt_is_a_span_that_the_receiver_goes_on_from() -> None:
    with recording() as spans:
        headers, traces = {"traceparent": SAMPLED}, DeliveryTraces()
        with traces.begin(subscription(url=HOOK), delivery(), headers) as span:
            traces.describe(span, Result(status=503, latency_us=5, head="x", problem="y"))

        (sent,) = spans.named("deliver webhook")
        assert headers["traceparent"] == traceparent_of(sent)
        assert sent.parent is not None
        assert sent.parent.span_id == int(SPAN, 16)
        assert sent.attributes is not None
        assert sent.attributes["http.response.status_code"] == 503
        assert sent.attributes["error.type"] == "503"
        assert sent.attributes["server.address"] == "hooks.example"


def test_no_span_of_an_attempt_tells_the_url() -> None:
    with recording() as spans:
        traces = DeliveryTraces()
        with traces.begin(subscription(url=HOOK), delivery(), {"traceparent": SAMPLED}) as span:
            traces.describe(span, Result(status=0, latency_us=5, problem="a secret answer"))

        told = spans.all()[0].to_json()
        assert "secret" not in told
        assert "token" not in told
        assert '"error.type": "no_answer"' in told


def test_without_a_tracer_the_header_goes_out_as_it_is() -> None:
    headers = {"traceparent": SAMPLED}
    with DeliveryTraces().begin(subscription(url=HOOK), delivery(), headers) as span:
        assert not span
    assert headers == {"traceparent": SAMPLED}
