"""Whatever a webhook sends is what the published schemas say, and nothing more."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.route_rows import route
from tests.model.schema_check import problems
from tests.model.webhook_rows import audit_record, subscription

from fileflux.webhooks.occurrence import occurrence_of
from fileflux.webhooks.rendering import FORMATS, render, render_test
from fileflux.webhooks.routes.messages import routed

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


@settings(max_examples=60, deadline=None)
@given(
    key=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    operation=st.sampled_from(["PutObject", "CopyObject", "DeleteObject"]),
    position=st.integers(1, 1_000_000),
    facts=FACTS,
)
def test_every_event_is_as_declared_in_every_format(
    key: str, operation: str, position: int, facts: dict[str, Any]
) -> None:
    record = audit_record(position, key.encode(), operation, **facts)
    happened = occurrence_of(record)
    assert happened is not None
    for name in FORMATS:
        body = render(subscription(format=name), happened).body
        assert problems(SCHEMA_OF[name], body) == [], body


@settings(max_examples=30, deadline=None)
@given(
    key=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    operation=st.sampled_from(["PutObject", "CopyObject", "DeleteObject"]),
    facts=FACTS,
)
def test_every_event_of_a_route_is_as_declared_without_what_is_others(
    key: str, operation: str, facts: dict[str, Any]
) -> None:
    record = audit_record(7, key.encode(), operation, **facts)
    for form, schema in ROUTED_SCHEMA_OF.items():
        made = routed(route(format=form), record)
        assert made is not None
        assert problems(schema, made.body) == [], made.body
        told = json.loads(made.body)
        told.get("data", told)["position"] = 7
        assert form == "s3" or problems(schema, told), "the check can fail"


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
