"""Whatever a webhook sends is what the published schemas say, and nothing more."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.route_rows import route
from tests.model.schema_check import found_wrong, problems
from tests.model.webhook_rows import audit_record, subscription

from fileflux.console.asyncapi import asyncapi
from fileflux.core.clock import ManualClock
from fileflux.metadata.identity import encrypt_secret
from fileflux.metadata.webhook_rows import LIVE_RUN
from fileflux.webhooks.messages import Signer, queued
from fileflux.webhooks.occurrence import occurrence_of
from fileflux.webhooks.rendering import FORMATS, render, render_test
from fileflux.webhooks.routes.messages import routed
from fileflux.webhooks.signing import new_secret

TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"
MASTER_KEY = b"m" * 32
SCHEMA_OF = {
    "s3": "s3-notification",
    "cloudevents": "webhook-data",
    "cloudevents-structured": "webhook-event",
}
ROUTED_SCHEMA_OF = {
    "s3": "s3-notification",
    "cloudevents": "routed-data",
    "cloudevents-structured": "routed-event",
}
FACTS = st.fixed_dictionaries(
    {"outcome": st.just("ok")},
    optional={
        "size": st.integers(0, 5 << 40),
        "etag": st.text("0123456789abcdef-", max_size=40),
        "version": st.binary(min_size=16, max_size=16).map(bytes.hex),
    },
)


def declared_headers(schema: str) -> dict[str, Any]:
    message = asyncapi()["components"]["messages"][schema]
    made: dict[str, Any] = message["headers"]
    made["properties"]["content-type"] = {"const": message["contentType"]}
    return made


@settings(max_examples=60, deadline=None)
@given(
    key=st.binary(min_size=1, max_size=20) | st.text(min_size=1, max_size=20).map(str.encode),
    operation=st.sampled_from(["PutObject", "CopyObject", "DeleteObject"]),
    position=st.integers(1, 1_000_000),
    facts=FACTS,
)
def test_every_event_is_as_declared_in_every_format(
    key: bytes, operation: str, position: int, facts: dict[str, Any]
) -> None:
    record = audit_record(position, key, operation, **facts)
    happened = occurrence_of(record)
    assert happened is not None
    for name in FORMATS:
        body = render(subscription(format=name), happened).body
        assert problems(SCHEMA_OF[name], body) == [], body


@settings(max_examples=30, deadline=None)
@given(
    key=st.binary(min_size=1, max_size=20) | st.text(min_size=1, max_size=20).map(str.encode),
    operation=st.sampled_from(["PutObject", "CopyObject", "DeleteObject"]),
    facts=FACTS,
)
def test_every_event_of_a_route_is_as_declared_without_what_is_others(
    key: bytes, operation: str, facts: dict[str, Any]
) -> None:
    record = audit_record(7, key, operation, **facts)
    for form, schema in ROUTED_SCHEMA_OF.items():
        made = routed(route(format=form), record)
        assert made is not None
        assert problems(schema, made.body) == [], made.body
        assert form == "s3" or found_wrong(declared_headers(schema), dict(made.headers)) == []
        told = json.loads(made.body)
        told.get("data", told)["position"] = 7
        assert form == "s3" or problems(schema, told), "the check can fail"


@settings(max_examples=20, deadline=None)
@given(
    key=st.binary(min_size=1, max_size=20), operation=st.sampled_from(["PutObject", "DeleteObject"])
)
def test_the_headers_of_every_delivery_are_as_declared(key: bytes, operation: str) -> None:
    """Of what happens now, of a replay, and of a test; whatever bytes the key has."""
    happened = occurrence_of(audit_record(7, key, operation))
    assert happened is not None
    happened = replace(happened, actor={**happened.actor, "traceparent": TRACEPARENT})
    signer = Signer(MASTER_KEY, ManualClock())
    for name in FORMATS:
        to = subscription(format=name)
        to = replace(to, secret=encrypt_secret(MASTER_KEY, to.subscription_id.hex(), new_secret()))
        for run_id in (LIVE_RUN, b"r" * 16):
            delivery = queued(to, happened, run_id=run_id, now_us=5)
            headers = signer.headers(to, delivery)
            assert found_wrong(declared_headers(SCHEMA_OF[name]), headers) == []
            assert ("traceparent" in headers) == (run_id == LIVE_RUN)
            assert ("fileflux-replay" in headers) == (run_id != LIVE_RUN)


def test_test_messages_are_as_declared() -> None:
    for name in FORMATS:
        made = render_test(subscription(format=name), event_id="t1", time="2026-11-30T12:00:00Z")
        assert problems(SCHEMA_OF[name], made.body) == []


def test_what_is_not_declared_is_found() -> None:
    """The checks above can fail."""
    happened = occurrence_of(audit_record())
    assert happened is not None
    for name in FORMATS:
        told = json.loads(render(subscription(format=name), happened).body)
        steps = {"s3": ("Records", 0, "s3", "object"), "cloudevents-structured": ("data",)}
        place = told
        for step in steps.get(name, ()):
            place = place[step]
        place["undeclared"] = 1
        assert problems(SCHEMA_OF[name], told)
    assert set(SCHEMA_OF) == set(FORMATS)
