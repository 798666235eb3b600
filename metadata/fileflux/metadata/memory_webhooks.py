"""The ports of those who administer webhooks over dictionaries, for tests of what lies above them.

The dispatcher's half has no twin: its promises are the database's. A test says what came of a
delivery by `note`.
"""

from collections.abc import Sequence
from dataclasses import replace

from fileflux.core.ids import UserId
from fileflux.metadata.webhook_ports import Waiting
from fileflux.metadata.webhook_rows import (
    AttemptRow,
    Cursor,
    DeadLetter,
    Destination,
    QueuedDelivery,
    ReplayRow,
    State,
    Subscription,
)


class MemoryWebhooks:
    """The port `WebhookAdmin`. `marks`: bucket and position, in order."""

    def __init__(self) -> None:
        self.marks: list[tuple[bytes, int]] = []
        self.deliveries: list[QueuedDelivery] = []
        self.running: list[ReplayRow] = []
        self.dead: list[tuple[bytes, DeadLetter]] = []
        self._subscriptions: dict[bytes, Subscription] = {}
        self._destinations: dict[tuple[UserId, str], Destination] = {}
        self._attempts: list[AttemptRow] = []

    def note(self, attempt: AttemptRow) -> None:
        """Record an attempt, as the dispatcher would."""
        self._attempts.append(attempt)

    async def put_subscription(self, one: Subscription) -> None:
        self._subscriptions.setdefault(one.subscription_id, one)

    async def subscriptions(self) -> list[Subscription]:
        every = [one for one in self._subscriptions.values() if one.state != "deleted"]
        return sorted(every, key=lambda one: (one.bucket_id, one.created_us, one.subscription_id))

    async def subscriptions_of(
        self, owner_id: UserId, *, bucket_id: bytes = b"", after: bytes, limit: int
    ) -> list[Subscription]:
        owned = [
            one
            for one in await self.subscriptions()
            if one.owner_id == owner_id
            and one.subscription_id > after
            and bucket_id in (b"", one.bucket_id)
        ]
        return sorted(owned, key=lambda one: one.subscription_id)[:limit]

    async def bucket_count(self, bucket_id: bytes) -> int:
        every = await self.subscriptions()
        return sum(one.bucket_id == bucket_id and not one.destination_id for one in every)

    async def subscription(self, subscription_id: bytes) -> Subscription | None:
        found = self._subscriptions.get(subscription_id)
        return None if found is None or found.state == "deleted" else found

    async def set_state(self, subscription_id: bytes, state: State, reason: str) -> bool:
        found = await self.subscription(subscription_id)
        if found is not None:
            self._subscriptions[subscription_id] = replace(found, state=state, reason=reason)
        return found is not None

    async def rotate_secret(self, subscription_id: bytes, secret: bytes, old_until_us: int) -> bool:
        found = await self.subscription(subscription_id)
        if found is not None:
            old = found.old_secret if found.secret == secret else found.secret
            self._subscriptions[subscription_id] = replace(
                found, secret=secret, old_secret=old, old_secret_until_us=old_until_us
            )
        return found is not None

    async def cursor(self) -> Cursor | None:
        return None

    async def put_replay(self, replay: ReplayRow) -> None:
        self.running.append(replay)

    async def replay_count(self, owner_id: UserId) -> int:
        owned = {o.subscription_id for o in await self.subscriptions() if o.owner_id == owner_id}
        return sum(one.subscription_id in owned for one in self.running)

    async def put_delivery(self, delivery: QueuedDelivery) -> None:
        self.deliveries.append(delivery)

    async def retry_now(self, subscription_id: bytes, now_us: int) -> None:
        self.deliveries = [
            replace(one, due_us=min(one.due_us, now_us))
            if one.subscription_id == subscription_id
            else one
            for one in self.deliveries
        ]

    async def attempts(self, subscription_id: bytes, limit: int) -> list[AttemptRow]:
        found = [one for one in self._attempts if one.subscription_id == subscription_id]
        return sorted(found, key=lambda one: (one.at_us, one.attempt_id), reverse=True)[:limit]

    async def waiting(self, subscription_id: bytes) -> Waiting:
        found = [one for one in self.deliveries if one.subscription_id == subscription_id]
        oldest = min((one.queued_us for one in found), default=0)
        return Waiting(len(found), oldest, max((one.attempts for one in found), default=0))

    async def dead_letters(self, subscription_id: bytes, limit: int) -> list[DeadLetter]:
        return [letter for name, letter in self.dead if name == subscription_id][:limit]

    async def dead_count(self, subscription_id: bytes) -> int:
        return sum(name == subscription_id for name, _ in self.dead)

    async def redrive(self, subscription_id: bytes, now_us: int, limit: int) -> int:
        chosen = [one for one in self.dead if one[0] == subscription_id][:limit]
        self.dead = [one for one in self.dead if one not in chosen]
        return len(chosen)

    async def mark_bucket(self, bucket_id: bytes, mark_id: bytes, next_position: int) -> None:
        self.marks.append((bucket_id, next_position))

    async def put_destination(self, one: Destination) -> bool:
        stored = self._destinations.setdefault((one.owner_id, one.name), one)
        return stored.destination_id == one.destination_id

    async def destinations_of(self, owner_ids: Sequence[UserId]) -> list[Destination]:
        found = [one for one in self._destinations.values() if one.owner_id in owner_ids]
        return sorted(found, key=lambda one: (one.owner_id, one.name))

    async def rotate_destination(self, one: Destination, secret: bytes, old_until_us: int) -> bool:
        stored = self._destinations.get((one.owner_id, one.name))
        if stored is None:
            return False
        is_again = stored.secret == secret
        fresh = replace(
            stored,
            secret=secret,
            old_secret=stored.old_secret if is_again else stored.secret,
            old_secret_until_us=old_until_us,
        )
        self._destinations[one.owner_id, one.name] = fresh
        for name, found in self._subscriptions.items():
            if found.destination_id == one.destination_id:
                self._subscriptions[name] = replace(
                    found,
                    secret=fresh.secret,
                    old_secret=fresh.old_secret,
                    old_secret_until_us=old_until_us,
                )
        return True

    async def remove_destination(self, one: Destination) -> None:
        self._destinations.pop((one.owner_id, one.name), None)
        for found in list(self._subscriptions.values()):
            if found.destination_id == one.destination_id:
                await self.set_state(found.subscription_id, "deleted", "")
