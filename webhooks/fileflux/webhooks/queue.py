"""One subscription's queue: what is sent next, one after another within a key.

Deliveries are read from the database a page at a time. A key whose delivery failed waits there with
all that follows it; the others go on. A receiver is given one connection until it answers well, and
as many as it bears then.
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.errors import FileFluxError
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import new_id
from fileflux.core.telemetry import WEBHOOK_ATTEMPTS, WEBHOOK_DEAD, WEBHOOK_SECONDS, get_logger
from fileflux.metadata.webhook_ports import WebhookStore
from fileflux.metadata.webhook_rows import AttemptRow, QueuedDelivery, Subscription
from fileflux.webhooks.delivery_traces import DeliveryTraces
from fileflux.webhooks.messages import Signer
from fileflux.webhooks.retry import Patience, Result, next_attempt_us

log = get_logger(__name__)

PAGE: Final = 100
CONCURRENCY_MAX: Final = 8
WAITING_KEYS_MAX: Final = 500
"""So many keys of a subscription wait for their next attempt: nothing else is tried before."""
AILING_AFTER: Final = 3
SLOW_US: Final = 2_000_000
DATABASE_PAUSE_S: Final = 1.0
BUG_PAUSE_S: Final = 60.0
GONE_REASON: Final = "the receiver answered 410 Gone"


class Sender(Protocol):
    """Makes one attempt; never raises for what the other side does."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Result: ...


@dataclass(slots=True)
class Slots:
    """Attempts at once, of all subscriptions: those that fail or are slow share fewer."""

    well: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(256))
    ailing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(128))


@dataclass(slots=True)
class Health:
    """How a receiver has been lately. `window`: attempts at once."""

    failures: int = 0
    latency_us: float = 0.0
    window: int = 1

    @property
    def is_ailing(self) -> bool:
        return self.failures >= AILING_AFTER or self.latency_us > SLOW_US

    def note(self, result: Result) -> None:
        self.latency_us += 0.3 * (result.latency_us - self.latency_us)
        if result.verdict == "delivered":
            self.failures = 0
            self.window = min(2 * self.window, CONCURRENCY_MAX)
        else:
            self.failures += 1
            self.window = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTools:
    """What all queues share."""

    store: WebhookStore
    sender: Sender
    signer: Signer
    clock: Clock
    rng: random.Random
    slots: Slots


class SubscriptionQueue:
    """Sends a subscription's deliveries until none can be sent. `count`: those that wait."""

    # `_lanes`: deliveries in memory, in order; the first of a lane may be on its way.
    # `_put_off`: lanes whose first delivery is due later; theirs are not in memory.

    def __init__(self, subscription: Subscription, tools: QueueTools) -> None:
        self.subscription = subscription
        self.count = 0
        self._tools = tools
        self._traces = DeliveryTraces()
        self._health = Health()
        self._patience = Patience()
        self._lanes: dict[bytes, deque[QueuedDelivery]] = {}
        self._put_off: dict[bytes, int] = {}
        self._sending: dict[bytes, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._is_drained = False
        self._pokes = 0
        self._is_stopping = False

    @property
    def is_active(self) -> bool:
        return self.subscription.state == "active" and not self._is_stopping

    @property
    def has_work(self) -> bool:
        """Tell whether there may be something to send that `run` did not see."""
        return self.is_active and not self._is_drained

    def poke(self, *, retry_now: bool = False) -> None:
        """There may be more. `retry_now`: what is put off may be due by now, a person says."""
        self._pokes += 1
        self._is_drained = False
        if retry_now:
            self._put_off.clear()
            self._patience = Patience()
        self._wake.set()

    def stop(self) -> None:
        """Start nothing more: `run` returns when what is on its way has ended."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Return when nothing waits, or the subscription is not active any more."""
        try:
            while self.is_active and await self._turn():
                pass
            if self._sending:
                await asyncio.wait(self._sending.values())
        finally:
            for task in self._sending.values():
                task.cancel()
            self._lanes.clear()
            self._put_off.clear()

    async def _turn(self) -> bool:
        """Start what can be started, then wait for a reason to look again; False: no work."""
        self._wake.clear()
        try:
            await self._fill()
        except FileFluxError as error:
            log.info("the queue of webhooks cannot be read", cause=str(error))
            await self._tools.clock.sleep(DATABASE_PAUSE_S)
            return True
        self._start()
        if not self._lanes and not self._is_drained and len(self._put_off) < WAITING_KEYS_MAX:
            return True
        if not self._lanes and not self._put_off:
            self.count = 0  # Also of what a person queued, which nobody counted.
            return False
        await self._rest()
        return True

    async def _fill(self) -> None:
        now_us = self._tools.clock.now_us()
        waiting = {lane: due_us for lane, due_us in self._put_off.items() if due_us > now_us}
        if len(waiting) < len(self._put_off):
            self._is_drained = False
        self._put_off = waiting
        has_enough = len(self._lanes) > CONCURRENCY_MAX or len(waiting) >= WAITING_KEYS_MAX
        if has_enough or self._is_drained:
            return
        pokes = self._pokes
        page = await self._tools.store.queue_page(
            self.subscription.subscription_id, apart_from=[*waiting, *self._lanes], limit=PAGE
        )
        for delivery in page:
            self._take(delivery, now_us)
        self._is_drained = len(page) < PAGE and self._pokes == pokes

    def _take(self, delivery: QueuedDelivery, now_us: int) -> None:
        lane = delivery.run_id + delivery.lane
        if lane in self._put_off:
            return
        if lane not in self._lanes and delivery.due_us > now_us:
            self._put_off[lane] = delivery.due_us
            # A receiver that failed before we were started is not tried as if it were well.
            self._health.failures = max(self._health.failures, delivery.attempts)
            return
        self._lanes.setdefault(lane, deque()).append(delivery)

    def _start(self) -> None:
        for lane in [lane for lane in self._lanes if lane not in self._sending]:
            if len(self._sending) >= self._health.window:
                return
            task = asyncio.create_task(self._send_lane(lane), name="webhook")
            self._sending[lane] = task

    async def _rest(self) -> None:
        """Until something ended, somebody pokes, or the next delivery is due."""
        waits = [asyncio.create_task(_event(self._wake))]
        if self._put_off:
            due_s = (min(self._put_off.values()) - self._tools.clock.now_us()) / 1_000_000
            waits.append(asyncio.create_task(_sleep(self._tools.clock, max(0.0, due_s))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _send_lane(self, lane: bytes) -> None:
        """Send the lane's first delivery, and decide about the lane."""
        delivery = self._lanes[lane][0]
        clock = self._tools.clock
        try:
            due_us = await self._attempt(delivery)
        except FileFluxError as error:
            # It may have been taken: it is sent again, with the same id.
            log.warning("an attempt could not be made or noted", cause=str(error))
            due_us = clock.now_us() + int(DATABASE_PAUSE_S * 1_000_000)
        except Exception:
            # A boundary: the lane's. Whatever it is, others are sent meanwhile.
            log.exception("a delivery failed for a reason of ours")
            due_us = clock.now_us() + int(BUG_PAUSE_S * 1_000_000)
        finally:
            self._sending.pop(lane, None)
            self._wake.set()
        self._decide(lane, due_us)

    def _decide(self, lane: bytes, due_us: int | None) -> None:
        if due_us is not None:
            del self._lanes[lane]
            self._put_off[lane] = due_us
            return
        self._lanes[lane].popleft()
        if not self._lanes[lane]:
            # What was queued meanwhile for this key is not in memory.
            del self._lanes[lane]
            self._is_drained = False

    async def _attempt(self, delivery: QueuedDelivery) -> int | None:
        """Send and note; return when it is due again, None if it has left the queue."""
        tools = self._tools
        headers = tools.signer.headers(self.subscription, delivery)
        slots = tools.slots.ailing if self._health.is_ailing else tools.slots.well
        async with slots:
            at_us = tools.clock.now_us()
            failpoint("webhooks.before_send")
            with self._traces.begin(self.subscription, delivery, headers) as span:
                result = await tools.sender.send(self.subscription.url, headers, delivery.body)
                self._traces.describe(span, result)
            failpoint("webhooks.after_send")
        self._health.note(result)
        WEBHOOK_ATTEMPTS.labels(result.verdict).inc()
        WEBHOOK_SECONDS.observe(result.latency_us / 1_000_000)
        return await self._note(delivery, result, self._row(delivery, result, at_us))

    def _row(self, delivery: QueuedDelivery, result: Result, at_us: int) -> AttemptRow:
        return AttemptRow(
            subscription_id=delivery.subscription_id,
            at_us=at_us,
            attempt_id=new_id(self._tools.rng),
            message_id=delivery.message_id,
            status=result.status,
            latency_us=result.latency_us,
            head=result.head,
            problem=result.problem,
        )

    async def _note(
        self, delivery: QueuedDelivery, result: Result, attempt: AttemptRow
    ) -> int | None:
        store, clock = self._tools.store, self._tools.clock
        lane = delivery.run_id + delivery.lane
        if result.verdict == "delivered":
            self._patience.delivered(lane)
            await store.note_delivered(delivery, attempt)
            self.count = max(0, self.count - 1)
            return None
        due_us = next_attempt_us(
            result,
            attempts=delivery.attempts + 1,
            queued_us=delivery.queued_us,
            now_us=clock.now_us(),
            rng=self._tools.rng,
            is_worn=self._patience.is_worn(lane),
        )
        if result.verdict == "gone":
            await store.note_failed(delivery, attempt, clock.now_us())
            await store.set_state(delivery.subscription_id, "disabled", GONE_REASON)
            self.subscription = replace(self.subscription, state="disabled", reason=GONE_REASON)
            return due_us or clock.now_us() + 60_000_000
        if due_us is None:
            self._patience.gave_up(lane)
            await store.note_given_up(delivery, attempt)
            WEBHOOK_DEAD.inc()
            self.count = max(0, self.count - 1)
            return None
        await store.note_failed(delivery, attempt, due_us)
        return due_us


async def _event(event: asyncio.Event) -> None:
    await event.wait()


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
