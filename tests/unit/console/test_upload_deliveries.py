"""What `fileflux trace` says of an event's deliveries."""

from typing import Any

import pytest
from tests.model.webhook_rows import audit_record, stamp_of, subscription

from fileflux.console.upload_deliveries import as_json, attempt_hops, story_of
from fileflux.metadata.audit_log import traced
from fileflux.metadata.deliveries_of_event import DeliveriesOfEvent
from fileflux.metadata.webhook_rows import AttemptRow, Cursor

EVENT = traced(audit_record(position=7))
NAME = b"s" * 16
BEFORE = {"subscription_id": NAME, "created_us": stamp_of(1), "is_live": True}
READ = Cursor(1, 8)


def attempt(status: int, problem: str = "") -> AttemptRow:
    return AttemptRow(
        subscription_id=NAME,
        at_us=stamp_of(7) + 2_000,
        attempt_id=b"a" * 16,
        message_id="e",
        status=status,
        latency_us=3_500,
        head="",
        problem=problem,
    )


@pytest.mark.parametrize(
    ("recorded", "cursor", "state"),
    [
        ({"attempts": {NAME: (attempt(500), attempt(204))}}, READ, "delivered"),
        ({"attempts": {NAME: (attempt(500),)}, "waiting": {NAME: 99}}, READ, "waiting"),
        ({"attempts": {NAME: (attempt(500),)}, "given_up": {NAME: 99}}, READ, "given up"),
        ({}, Cursor(1, 7), "not yet read"),
        ({}, None, "no longer recorded"),
        ({}, READ, "no longer recorded"),
    ],
)
def test_a_delivery_is_in_one_of_these_states(
    recorded: dict[str, Any], cursor: Cursor | None, state: str
) -> None:
    one = subscription(**BEFORE, next_position=8)
    story = story_of(one, EVENT, DeliveriesOfEvent(**recorded), cursor)

    assert story is not None
    assert story.state == state
    assert as_json(story)["next_attempt_us"] == recorded.get("waiting", {}).get(NAME)


def test_a_webhook_that_came_after_the_event_has_no_part_in_it() -> None:
    late = subscription(subscription_id=NAME, created_us=stamp_of(9), next_position=9)

    assert story_of(late, EVENT, DeliveriesOfEvent(), READ) is None


def test_each_attempt_is_a_hop_at_the_time_of_its_answer() -> None:
    recorded = DeliveriesOfEvent(attempts={NAME: (attempt(0, "no answer within 10 s"),)})
    story = story_of(subscription(**BEFORE), EVENT, recorded, READ)
    assert story is not None

    (hop,) = attempt_hops([story])
    assert hop.at_us == stamp_of(7) + 2_000 + 3_500
    assert "no answer after 3.5 ms: no answer within 10 s" in hop.name
