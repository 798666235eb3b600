"""The end of an upload's story: who was to be told of it, and what came of telling them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from fileflux.console.wiring import Surroundings, open_deliveries
from fileflux.metadata.audit_log import CLOCK_SLACK_US, Hop, Trace
from fileflux.metadata.deliveries_of_event import DeliveriesOfEvent, EventDeliveries
from fileflux.metadata.webhook_rows import AttemptRow, Cursor, Subscription
from fileflux.webhooks.filters import wants
from fileflux.webhooks.intake import told

State = Literal[
    "delivered", "waiting", "given up", "not yet read", "paused", "disabled", "no longer recorded"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStory:
    """One subscription. `next_us`: when it is tried again, 0 if it is not; `url`: an operator's."""

    webhook: str
    url: str
    state: State
    attempts: tuple[AttemptRow, ...]
    next_us: int = 0


class Webhooks(Protocol):
    """What is asked of the webhooks' store."""

    async def subscriptions(self) -> list[Subscription]: ...

    async def cursor(self) -> Cursor | None: ...


async def deliveries_of(found: Surroundings, traced: Trace) -> list[DeliveryStory]:
    """Return every subscription that wants the event; none before it is numbered."""
    if traced.numbered is None or traced.record.bucket_id is None:
        return []
    async with open_deliveries(found) as (webhooks, events):
        return await stories_of(webhooks, events, traced)


async def stories_of(
    webhooks: Webhooks, events: EventDeliveries, traced: Trace
) -> list[DeliveryStory]:
    """Return the stories of a numbered event of a bucket."""
    assert traced.numbered is not None
    assert traced.record.bucket_id is not None
    occurrence = told(traced.numbered)
    if occurrence is None:
        return []
    every = [one for one in await webhooks.subscriptions() if wants(one, occurrence)]
    # Asked in the order in which a delivery goes on: none slips through between two questions.
    cursor = await webhooks.cursor()
    recorded = await events.of_event(
        traced.record.bucket_id,
        position=traced.position,
        event_id=occurrence.event_id,
        since_us=traced.record.at_us - CLOCK_SLACK_US,
    )
    stories = [story_of(one, traced, recorded, cursor) for one in every]
    return [story for story in stories if story is not None]


def story_of(
    one: Subscription, traced: Trace, recorded: DeliveriesOfEvent, cursor: Cursor | None
) -> DeliveryStory | None:
    """Return what became of the event at one subscription; None if that came after the event."""
    name = one.subscription_id
    attempts = tuple(recorded.attempts.get(name, ()))
    state: State
    if name in recorded.waiting:
        state = "waiting"
    elif name in recorded.given_up:
        state = "given up"
    elif any(200 <= attempt.status < 300 for attempt in attempts):
        state = "delivered"
    elif _read_to(one, cursor) <= traced.position:
        state = one.state if one.state in ("paused", "disabled") else "not yet read"
    elif attempts or one.created_us < traced.record.at_us:
        state = "no longer recorded"
    else:
        return None
    return DeliveryStory(
        webhook=name.hex(),
        url=one.url,
        state=state,
        attempts=attempts,
        next_us=recorded.waiting.get(name, 0),
    )


def _read_to(one: Subscription, cursor: Cursor | None) -> int:
    """Return the first position that was not looked at for it, or that it came before."""
    if not one.is_live or cursor is None:
        return one.next_position
    return max(one.next_position, cursor.next_position)


def attempt_hops(stories: Sequence[DeliveryStory]) -> list[Hop]:
    """Return when each attempt was answered, or given up waiting."""
    return [
        Hop(f"webhook {story.webhook[:8]}: {_came_of(attempt)}", attempt.at_us + attempt.latency_us)
        for story in stories
        for attempt in story.attempts
    ]


def _came_of(attempt: AttemptRow) -> str:
    took = f"after {attempt.latency_us / 1_000:.1f} ms"
    if not attempt.status:
        return f"no answer {took}: {attempt.problem}"
    return f"answered {attempt.status} {took}"


def as_json(story: DeliveryStory) -> dict[str, Any]:
    return {
        "webhook": story.webhook,
        "url": story.url,
        "state": story.state,
        "next_attempt_us": story.next_us or None,
        "attempts": [
            {
                "at_us": attempt.at_us,
                "status": attempt.status,
                "latency_ms": attempt.latency_us / 1_000,
                "problem": attempt.problem,
            }
            for attempt in story.attempts
        ],
    }
