"""From buckets' notification configurations to subscriptions: to each part one, and no other.

A configuration is audited state and changes in a transaction of its own; subscriptions are not. So
whoever changes one marks the bucket first, and here what the bucket says is compared with what is
there, as long as the mark may still be followed by the change. A kill between any two steps leaves
the mark. At its start a dispatcher looks at every bucket: a rebuilt database has no marks. It does
so for a moment at a time, since everybody's deliveries wait meanwhile.
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import FormatInvalid
from fileflux.core.ids import UserId, new_id
from fileflux.core.telemetry import get_logger
from fileflux.metadata.notification import Notification, from_text
from fileflux.metadata.webhook_ports import NotificationStore
from fileflux.metadata.webhook_rows import (
    Destination,
    NotifiedBucket,
    QueuedDelivery,
    Subscription,
)
from fileflux.webhooks.messages import TEST_POSITION, to_queue
from fileflux.webhooks.rendering import S3, render_test

log = get_logger(__name__)

MARKED_PER_TURN: Final = 200
"""Each may have a hundred parts, and is looked at again and again as long as its mark is kept."""
BUCKETS_PER_TURN: Final = 1_000
DERIVING_S: Final = 0.1
"""For so long subscriptions are added before what has just happened is read."""
MARK_KEPT_US: Final = 60_000_000
"""A change is committed, or is known never to be, within ten seconds of its mark."""
TEST_EVENT: Final = "s3:TestEvent"


class Notifications:
    """`turn`: of the dispatcher; one that was overtaken adds nothing."""

    def __init__(
        self, store: NotificationStore, clock: Clock, rng: random.Random, *, turn: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._turn = turn
        self._until_s = 0.0
        self._after_marked = b""
        self._after: bytes | None = b""

    async def step(self, end: Callable[[], Awaitable[int]]) -> None:
        """Derive what some marked buckets lead to, and a page of all others until all were seen.

        `end`: asks for the first position that is not numbered yet.
        """
        self._until_s = self._clock.monotonic_s() + DERIVING_S
        await self._look_at_marked()
        if self._after is not None:
            await self._look_at_all(self._after, await end())

    async def _look_at_marked(self) -> None:
        """At the next ones, so that whoever changes much does not keep the others waiting."""
        marked = await self._store.marked_buckets(self._after_marked, MARKED_PER_TURN)
        self._after_marked = marked[-1].bucket_id if len(marked) == MARKED_PER_TURN else b""
        if marked and await self._derive(marked, 0):
            before_us = marked[0].read_us - MARK_KEPT_US
            await self._store.unmark([one.bucket_id for one in marked], before_us)

    async def _look_at_all(self, after: bytes, position: int) -> None:
        """At the next page; it is looked at again until all that it leads to is there."""
        if not after:
            await self._store.end_orphans(self._turn)
        page = await self._store.buckets_after(after, BUCKETS_PER_TURN)
        if await self._derive(page, position):
            self._after = page[-1].bucket_id if len(page) == BUCKETS_PER_TURN else None

    async def _derive(self, buckets: Sequence[NotifiedBucket], position: int) -> bool:
        """Tell whether all is there; otherwise something shall be looked at once more."""
        asked = [(one, parts) for one in buckets if (parts := _parts(one)) is not None]
        found = await self._store.derived([one.bucket_id for one, _ in asked])
        wanted = {part.subscription_id: (one, part) for one, parts in asked for part in parts}
        gone = [one.subscription_id for one in found if one.subscription_id not in wanted]
        if gone:
            await self._store.end_derived(self._turn, gone)
        known = {one.subscription_id for one in found}
        missing = [wanted[name] for name in wanted if name not in known]
        return await self._begin(missing, position)

    async def _begin(
        self, missing: Sequence[tuple[NotifiedBucket, Notification]], position: int
    ) -> bool:
        """Add those whose destination is there, as many as there is time for; at least one."""
        destinations = await self._destinations(bucket.owner_id for bucket, _ in missing)
        is_whole = True
        for bucket, part in missing:
            destination = destinations.get((bucket.owner_id, part.destination))
            if destination is None:
                continue
            is_whole = await self._add(bucket, part, destination, position) and is_whole
            if self._clock.monotonic_s() >= self._until_s:
                return False
        return is_whole

    async def _destinations(
        self, owners: Iterable[UserId]
    ) -> dict[tuple[UserId, str], Destination]:
        ids = sorted(set(owners))
        found = await self._store.destinations_of(ids) if ids else []
        return {(one.owner_id, one.name): one for one in found}

    async def _add(
        self, bucket: NotifiedBucket, part: Notification, destination: Destination, position: int
    ) -> bool:
        """Tell whether it was added: not, while one of the same id is still being removed."""
        start = position if bucket.next_position is None else bucket.next_position
        one = self._subscription(bucket, part, destination, max(start, part.first_position))
        test = self._test_of(one) if part.is_tested else None
        if not await self._store.put_derived(self._turn, one, test):
            return False
        log.info(
            "a notification begins", bucket=bucket.name, subscription=one.subscription_id.hex()
        )
        return True

    def _subscription(
        self, bucket: NotifiedBucket, part: Notification, destination: Destination, position: int
    ) -> Subscription:
        now_us = self._clock.now_us()
        return Subscription(
            subscription_id=part.subscription_id,
            owner_id=bucket.owner_id,
            bucket_id=bucket.bucket_id,
            bucket=bucket.name,
            url=destination.url,
            format=S3,
            event_names=part.event_names,
            prefix=part.prefix.encode(),
            suffix=part.suffix.encode(),
            secret=destination.secret,
            old_secret=destination.old_secret,
            old_secret_until_us=destination.old_secret_until_us,
            state="active",
            reason="",
            is_live=False,
            next_position=position,
            created_us=now_us,
            changed_us=now_us,
            destination_id=destination.destination_id,
            configuration_id=part.configuration_id,
        )

    def _test_of(self, one: Subscription) -> QueuedDelivery:
        run_id, now_us = new_id(self._rng), self._clock.now_us()
        message_id = f"test-{run_id.hex()}"
        moment = datetime.fromtimestamp(now_us / 1_000_000, UTC)
        time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return to_queue(
            one,
            render_test(one, event_id=message_id, time=time),
            run_id=run_id,
            position=TEST_POSITION,
            key=run_id,
            message_id=message_id,
            event_name=TEST_EVENT,
            now_us=now_us,
        )


def _parts(bucket: NotifiedBucket) -> Sequence[Notification] | None:
    """What a bucket asks for. None: it cannot be read, and what is there stays as it is."""
    try:
        return from_text(bucket.notification)
    except FormatInvalid as error:
        log.error("a bucket's notifications cannot be read", bucket=bucket.name, cause=str(error))  # noqa: TRY400
        return None
