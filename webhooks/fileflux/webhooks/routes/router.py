"""The loop of all routes: each is a task of its own, so none waits for another.

A lease says who routes; who was overtaken moves no position, and doubles at most what it had on its
way. Webhooks are sent by the same process, under a lease of their own: neither waits for the other.
"""

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import Unavailable
from fileflux.core.ids import new_id
from fileflux.core.telemetry import ROUTE_FAILED, ROUTE_LAG, ROUTE_SENT, get_logger
from fileflux.events.ports import Broker
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.route_ports import RouteStore
from fileflux.metadata.route_rows import Route
from fileflux.webhooks.history import History
from fileflux.webhooks.routes.destination import OpenDestination
from fileflux.webhooks.routes.tail import Tail
from fileflux.webhooks.routes.worker import BUG_PROBLEM, RouteTools, RouteWorker

log = get_logger(__name__)

LEASE_S: Final = 10.0
RENEW_S: Final = 2.0
SYNC_S: Final = 1.0
POLL_S: Final = 0.1
PAUSE_S: Final = 1.0
END_S: Final = 0.5
"""So long a route that is changed is waited for, that it may begin again at once."""
DRAIN_S: Final = 15.0
"""A send to Kafka takes 10 s at most."""


class LeaseLost(Exception):
    """Another router has the lease: stand by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDependencies:
    """What it reaches."""

    store: RouteStore
    reader: MetadataReader
    broker: Broker
    open_destination: OpenDestination
    clock: Clock
    rng: random.Random


@dataclass(slots=True)
class _Running:
    route: Route
    worker: RouteWorker
    task: asyncio.Task[None]


class Router:
    """`problem`: why the last turn failed, which a destination never is the cause of."""

    def __init__(self, dependencies: RouterDependencies) -> None:
        self._d = dependencies
        self._owner = new_id(dependencies.rng)
        self._running: dict[bytes, _Running] = {}
        self._ending: dict[bytes, asyncio.Task[None]] = {}
        self._named: set[str] = set()
        self.problem: str | None = None
        self.turned_s = dependencies.clock.monotonic_s()

    async def run(self, stopping: asyncio.Event) -> None:
        """Stand by or work, until `stopping`."""
        while not stopping.is_set():
            self.turned_s = self._d.clock.monotonic_s()
            try:
                if await self._take_lease():
                    await self._work(stopping)
                self.problem = None
            except LeaseLost:
                log.warning("another router has taken over")
            except Unavailable as error:
                self.problem = str(error)
                log.warning("routes wait for the database", cause=str(error))
            except Exception:
                # A boundary: webhooks are sent all the same.
                self.problem = BUG_PROBLEM
                log.exception("routes failed")
            if not stopping.is_set():
                await self._d.clock.sleep(PAUSE_S)

    async def _take_lease(self) -> bool:
        return await self._d.store.take_lease(self._owner, int(LEASE_S * 1_000_000))

    async def _work(self, stopping: asyncio.Event) -> None:
        d = self._d
        history = History(d.reader, d.broker, d.clock)
        tail = Tail(history, d.clock, lambda: bool(self._running))
        await tail.start()
        reading = asyncio.create_task(tail.run(), name="routes: tail")
        tools = RouteTools(
            store=d.store, tail=tail, open_destination=d.open_destination, clock=d.clock, rng=d.rng
        )
        try:
            await self._turn_until(stopping, tools, reading)
            await self._drain()
        finally:
            await self._end([reading, *(one.task for one in self._running.values())])
            await asyncio.gather(*self._ending.values())
            self._running.clear()
            self._ending.clear()
            self._measure_nothing()
            await history.close()
        await d.store.give_lease_back(self._owner)

    async def _turn_until(
        self, stopping: asyncio.Event, tools: RouteTools, reading: "asyncio.Task[None]"
    ) -> None:
        clock = self._d.clock
        renew_s, sync_s = clock.monotonic_s() + RENEW_S, 0.0
        while not stopping.is_set():
            if reading.done():
                reading.result()  # It never ends by itself: its error is ours.
            if clock.monotonic_s() >= renew_s:
                if not await self._take_lease():
                    raise LeaseLost
                renew_s = clock.monotonic_s() + RENEW_S
            if clock.monotonic_s() >= sync_s:
                await self._sync(tools, stopping)
                sync_s = clock.monotonic_s() + SYNC_S
            self.problem = None
            self.turned_s = clock.monotonic_s()
            await clock.sleep(POLL_S)

    async def _sync(self, tools: RouteTools, stopping: asyncio.Event) -> None:
        """Start, stop and restart workers as the rows say."""
        routes = await self._d.store.routes()
        active = {one.route_id: one for one in routes if one.state == "active"}
        ended = [
            route_id
            for route_id, running in self._running.items()
            if route_id not in active
            or active[route_id].changed_us != running.route.changed_us
            or running.task.done()
        ]
        await self._end_soon(ended)
        for route_id, route in active.items():
            if route_id not in self._running and route_id not in self._ending:
                self._start(route, tools, stopping)
        self._measure(routes, tools.tail.next_position)

    def _start(self, route: Route, tools: RouteTools, stopping: asyncio.Event) -> None:
        worker = RouteWorker(route, tools, stopping)
        task = asyncio.create_task(worker.run(), name=f"route {route.name}")
        self._running[route.route_id] = _Running(route, worker, task)

    def _measure(self, routes: list[Route], end: int) -> None:
        names = {one.name for one in routes}
        for name in self._named - names:
            for metric in (ROUTE_LAG, ROUTE_SENT, ROUTE_FAILED):
                with contextlib.suppress(KeyError):
                    metric.remove(name)
        self._named = names
        for one in routes:
            running = self._running.get(one.route_id)
            position = one.next_position if running is None else running.worker.position
            ROUTE_LAG.labels(one.name).set(max(0, end - position))

    def _measure_nothing(self) -> None:
        """Whoever has the lease knows how late routes are."""
        for name in self._named:
            with contextlib.suppress(KeyError):
                ROUTE_LAG.remove(name)

    async def _drain(self) -> None:
        """Let what is on its way arrive: it need not be sent again."""
        tasks = [one.task for one in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_S)

    async def _end_soon(self, ended: list[bytes]) -> None:
        """End workers, and wait for them a little: what one has open may take long to close."""
        for route_id in ended:
            task = self._running.pop(route_id).task
            self._ending[route_id] = asyncio.create_task(self._end([task]))
        if self._ending:
            await asyncio.wait(self._ending.values(), timeout=END_S)
        self._ending = {name: task for name, task in self._ending.items() if not task.done()}

    async def _end(self, tasks: "list[asyncio.Task[None]]") -> None:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("a task of routes ended", cause=repr(result))
