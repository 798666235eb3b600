"""What `fileflux trace` says of an event's deliveries."""

from dataclasses import asdict
from typing import Any

import pytest
from tests.model.webhook_rows import audit_record, stamp_of, subscription

from fileflux.console.upload_deliveries import as_json, attempt_hops, stories_of, story_of
from fileflux.metadata.audit_log import traced
from fileflux.metadata.deliveries_of_event import DeliveriesOfEvent, EventDeliveries
from fileflux.metadata.webhook_rows import AttemptRow, Cursor, Subscription

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
    one = subscription(**BEFORE, next_position=8 if cursor is None else 5)
    story = story_of(one, EVENT, DeliveriesOfEvent(**recorded), cursor)

    assert story is not None
    assert story.state == state
    assert as_json(story)["next_attempt_us"] == recorded.get("waiting", {}).get(NAME)


def test_a_webhook_that_came_after_the_event_has_no_part_in_it() -> None:
    late = subscription(subscription_id=NAME, created_us=stamp_of(9), next_position=9)

    assert story_of(late, EVENT, DeliveriesOfEvent(), READ) is None


def test_a_webhook_that_came_after_the_event_waits_for_nothing_while_the_dispatcher_is_behind() -> (
    None
):
    late = subscription(subscription_id=NAME, created_us=stamp_of(9), is_live=True, next_position=9)

    assert story_of(late, EVENT, DeliveriesOfEvent(), Cursor(1, 7)) is None


@pytest.mark.parametrize("state", ["paused", "disabled"])
def test_a_webhook_that_is_stopped_is_not_said_to_be_behind(state: Any) -> None:
    one = subscription(**{**BEFORE, "is_live": False}, next_position=5, state=state)
    story = story_of(one, EVENT, DeliveriesOfEvent(), READ)

    assert story is not None
    assert story.state == state


class GoingOn(EventDeliveries):
    """A dispatcher that is always one step on when it is asked again, and its database."""

    def __init__(self, at_us: int) -> None:
        self._step = -1
        self._row = asdict(attempt(204)) | {"at_us": at_us}
        self.subscription = subscription(**BEFORE, next_position=1)

    def _next_step(self) -> int:
        """0: not read, 1: it waits for its first attempt, 2: delivered."""
        self._step += 1
        return self._step

    async def subscriptions(self) -> list[Subscription]:
        return [self.subscription]

    async def cursor(self) -> Cursor:
        return Cursor(1, EVENT.position + min(1, self._next_step()))

    async def _fetch(self, name: str, *arguments: Any) -> Any:
        step = self._next_step()
        if name == "deliveries_waiting" and step == 1:
            return [{"subscription_id": NAME, "due_us": 1}]
        is_there = name == "deliveries_attempted" and arguments[1] <= self._row["at_us"]
        return [self._row] if is_there and step > 1 else []


@pytest.mark.parametrize("steps_before", [0, 1, 2])
async def test_a_delivery_that_goes_on_while_it_is_asked_about_is_not_lost(
    steps_before: int,
) -> None:
    going = GoingOn(stamp_of(7) + 2_000)
    for _ in range(steps_before):
        going._next_step()

    (story,) = await stories_of(going, going, EVENT)

    assert story.state in ("not yet read", "waiting", "delivered")


async def test_a_dispatcher_whose_clock_is_behind_has_delivered_all_the_same() -> None:
    """The attempt is stamped by another machine than the request."""
    going = GoingOn(stamp_of(7) - 2_000_000)
    for _ in range(3):
        going._next_step()

    (story,) = await stories_of(going, going, EVENT)

    assert story.state == "delivered"


def test_each_attempt_is_a_hop_at_the_time_of_its_answer() -> None:
    recorded = DeliveriesOfEvent(attempts={NAME: (attempt(0, "no answer within 10 s"),)})
    story = story_of(subscription(**BEFORE), EVENT, recorded, READ)
    assert story is not None

    (hop,) = attempt_hops([story])
    assert hop.at_us == stamp_of(7) + 2_000 + 3_500
    assert "no answer after 3.5 ms: no answer within 10 s" in hop.name
