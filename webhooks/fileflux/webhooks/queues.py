"""The queues of all subscriptions: those with work have a task, the others cost nothing."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from fileflux.core.telemetry import WEBHOOK_QUEUES, WEBHOOK_WAITING, get_logger
from fileflux.metadata.webhook_ports import Waiting
from fileflux.metadata.webhook_rows import QueuedDelivery, Subscription
from fileflux.webhooks.queue import QueueTools, SubscriptionQueue

log = get_logger(__name__)

DRAIN_S: Final = 12.0
"""An attempt takes 10 s at most."""


class Queues:
    """Starts and ends queues; none before `open`."""

    def __init__(self, tools: QueueTools) -> None:
        self._tools = tools
        self._is_open = False
        self._queues: dict[bytes, SubscriptionQueue] = {}
        self._tasks: dict[bytes, asyncio.Task[None]] = {}

    def count(self, subscription_id: bytes) -> int:
        """Return how many deliveries wait for a subscription."""
        queue = self._queues.get(subscription_id)
        return 0 if queue is None else queue.count

    def open(self, counts: Mapping[bytes, Waiting]) -> None:
        """Start the queues that have something. `counts` were read after the subscriptions: what
        a person queues later makes its subscription change."""
        self._is_open = True
        for name, waiting in counts.items():
            if name in self._queues:
                self._queues[name].count = waiting.count
                self._ensure_running(name)

    def update(self, one: Subscription) -> None:
        """A subscription is new or was changed: it may be active now, or have more to send."""
        queue = self._queues.get(one.subscription_id)
        if queue is None:
            queue = SubscriptionQueue(one, self._tools)
            self._queues[one.subscription_id] = queue
        queue.subscription = one
        queue.poke(retry_now=True)
        self._ensure_running(one.subscription_id)

    def added(self, deliveries: Iterable[QueuedDelivery]) -> None:
        """Deliveries were queued for subscriptions that are known."""
        for name, count in Counter(one.subscription_id for one in deliveries).items():
            self._queues[name].count += count
            self._queues[name].poke()
            self._ensure_running(name)
        WEBHOOK_WAITING.set(sum(queue.count for queue in self._queues.values()))
        WEBHOOK_QUEUES.set(len(self._tasks))

    async def drop(self, subscription_id: bytes) -> None:
        """The subscription is gone: nothing more is sent to it."""
        self._queues.pop(subscription_id, None)
        task = self._tasks.pop(subscription_id, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def drain(self) -> None:
        """Start nothing more, and wait for what is on its way: it need not be sent again."""
        self._is_open = False
        for queue in self._queues.values():
            queue.stop()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=DRAIN_S)

    async def close(self) -> None:
        """End all of them. What is on its way may arrive, and is sent again later."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ensure_running(self, name: bytes) -> None:
        queue, task = self._queues[name], self._tasks.get(name)
        if self._is_open and queue.is_active and (task is None or task.done()):
            self._tasks[name] = asyncio.create_task(self._run(name, queue), name="webhooks")

    async def _run(self, name: bytes, queue: SubscriptionQueue) -> None:
        try:
            await queue.run()
            while queue.has_work:
                await queue.run()
        except Exception:
            # A boundary: one queue's bug is not the others'. It is poked with the next event.
            log.exception("a queue of webhooks ended", subscription=name.hex())
        finally:
            if self._tasks.get(name) is asyncio.current_task():
                del self._tasks[name]
