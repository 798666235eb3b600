"""From the audit stream to the queues: one reader for all subscriptions.

The cursor and what it led to are stored in one statement, so a kill at any moment neither loses nor
doubles a queued delivery. A subscription that is new, was paused, or whose queue is full does not
follow the cursor: it has a position of its own, and catches up from the past.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import AuditGap, BrokerUnavailable, EventInvalid
from fileflux.core.failpoints import failpoint
from fileflux.core.telemetry import WEBHOOK_POSITION, get_logger
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.webhook_ports import Move, WebhookStore
from fileflux.metadata.webhook_rows import (
    LIVE_RUN,
    Cursor,
    QueuedDelivery,
    ReplayRow,
    Subscription,
)
from fileflux.webhooks.filters import SubscriptionIndex, wants
from fileflux.webhooks.history import History
from fileflux.webhooks.messages import queued
from fileflux.webhooks.occurrence import Occurrence, occurrence_of
from fileflux.webhooks.queues import Queues

log = get_logger(__name__)

QUEUE_MAX: Final = 10_000
"""Deliveries that wait for a subscription; what comes then stays in the audit stream."""
DELIVERIES_PER_WRITE: Final = 2_000
STORE_CURSOR_S: Final = 1.0
SKIP_S: Final = 0.25
SYNC_OVERLAP_US: Final = 10_000_000
LOOK_AT_ALL_S: Final = 30.0
"""Changes bear the database's time, and that may be set back: then they look old."""
READS_PER_REPLAY_TURN: Final = 8
REPLAY_TURN_S: Final = 1.0
REPLAYING_S: Final = 0.1
"""For so long replays are read before what has just happened is."""


class Intake:
    """`cursor`: as stored. Reads ahead of it while nobody wants what it reads."""

    def __init__(
        self, store: WebhookStore, history: History, queues: Queues, clock: Clock, cursor: Cursor
    ) -> None:
        self._store = store
        self._history = history
        self._queues = queues
        self._clock = clock
        self._cursor = cursor
        self._position = cursor.next_position
        self._stored_s = clock.monotonic_s()
        self._known: dict[bytes, Subscription] = {}
        self._live = SubscriptionIndex()
        self._lagging: dict[bytes, Subscription] = {}
        self._replays: dict[bytes, ReplayRow] = {}
        self._replayed_s: dict[bytes, float] = {}
        self._removed: set[bytes] = set()
        self._changed_us = 0
        self._looked_s = clock.monotonic_s()
        self._seen: dict[bytes, int] = {}

    async def sync(self) -> None:
        """Learn what was changed by others since the last time."""
        now_s = self._clock.monotonic_s()
        since = max(0, self._changed_us - SYNC_OVERLAP_US)
        if now_s - self._looked_s >= LOOK_AT_ALL_S:
            since = 0
        changed = await self._store.changed_since(since, self._seen)
        self._looked_s = self._looked_s if since else now_s
        for one in changed:
            self._changed_us = max(self._changed_us, one.changed_us)
            await self._learn(one)
            self._seen[one.subscription_id] = one.changed_us
        for name in [*self._removed]:
            if await self._store.remove(name):
                self._removed.discard(name)
                self._seen.pop(name, None)
        if changed:
            self._replays = {one.run_id: one for one in await self._store.replays()}

    async def step(self, *, wait_s: float) -> None:
        """Read on for everybody, then a little for who is behind."""
        is_behind = await self._catch_up()
        is_replaying = await self._replay()
        await self._read_on(0.0 if is_behind or is_replaying else wait_s)

    async def store_cursor(self) -> None:
        """Store how far was read, if that is not stored."""
        if self._position != self._cursor.next_position:
            await self._move_cursor(self._position, [])

    async def _learn(self, one: Subscription) -> None:
        await self._unlearn(one.subscription_id)
        if one.state == "deleted":
            await self._queues.drop(one.subscription_id)
            self._removed.add(one.subscription_id)
            return
        if one.is_live and one.state != "active":
            one = await self._take_from_cursor(one)
        self._known[one.subscription_id] = one
        if one.is_live:
            self._live.add(one)
        elif one.state == "active":
            self._lagging[one.subscription_id] = one
        self._queues.update(one)

    async def _unlearn(self, name: bytes) -> None:
        known = self._known.pop(name, None)
        self._lagging.pop(name, None)
        if known is not None and known.is_live:
            self._live.remove(known)

    async def _take_from_cursor(self, one: Subscription) -> Subscription:
        """Give a live subscription a position of its own: the reader's."""
        move = Move(one.subscription_id, one.next_position, self._position, is_live=False)
        await self._store.move_subscriptions(self._cursor.turn, [move], [])
        return replace(one, is_live=False, next_position=self._position)

    async def _read_on(self, wait_s: float) -> None:
        if not self._known:
            await self._skip()
            return
        records = await self._history.next(self._position, wait_s=wait_s)
        at = 0
        while at < len(records):
            deliveries: list[QueuedDelivery] = []
            while at < len(records) and len(deliveries) < DELIVERIES_PER_WRITE:
                deliveries += self._deliveries(records[at], self._live)
                at += 1
            self._position = records[at - 1].position + 1
            if deliveries:
                await self._move_cursor(self._position, deliveries)
        WEBHOOK_POSITION.set(self._position - 1)
        if self._clock.monotonic_s() - self._stored_s >= STORE_CURSOR_S:
            await self.store_cursor()

    async def _skip(self) -> None:
        """Nobody subscribed: nothing is read. Who comes catches up from where it was made."""
        self._position = max(self._position, await self._history.end())
        if self._clock.monotonic_s() - self._stored_s >= STORE_CURSOR_S:
            await self.store_cursor()
        await self._clock.sleep(SKIP_S)

    async def _move_cursor(self, after: int, deliveries: Sequence[QueuedDelivery]) -> None:
        await self._store.queue_live(self._cursor, after, deliveries)
        if deliveries:
            failpoint("webhooks.after_queue")
        self._cursor = replace(self._cursor, next_position=after)
        self._stored_s = self._clock.monotonic_s()
        self._queues.added(deliveries)
        for name in {one.subscription_id for one in deliveries}:
            if self._queues.count(name) >= QUEUE_MAX:
                await self._set_aside(name)

    async def _set_aside(self, name: bytes) -> None:
        """A full queue: what comes now stays in the stream until there is room."""
        one = self._known[name]
        self._live.remove(one)
        self._known[name] = self._lagging[name] = await self._take_from_cursor(one)

    def _deliveries(self, record: NumberedRecord, index: SubscriptionIndex) -> list[QueuedDelivery]:
        occurrence = told(record) if record.stream in index else None
        if occurrence is None:
            return []
        now_us = self._clock.now_us()
        return [
            queued(one, occurrence, run_id=LIVE_RUN, now_us=now_us)
            for one in index.matching(occurrence)
            if record.position >= one.next_position
        ]

    async def _catch_up(self) -> bool:
        """One read of the past for all who are near it; tell whether there is more to do."""
        ready = [one for one in self._lagging.values() if self._has_room(one)]
        if not ready:
            return False
        start = min(one.next_position for one in ready)
        end, deliveries = self._position, list[QueuedDelivery]()
        if start < self._position:
            end, deliveries = await self._past_of(ready, start)
        arrived = end >= self._position
        group = [one for one in ready if one.next_position <= end or arrived]
        await self._advance(group, end, deliveries)
        return end > start or arrived

    async def _past_of(
        self, ready: Sequence[Subscription], start: int
    ) -> tuple[int, list[QueuedDelivery]]:
        """Return how far some of the past was read, and what it brought; `start`: not at all."""
        index = SubscriptionIndex(ready)
        deliveries: list[QueuedDelivery] = []
        end = start
        for record in await self._past(start):
            if record.position >= self._position or len(deliveries) >= DELIVERIES_PER_WRITE:
                break
            deliveries += self._deliveries(record, index)
            end = record.position + 1
        return end, deliveries

    async def _past(self, position: int) -> Sequence[NumberedRecord]:
        """Nothing while neither the database nor the topic has it whole: that is waited out."""
        try:
            return await self._history.past(position)
        except (AuditGap, BrokerUnavailable, EventInvalid) as error:
            log.warning("the past cannot be read", position=position, cause=str(error))
            return ()

    async def _advance(
        self, group: Sequence[Subscription], end: int, deliveries: Sequence[QueuedDelivery]
    ) -> None:
        """Move a group to `end`; who reaches the reader follows it from now on."""
        is_live = end >= self._position
        moved = [
            replace(one, next_position=max(one.next_position, end), is_live=is_live)
            for one in group
        ]
        moves = [
            Move(new.subscription_id, old.next_position, new.next_position, new.is_live)
            for old, new in zip(group, moved, strict=True)
        ]
        await self._store.move_subscriptions(self._cursor.turn, moves, deliveries)
        if deliveries:
            failpoint("webhooks.after_queue")
        for one in moved:
            self._known[one.subscription_id] = one
            if is_live:
                del self._lagging[one.subscription_id]
                self._live.add(one)
            else:
                self._lagging[one.subscription_id] = one
        self._queues.added(deliveries)

    def _has_room(self, one: Subscription) -> bool:
        return self._queues.count(one.subscription_id) <= QUEUE_MAX // 2

    async def _replay(self) -> bool:
        """Queue the next second's worth of each replay that is due; tell whether one was.

        Those that waited longest come first, and not all of them when reading takes long: who
        follows what happens would wait for everybody's past.
        """
        now_s = self._clock.monotonic_s()
        due = [
            one
            for one in self._replays.values()
            if now_s - self._replayed_s.get(one.run_id, -REPLAY_TURN_S) >= REPLAY_TURN_S
        ]
        for replay in sorted(due, key=lambda one: self._replayed_s.get(one.run_id, 0.0)):
            if self._clock.monotonic_s() - now_s > REPLAYING_S:
                break
            self._replayed_s[replay.run_id] = now_s
            subscription = self._known.get(replay.subscription_id)
            if subscription and subscription.state == "active" and self._has_room(subscription):
                await self._replay_some(replay, subscription)
        return bool(due)

    async def _replay_some(self, replay: ReplayRow, subscription: Subscription) -> None:
        deliveries: list[QueuedDelivery] = []
        position, reads = replay.next_position, 0
        while (
            position < replay.end_position
            and len(deliveries) < replay.rate
            and reads < READS_PER_REPLAY_TURN
        ):
            reads += 1
            room = replay.rate - len(deliveries)
            found = await self._past(position)
            if not found:
                break
            some, position = self._replayed(found, replay, subscription, room)
            deliveries += some
        await self._store.move_replay(self._cursor.turn, replay, position, deliveries)
        self._queues.added(deliveries)
        moved = replace(replay, next_position=position)
        self._replays[replay.run_id] = moved
        if position >= replay.end_position:
            await self._store.end_replay(moved)
            del self._replays[replay.run_id]
            del self._replayed_s[replay.run_id]

    def _replayed(
        self,
        records: Iterable[NumberedRecord],
        replay: ReplayRow,
        subscription: Subscription,
        room: int,
    ) -> tuple[list[QueuedDelivery], int]:
        """At most `room` deliveries, and the position behind the last record looked at."""
        deliveries: list[QueuedDelivery] = []
        position = replay.end_position
        now_us = self._clock.now_us()
        for record in records:
            if record.position >= replay.end_position or len(deliveries) >= room:
                return deliveries, min(record.position, replay.end_position)
            position = record.position + 1
            occurrence = told(record) if record.stream == subscription.bucket_id else None
            if occurrence is not None and wants(subscription, occurrence):
                deliveries.append(
                    queued(subscription, occurrence, run_id=replay.run_id, now_us=now_us)
                )
        return deliveries, position


def told(record: NumberedRecord) -> Occurrence | None:
    """Return what subscribers are told of a record; one that cannot be read is told to nobody."""
    try:
        return occurrence_of(record)
    except EventInvalid as error:
        log.error("an audit record cannot be told to webhooks", cause=str(error))  # noqa: TRY400
        return None
