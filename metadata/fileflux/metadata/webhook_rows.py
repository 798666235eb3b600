"""Rows of webhooks: subscriptions, queued deliveries, attempts, replays.

They are an operator's configuration and its work in progress, not part of the audited state (ADR
0010): nothing here is needed to rebuild the store.
"""

from dataclasses import dataclass
from typing import Final, Literal

from fileflux.core.ids import BucketId, UserId

State = Literal["active", "paused", "disabled", "deleted"]
LIVE_RUN: Final = b""
"""The run of what is sent as it happens. A replay's run is its id; so is a test's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Who is told what. Secrets are encrypted with the master key (`identity.encrypt_secret`).

    `is_live`: it follows the dispatcher's position; otherwise `next_position` is the first event
    that was not looked at for it. `reason`: why it is not active. `destination_id`,
    `configuration_id`: of one that a bucket's notification configuration leads to.
    """

    subscription_id: bytes
    owner_id: UserId
    bucket_id: BucketId
    bucket: str
    url: str
    format: str
    event_names: tuple[str, ...]
    prefix: bytes
    suffix: bytes
    secret: bytes
    old_secret: bytes | None
    old_secret_until_us: int
    state: State
    reason: str
    is_live: bool
    next_position: int
    created_us: int
    changed_us: int
    destination_id: bytes = b""
    configuration_id: str = ""

    @property
    def secret_name(self) -> str:
        """What its secrets are bound to: a destination's are shared by all that lead there."""
        return (self.destination_id or self.subscription_id).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A receiver that notification configurations of its owner's buckets name by ARN."""

    destination_id: bytes
    owner_id: UserId
    name: str
    url: str
    secret: bytes
    old_secret: bytes | None = None
    old_secret_until_us: int = 0
    created_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifiedBucket:
    """A bucket as its notifications are derived. `notification`: the entry of its configuration.

    None: it has none, or is gone (`name` empty). `next_position`: of its first mark, None without
    one. `read_us`: now, by the database's clock.
    """

    bucket_id: BucketId
    name: str
    owner_id: UserId
    notification: str | None
    next_position: int | None
    read_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedDelivery:
    """A message that a subscriber has not taken. Rendered: every attempt sends these bytes.

    Deliveries of one (subscription, run, lane) go one after another, by position; the lane is a
    hash of the key. `attempts`: failed so far.
    """

    subscription_id: bytes
    run_id: bytes
    position: int
    lane: bytes
    message_id: str
    event_name: str
    headers: str
    body: bytes
    attempts: int
    due_us: int
    queued_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """What came of one attempt. `status` 0: no answer."""

    subscription_id: bytes
    at_us: int
    attempt_id: bytes
    message_id: str
    status: int
    latency_us: int
    head: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRow:
    """Past events that are sent again: from `next_position` up to before `end_position`."""

    subscription_id: bytes
    run_id: bytes
    next_position: int
    end_position: int
    rate: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """The dispatcher's position: everything before it was queued. `turn`: compare-and-set."""

    turn: int
    next_position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A delivery that was given up. `problem`: of its last attempt."""

    message_id: str
    event_name: str
    position: int
    attempts: int
    dead_us: int
    problem: str
    body: bytes
