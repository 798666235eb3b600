"""What the dispatcher of webhooks, and who administers them, see of the database.

Each call is one statement and one transaction. What `turn` guards changes nothing once another
dispatcher has taken the turn: LaneLost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fileflux.metadata.webhook_rows import (
    AttemptRow,
    Cursor,
    DeadLetter,
    QueuedDelivery,
    ReplayRow,
    State,
    Subscription,
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """`count`: deliveries in the queue. `oldest_us`: when the oldest was queued, 0 without any."""

    count: int
    oldest_us: int
    attempts_max: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """A subscription from one position to another; `before` is compared."""

    subscription_id: bytes
    before: int
    after: int
    is_live: bool


class WebhookStore(Protocol):
    """The dispatcher's half."""

    async def take_lease(self, owner: bytes, duration_us: int) -> bool:
        """Tell whether the lease of the dispatcher is `owner`'s, now for so long."""

    async def give_lease_back(self, owner: bytes) -> None: ...

    async def take_turn(self, first_position: int) -> Cursor:
        """Fence whoever had it. `first_position`: where the very first dispatcher begins."""

    async def changed_since(self, changed_us: int) -> list[Subscription]: ...

    async def replays(self) -> list[ReplayRow]: ...

    async def queue_counts(self) -> Mapping[bytes, Waiting]: ...

    async def queue_live(
        self, cursor: Cursor, after: int, deliveries: Sequence[QueuedDelivery]
    ) -> None:
        """Move the cursor to `after` and queue, or neither: LaneLost."""

    async def move_subscriptions(
        self, turn: int, moves: Sequence[Move], deliveries: Sequence[QueuedDelivery]
    ) -> None:
        """Move those that stand at `before`, and queue their deliveries; LaneLost."""

    async def move_replay(
        self, turn: int, replay: ReplayRow, after: int, deliveries: Sequence[QueuedDelivery]
    ) -> None: ...

    async def end_replay(self, replay: ReplayRow) -> None: ...

    async def queue_page(
        self, subscription_id: bytes, *, apart_from: Sequence[bytes], limit: int
    ) -> list[QueuedDelivery]:
        """The oldest deliveries. `apart_from`: run id and lane, joined."""

    async def note_delivered(self, delivery: QueuedDelivery, attempt: AttemptRow) -> None: ...

    async def note_failed(
        self, delivery: QueuedDelivery, attempt: AttemptRow, due_us: int
    ) -> None: ...

    async def note_given_up(self, delivery: QueuedDelivery, attempt: AttemptRow) -> None: ...

    async def set_state(self, subscription_id: bytes, state: State, reason: str) -> bool: ...

    async def remove(self, subscription_id: bytes) -> bool:
        """Remove a subscription that is marked so; False: only some of what it has."""

    async def forget(
        self, *, delivered_before_us: int, failed_before_us: int, dead_before_us: int
    ) -> bool:
        """Remove some attempts and dead letters that are older; False: there are more."""


class WebhookAdmin(Protocol):
    """The command line's half."""

    async def put_subscription(self, one: Subscription) -> None: ...

    async def subscriptions(self) -> list[Subscription]: ...

    async def subscription(self, subscription_id: bytes) -> Subscription | None: ...

    async def set_state(self, subscription_id: bytes, state: State, reason: str) -> bool: ...

    async def rotate_secret(
        self, subscription_id: bytes, secret: bytes, old_until_us: int
    ) -> bool: ...

    async def cursor(self) -> Cursor | None: ...

    async def put_replay(self, replay: ReplayRow) -> None: ...

    async def put_delivery(self, delivery: QueuedDelivery) -> None: ...

    async def retry_now(self, subscription_id: bytes, now_us: int) -> None:
        """What was put off is due."""

    async def attempts(self, subscription_id: bytes, limit: int) -> list[AttemptRow]: ...

    async def waiting(self, subscription_id: bytes) -> Waiting: ...

    async def dead_letters(self, subscription_id: bytes, limit: int) -> list[DeadLetter]: ...

    async def dead_count(self, subscription_id: bytes) -> int: ...

    async def redrive(self, subscription_id: bytes, now_us: int, limit: int) -> int: ...
