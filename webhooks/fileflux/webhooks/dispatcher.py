"""The loop of the process: one dispatcher works, others stand by.

A lease says who may work; the turn of the cursor makes sure. A dispatcher that was overtaken finds
its turn moved at its next write and ends; what it sent meanwhile was sent once more, at most.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.errors import LaneLost, Unavailable
from fileflux.core.ids import new_id
from fileflux.core.telemetry import get_logger
from fileflux.events.ports import Broker
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.webhook_ports import NotificationStore, WebhookStore
from fileflux.webhooks.history import History
from fileflux.webhooks.intake import Intake
from fileflux.webhooks.messages import Signer
from fileflux.webhooks.notifications import Notifications
from fileflux.webhooks.queue import QueueTools, Sender, Slots
from fileflux.webhooks.queues import Queues

log = get_logger(__name__)

LEASE_S: Final = 10.0
RENEW_S: Final = 2.0
SYNC_S: Final = 0.5
POLL_S: Final = 0.1
PAUSE_S: Final = 1.0
FORGET_S: Final = 60.0
DELIVERED_KEPT_S: Final = 3_600
"""As many as events: more would be a second copy of the audit stream."""
FAILED_KEPT_S: Final = 7 * 24 * 3_600
DEAD_KEPT_S: Final = 30 * 24 * 3_600


class DispatcherStore(WebhookStore, NotificationStore, Protocol):
    """All that it asks of the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherDependencies:
    """What it reaches."""

    store: DispatcherStore
    reader: MetadataReader
    broker: Broker
    sender: Sender
    master_key: bytes
    clock: Clock
    rng: random.Random


class Dispatcher:
    """`problem`: why the last turn failed. `turned_s`: when it ended (monotonic)."""

    def __init__(self, dependencies: DispatcherDependencies) -> None:
        self._d = dependencies
        self._owner = new_id(dependencies.rng)
        self._due_s: dict[str, float] = {}
        self.problem: str | None = None
        self.turned_s = dependencies.clock.monotonic_s()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`; raise LaneLost when another dispatcher took over."""
        if not await self._stand_by(stopping):
            return
        history = History(self._d.reader, self._d.broker, self._d.clock)
        try:
            while not stopping.is_set():
                await self._work_while_possible(history, stopping)
        finally:
            await history.close()
        await self._d.store.give_lease_back(self._owner)

    async def _work_while_possible(self, history: History, stopping: asyncio.Event) -> None:
        """After a failure of the database everything in memory is read again: nobody knows what
        became of the last statement."""
        try:
            await self._work(history, stopping)
        except Unavailable as error:
            self.problem = str(error)
            log.warning("webhooks wait for the database", cause=str(error))
            self.turned_s = self._d.clock.monotonic_s()
            await self._d.clock.sleep(PAUSE_S)

    async def _stand_by(self, stopping: asyncio.Event) -> bool:
        """Wait until the lease is ours; False when the process shall stop."""
        while not stopping.is_set():
            self.turned_s = self._d.clock.monotonic_s()
            try:
                if await self._d.store.take_lease(self._owner, int(LEASE_S * 1_000_000)):
                    return True
                self.problem = None
            except Unavailable as error:
                self.problem = str(error)
            await self._d.clock.sleep(PAUSE_S)
        return False

    async def _work(self, history: History, stopping: asyncio.Event) -> None:
        d = self._d
        self._due_s.clear()
        await self._renew()  # Another one may have it, after a long failure.
        cursor = await d.store.take_turn(await history.end())
        tools = QueueTools(
            store=d.store,
            sender=d.sender,
            signer=Signer(d.master_key, d.clock),
            clock=d.clock,
            rng=d.rng,
            slots=Slots(),
        )
        queues = Queues(tools)
        intake = Intake(d.store, history, queues, d.clock, cursor)
        notifications = Notifications(d.store, d.clock, d.rng, turn=cursor.turn)
        log.info("webhooks are dispatched", position=cursor.next_position, turn=cursor.turn)
        try:
            await intake.sync()
            queues.open(await d.store.queue_counts())
            while not stopping.is_set():
                await self._turn(intake, notifications, history)
            await intake.store_cursor()
            await queues.drain()
        finally:
            await queues.close()

    async def _turn(self, intake: Intake, notifications: Notifications, history: History) -> None:
        await self._renew()
        if self._is_due("sync", SYNC_S):
            await notifications.step(history.end)
            await intake.sync()
        if self._is_due("forget", FORGET_S):
            await self._forget()
        await intake.step(wait_s=POLL_S)
        self.problem = None
        self.turned_s = self._d.clock.monotonic_s()

    async def _renew(self) -> None:
        if self._is_due("renew", RENEW_S) and not await self._d.store.take_lease(
            self._owner, int(LEASE_S * 1_000_000)
        ):
            raise LaneLost("another dispatcher of webhooks has the lease")

    async def _forget(self) -> None:
        now_us = self._d.clock.now_us()
        is_done = await self._d.store.forget(
            delivered_before_us=now_us - DELIVERED_KEPT_S * 1_000_000,
            failed_before_us=now_us - FAILED_KEPT_S * 1_000_000,
            dead_before_us=now_us - DEAD_KEPT_S * 1_000_000,
        )
        if not is_done:
            self._due_s["forget"] = 0.0

    def _is_due(self, name: str, every_s: float) -> bool:
        now_s = self._d.clock.monotonic_s()
        if now_s < self._due_s.get(name, 0.0):
            return False
        self._due_s[name] = now_s + every_s
        return True
