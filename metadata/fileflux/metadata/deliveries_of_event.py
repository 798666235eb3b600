"""What the database tells of one event's deliveries: attempts, what waits, what was given up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.ids import BucketId
from fileflux.metadata.postgres_fetch import StatementReader
from fileflux.metadata.postgres_webhooks import row_of
from fileflux.metadata.webhook_rows import LIVE_RUN, AttemptRow

ROWS_MAX: Final = 1_000
"""Of each kind. A bucket with more subscriptions is asked about by `fileflux webhook`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesOfEvent:
    """By subscription: attempts in order; when the next one is due; when it was given up (µs).

    Replays count as attempts only: what waits and what was given up is the live delivery.
    """

    attempts: Mapping[bytes, tuple[AttemptRow, ...]] = field(default_factory=dict)
    waiting: Mapping[bytes, int] = field(default_factory=dict)
    given_up: Mapping[bytes, int] = field(default_factory=dict)


class EventDeliveries(StatementReader):
    """Asks for them."""

    async def of_event(
        self, bucket_id: BucketId, *, position: int, event_id: str, since_us: int
    ) -> DeliveriesOfEvent:
        """Return what is recorded. `since_us`: no attempt was before, whoever's clock has it."""
        place = (bucket_id, LIVE_RUN, position, ROWS_MAX)
        # What waits comes first: it may be delivered, or given up, before the next question.
        waiting = await self._fetch("deliveries_waiting", *place)
        given_up = await self._fetch("deliveries_given_up", *place)
        attempts: dict[bytes, tuple[AttemptRow, ...]] = {}
        for one in await self._fetch(
            "deliveries_attempted", bucket_id, since_us, event_id, ROWS_MAX
        ):
            row = row_of(AttemptRow, one)
            attempts[row.subscription_id] = (*attempts.get(row.subscription_id, ()), row)
        return DeliveriesOfEvent(
            attempts=attempts,
            waiting={one["subscription_id"]: one["due_us"] for one in waiting},
            given_up={one["subscription_id"]: one["dead_us"] for one in given_up},
        )
