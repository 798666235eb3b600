"""What the dispatcher of webhooks, and who administers them, see of the database.

Each call is one statement and one transaction. What `turn` guards changes nothing once another
dispatcher has taken the turn: LaneLost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from fileflux.core.ids import UserId
from fileflux.metadata.webhook_rows import (
    AttemptRow,
    Cursor,
    DeadLetter,
    Destination,
    NotifiedBucket,
    QueuedDelivery,
    ReplayRow,
    State,
    Subscription,
)

NOTHING_KNOWN: Final[Mapping[bytes, int]] = MappingProxyType({})


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

    async def changed_since(
        self, changed_us: int, known: Mapping[bytes, int] = NOTHING_KNOWN
    ) -> list[Subscription]:
        """Those that changed at a time or after it, as they changed; removed ones too.

        `known`: when those changed that need not come again.
        """

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


class NotificationStore(Protocol):
    """What turns notification configurations into subscriptions: the dispatcher's, too."""

    async def marked_buckets(self, bucket_id: bytes, limit: int) -> list[NotifiedBucket]:
        """A page of those whose configuration may just have changed, by id."""

    async def buckets_after(self, bucket_id: bytes, limit: int) -> list[NotifiedBucket]:
        """A page of all buckets, by id; one without a configuration has no `notification`."""

    async def derived(self, bucket_ids: Sequence[bytes]) -> list[Subscription]:
        """Subscriptions that configurations of these buckets led to, not removed ones."""

    async def destinations_of(self, owner_ids: Sequence[UserId]) -> list[Destination]: ...

    async def put_derived(self, turn: int, one: Subscription, test: QueuedDelivery | None) -> bool:
        """Add a subscription with its destination's URL and secrets, and queue its test message.

        False if it is there, its destination is gone, or another dispatcher has the turn.
        """

    async def end_derived(self, turn: int, subscription_ids: Sequence[bytes]) -> None:
        """Mark subscriptions as removed, unless another dispatcher has the turn."""

    async def end_orphans(self, turn: int) -> None:
        """The same for all that configurations of buckets led to which are gone."""

    async def unmark(self, bucket_ids: Sequence[bytes], before_us: int) -> None:
        """Forget their marks that are so old."""


class WebhookAdmin(Protocol):
    """The half of those who administer: the command line and the HTTP API."""

    async def put_subscription(self, one: Subscription) -> None: ...

    async def subscriptions(self) -> list[Subscription]: ...

    async def subscriptions_of(
        self, owner_id: UserId, *, bucket_id: bytes = b"", after: bytes, limit: int
    ) -> list[Subscription]:
        """A page of an owner's, by id; of one bucket's, if that is named."""

    async def bucket_count(self, bucket_id: bytes) -> int:
        """How many subscriptions a bucket has that were made by themselves."""

    async def mark_bucket(self, bucket_id: bytes, mark_id: bytes, next_position: int) -> None:
        """Announce a change of a bucket's configuration, before it is made."""

    async def put_destination(self, one: Destination) -> bool:
        """Tell whether it was added: a name is taken once per owner."""

    async def destinations_of(self, owner_ids: Sequence[UserId]) -> list[Destination]: ...

    async def rotate_destination(self, one: Destination, secret: bytes, old_until_us: int) -> bool:
        """Give a destination, and all that lead there, a new secret."""

    async def remove_destination(self, one: Destination) -> None:
        """Remove it with the subscriptions that lead there."""

    async def subscription(self, subscription_id: bytes) -> Subscription | None: ...

    async def set_state(self, subscription_id: bytes, state: State, reason: str) -> bool: ...

    async def rotate_secret(
        self, subscription_id: bytes, secret: bytes, old_until_us: int
    ) -> bool: ...

    async def cursor(self) -> Cursor | None: ...

    async def put_replay(self, replay: ReplayRow) -> None: ...

    async def replay_count(self, owner_id: UserId) -> int:
        """How many replays of an owner's subscriptions are not queued whole yet."""

    async def put_delivery(self, delivery: QueuedDelivery) -> None: ...

    async def retry_now(self, subscription_id: bytes, now_us: int) -> None:
        """What was put off is due."""

    async def attempts(self, subscription_id: bytes, limit: int) -> list[AttemptRow]: ...

    async def waiting(self, subscription_id: bytes) -> Waiting: ...

    async def dead_letters(self, subscription_id: bytes, limit: int) -> list[DeadLetter]: ...

    async def dead_count(self, subscription_id: bytes) -> int: ...

    async def redrive(self, subscription_id: bytes, now_us: int, limit: int) -> int: ...
