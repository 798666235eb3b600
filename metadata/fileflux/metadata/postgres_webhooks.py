"""The ports of webhooks and notifications on a database that speaks PostgreSQL's protocol.

A statement whose answer got lost is run once more; each is written so that the second time changes
nothing, or is noticed and looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Final, TypeVar

import asyncpg

from fileflux.core.errors import LaneLost
from fileflux.core.ids import UserId
from fileflux.metadata.postgres_fetch import StatementReader
from fileflux.metadata.webhook_ports import NOTHING_KNOWN, Move, Waiting
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

LEASE: Final = "webhooks"
REMOVED_AT_ONCE: Final = 2_000
_REMOVED: Final = ("webhook_remove_deliveries", "webhook_remove_attempts", "webhook_remove_dead")
_QUEUED: Final = (
    "subscription_id",
    "run_id",
    "position",
    "lane",
    "message_id",
    "event_name",
    "headers",
    "body",
    "queued_us",
)
Row = TypeVar("Row")


class PostgresDestinations(StatementReader):
    """Destinations, marks, and the subscriptions that configurations lead to."""

    async def put_destination(self, one: Destination) -> bool:
        made = await self._fetch(
            "webhook_put_destination",
            *(one.owner_id, one.name, one.destination_id, one.url, one.secret, one.created_us),
        )
        if made:
            return True
        # A first try whose answer got lost is ours, too.
        found = await self._fetch("webhook_destination", one.owner_id, one.name)
        return [row["destination_id"] for row in found] == [one.destination_id]

    async def destinations_of(self, owner_ids: Sequence[UserId]) -> list[Destination]:
        found = await self._fetch("webhook_destinations_of", list(owner_ids))
        return [row_of(Destination, one) for one in found]

    async def rotate_destination(self, one: Destination, secret: bytes, old_until_us: int) -> bool:
        arguments = (one.owner_id, one.name, secret, old_until_us)
        if not await self._fetch("webhook_rotate_destination", *arguments):
            return False
        # A statement of its own: it sees what was derived while the one before waited.
        await self._fetch("webhook_spread_secret", one.destination_id)
        return True

    async def remove_destination(self, one: Destination) -> None:
        await self._fetch("webhook_remove_destination", one.destination_id)
        await self._fetch("webhook_end_destination", one.destination_id)

    async def mark_bucket(self, bucket_id: bytes, mark_id: bytes, next_position: int) -> None:
        await self._fetch("webhook_mark_bucket", bucket_id, mark_id, next_position)

    async def marked_buckets(self, bucket_id: bytes, limit: int) -> list[NotifiedBucket]:
        found = await self._fetch("webhook_marked_buckets", bucket_id, limit)
        return [NotifiedBucket(**dict(one)) for one in found]

    async def buckets_after(self, bucket_id: bytes, limit: int) -> list[NotifiedBucket]:
        found = await self._fetch("webhook_buckets_after", bucket_id, limit)
        return [NotifiedBucket(**dict(one)) for one in found]

    async def unmark(self, bucket_ids: Sequence[bytes], before_us: int) -> None:
        await self._fetch("webhook_unmark", list(bucket_ids), before_us)

    async def derived(self, bucket_ids: Sequence[bytes]) -> list[Subscription]:
        found = await self._fetch("webhook_derived", list(bucket_ids))
        return [_subscription(one) for one in found]

    async def end_derived(self, turn: int, subscription_ids: Sequence[bytes]) -> None:
        await self._fetch("webhook_end_derived", turn, list(subscription_ids))

    async def end_orphans(self, turn: int) -> None:
        await self._fetch("webhook_end_orphans", turn)

    async def put_derived(self, turn: int, one: Subscription, test: QueuedDelivery | None) -> bool:
        queued = _columns([] if test is None else [test])
        found = await self._fetch(
            "webhook_put_derived",
            *(turn, one.destination_id, one.subscription_id, one.bucket_id, one.bucket),
            *(one.format, " ".join(one.event_names), one.prefix, one.suffix, one.next_position),
            *(one.created_us, one.configuration_id),
            *queued[1:],
        )
        return bool(found[0]["made"])


class PostgresWebhooks(PostgresDestinations):
    """Both halves."""

    async def take_lease(self, owner: bytes, duration_us: int) -> bool:
        return bool(await self._fetch("take_lease", LEASE, owner, duration_us))

    async def give_lease_back(self, owner: bytes) -> None:
        await self._fetch("give_lease_back", LEASE, owner)

    async def take_turn(self, first_position: int) -> Cursor:
        return Cursor(*(await self._fetch("webhook_take_turn", first_position))[0])

    async def cursor(self) -> Cursor | None:
        found = await self._fetch("webhook_cursor")
        return Cursor(*found[0]) if found else None

    async def changed_since(
        self, changed_us: int, known: Mapping[bytes, int] = NOTHING_KNOWN
    ) -> list[Subscription]:
        changes = await self._fetch("webhook_changes", changed_us)
        names = [name for name, at_us in changes if known.get(name) != at_us]
        found = await self._fetch("webhook_changed", names) if names else []
        return [_subscription(one) for one in found]

    async def replays(self) -> list[ReplayRow]:
        return [row_of(ReplayRow, one) for one in await self._fetch("webhook_replays")]

    async def queue_counts(self) -> Mapping[bytes, Waiting]:
        found = await self._fetch("webhook_queue_counts")
        return {one["subscription_id"]: Waiting(one["waiting"], one["oldest_us"]) for one in found}

    async def queue_live(
        self, cursor: Cursor, after: int, deliveries: Sequence[QueuedDelivery]
    ) -> None:
        places = (cursor.turn, cursor.next_position, after)
        found = await self._fetch("webhook_queue_live", *places, *_columns(deliveries))
        if not found[0]["moved"] and await self.cursor() != Cursor(cursor.turn, after):
            raise LaneLost("another dispatcher of webhooks has taken the turn")

    async def move_subscriptions(
        self, turn: int, moves: Sequence[Move], deliveries: Sequence[QueuedDelivery]
    ) -> None:
        places = (
            [move.subscription_id for move in moves],
            [move.before for move in moves],
            [move.after for move in moves],
            [move.is_live for move in moves],
        )
        found = await self._fetch(
            "webhook_move_subscriptions", turn, *places, *_columns(deliveries)
        )
        _must_hold(found)

    async def move_replay(
        self, turn: int, replay: ReplayRow, after: int, deliveries: Sequence[QueuedDelivery]
    ) -> None:
        places = (replay.subscription_id, replay.run_id, replay.next_position, after)
        found = await self._fetch("webhook_move_replay", turn, *places, *_columns(deliveries))
        _must_hold(found)

    async def end_replay(self, replay: ReplayRow) -> None:
        await self._fetch("webhook_end_replay", replay.subscription_id, replay.run_id)

    async def queue_page(
        self, subscription_id: bytes, *, apart_from: Sequence[bytes], limit: int
    ) -> list[QueuedDelivery]:
        found = await self._fetch("webhook_queue_page", subscription_id, list(apart_from), limit)
        return [QueuedDelivery(**dict(one)) for one in found]

    async def note_delivered(self, delivery: QueuedDelivery, attempt: AttemptRow) -> None:
        await self._fetch("webhook_delivered", *_noted(delivery, attempt))

    async def note_failed(self, delivery: QueuedDelivery, attempt: AttemptRow, due_us: int) -> None:
        await self._fetch(
            "webhook_failed", *_noted(delivery, attempt), delivery.attempts + 1, due_us
        )

    async def note_given_up(self, delivery: QueuedDelivery, attempt: AttemptRow) -> None:
        problem = attempt.problem or f"HTTP {attempt.status}"
        await self._fetch(
            "webhook_given_up", *_noted(delivery, attempt), delivery.attempts + 1, problem
        )

    async def set_state(self, subscription_id: bytes, state: State, reason: str) -> bool:
        return bool(await self._fetch("webhook_set_state", subscription_id, state, reason))

    async def remove(self, subscription_id: bytes) -> bool:
        is_whole = True
        for name in _REMOVED:
            found = await self._fetch(name, subscription_id, REMOVED_AT_ONCE)
            is_whole = is_whole and len(found) < REMOVED_AT_ONCE
        if is_whole:
            await self._fetch("webhook_remove", subscription_id)
        return is_whole

    async def forget(
        self, *, delivered_before_us: int, failed_before_us: int, dead_before_us: int
    ) -> bool:
        attempts = await self._fetch(
            "webhook_forget_attempts", delivered_before_us, failed_before_us, REMOVED_AT_ONCE
        )
        dead = await self._fetch("webhook_forget_dead", dead_before_us, REMOVED_AT_ONCE)
        return max(len(attempts), len(dead)) < REMOVED_AT_ONCE

    async def put_subscription(self, one: Subscription) -> None:
        await self._fetch(
            "webhook_put_subscription",
            one.subscription_id,
            one.owner_id,
            one.bucket_id,
            one.bucket,
            one.url,
            one.format,
            " ".join(one.event_names),
            one.prefix,
            one.suffix,
            one.secret,
            one.next_position,
            one.created_us,
        )

    async def subscriptions(self) -> list[Subscription]:
        return [_subscription(one) for one in await self._fetch("webhook_subscriptions")]

    async def subscriptions_of(
        self, owner_id: UserId, *, bucket_id: bytes = b"", after: bytes, limit: int
    ) -> list[Subscription]:
        found = await self._fetch("webhook_subscriptions_of", owner_id, after, bucket_id, limit)
        return [_subscription(one) for one in found]

    async def bucket_count(self, bucket_id: bytes) -> int:
        return int((await self._fetch("webhook_bucket_count", bucket_id))[0]["subscriptions"])

    async def subscription(self, subscription_id: bytes) -> Subscription | None:
        found = await self._fetch("webhook_subscription", subscription_id)
        return _subscription(found[0]) if found else None

    async def rotate_secret(self, subscription_id: bytes, secret: bytes, old_until_us: int) -> bool:
        return bool(
            await self._fetch("webhook_rotate_secret", subscription_id, secret, old_until_us)
        )

    async def put_replay(self, replay: ReplayRow) -> None:
        await self._fetch(
            "webhook_put_replay",
            replay.subscription_id,
            replay.run_id,
            replay.next_position,
            replay.end_position,
            replay.rate,
        )
        await self._fetch("webhook_touch", replay.subscription_id)

    async def replay_count(self, owner_id: UserId) -> int:
        found = await self._fetch("webhook_replay_count", owner_id)
        return int(found[0]["replays"])

    async def put_delivery(self, delivery: QueuedDelivery) -> None:
        values = [getattr(delivery, name) for name in _QUEUED]
        await self._fetch("webhook_put_delivery", *values)
        await self._fetch("webhook_touch", delivery.subscription_id)

    async def retry_now(self, subscription_id: bytes, now_us: int) -> None:
        await self._fetch("webhook_retry_now", subscription_id, now_us)
        await self._fetch("webhook_touch", subscription_id)

    async def attempts(self, subscription_id: bytes, limit: int) -> list[AttemptRow]:
        found = await self._fetch("webhook_attempts", subscription_id, limit)
        return [row_of(AttemptRow, one) for one in found]

    async def waiting(self, subscription_id: bytes) -> Waiting:
        return Waiting(*(await self._fetch("webhook_waiting", subscription_id))[0])

    async def dead_letters(self, subscription_id: bytes, limit: int) -> list[DeadLetter]:
        found = await self._fetch("webhook_dead_letters", subscription_id, limit)
        return [row_of(DeadLetter, one) for one in found]

    async def dead_count(self, subscription_id: bytes) -> int:
        return int((await self._fetch("webhook_dead_count", subscription_id))[0]["dead"])

    async def redrive(self, subscription_id: bytes, now_us: int, limit: int) -> int:
        found = await self._fetch("webhook_redrive", subscription_id, now_us, limit)
        await self._fetch("webhook_touch", subscription_id)
        return int(found[0]["queued"])


def row_of(kind: type[Row], found: "asyncpg.Record | Mapping[str, Any]") -> Row:
    """Return a row of a dataclass; columns that a later version added are passed over."""
    hashable: Any = kind
    return kind(**{name: found[name] for name in _names(hashable)})


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _subscription(found: asyncpg.Record) -> Subscription:
    return row_of(Subscription, {**dict(found), "event_names": tuple(found["event_names"].split())})


def _columns(deliveries: Sequence[QueuedDelivery]) -> list[list[Any]]:
    return [[getattr(one, name) for one in deliveries] for name in _QUEUED]


def _noted(delivery: QueuedDelivery, attempt: AttemptRow) -> tuple[Any, ...]:
    return (
        delivery.subscription_id,
        delivery.run_id,
        delivery.position,
        attempt.at_us,
        attempt.attempt_id,
        attempt.message_id,
        attempt.status,
        attempt.latency_us,
        attempt.head,
        attempt.problem,
    )


def _must_hold(found: list[asyncpg.Record]) -> None:
    if not found[0]["held"]:
        raise LaneLost("another dispatcher of webhooks has taken the turn")
