"""From buckets' notification configurations to subscriptions: to each part one, and no other.

A configuration is audited state and changes in a transaction of its own; subscriptions are not. So
whoever changes one marks the bucket first, and here what the bucket says is compared with what is
there, as long as the mark may still be followed by the change. A kill between any two steps leaves
the mark. At its start a dispatcher looks at every bucket: a rebuilt database has no marks.
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

BUCKETS_PER_TURN: Final = 5_000
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
        self._after: bytes | None = b""

    async def step(self, end: Callable[[], Awaitable[int]]) -> None:
        """Derive what marked buckets lead to, and a page of all others until all were seen.

        `end`: asks for the first position that is not numbered yet.
        """
        marked = await self._store.marked_buckets(BUCKETS_PER_TURN)
        if marked:
            await self._derive(marked, 0)
            before_us = marked[0].read_us - MARK_KEPT_US
            await self._store.unmark([one.bucket_id for one in marked], before_us)
        if self._after is not None:
            position = await end()
            page = await self._store.buckets_after(self._after, BUCKETS_PER_TURN)
            await self._derive([one for one in page if one.notification], position)
            self._after = page[-1].bucket_id if len(page) == BUCKETS_PER_TURN else None

    async def _derive(self, buckets: Sequence[NotifiedBucket], position: int) -> None:
        asked = [(one, parts) for one in buckets if (parts := _parts(one)) is not None]
        if not asked:
            return
        found = await self._store.derived([one.bucket_id for one, _ in asked])
        wanted = {part.subscription_id: (one, part) for one, parts in asked for part in parts}
        gone = [one.subscription_id for one in found if one.subscription_id not in wanted]
        if gone:
            await self._store.end_derived(self._turn, gone)
        known = {one.subscription_id for one in found}
        missing = [wanted[name] for name in wanted if name not in known]
        destinations = await self._destinations(bucket.owner_id for bucket, _ in missing)
        for bucket, part in missing:
            destination = destinations.get((bucket.owner_id, part.destination))
            if destination is not None:
                await self._add(bucket, part, destination, position)

    async def _destinations(
        self, owners: Iterable[UserId]
    ) -> dict[tuple[UserId, str], Destination]:
        ids = sorted(set(owners))
        found = await self._store.destinations_of(ids) if ids else []
        return {(one.owner_id, one.name): one for one in found}

    async def _add(
        self, bucket: NotifiedBucket, part: Notification, destination: Destination, position: int
    ) -> None:
        start = position if bucket.next_position is None else bucket.next_position
        one = self._subscription(bucket, part, destination, start)
        test = self._test_of(one) if part.is_tested else None
        await self._store.put_derived(self._turn, one, test)
        log.info(
            "a notification begins", bucket=bucket.name, subscription=one.subscription_id.hex()
        )

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
