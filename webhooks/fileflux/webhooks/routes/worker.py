"""One route's loop: read, send, move; the position only passes what was acknowledged.

A kill at any moment makes some messages come twice, and none never: what was sent last and not
noted is sent again, from its beginning, so the first time each comes is in order within its key.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid, Unavailable
from fileflux.core.failpoints import failpoint
from fileflux.core.telemetry import ROUTE_FAILED, ROUTE_SENT, get_logger
from fileflux.metadata.route_ports import RouteStore
from fileflux.metadata.route_rows import Route
from fileflux.webhooks.routes.destination import (
    Destination,
    DestinationInvalid,
    OpenDestination,
    RoutedMessage,
    parse_target,
)
from fileflux.webhooks.routes.messages import routed
from fileflux.webhooks.routes.tail import Tail

log = get_logger(__name__)

WAIT_S: Final = 1.0
STORE_S: Final = 2.0
"""So often a position is stored that passed nothing for this route."""
BACKOFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
KEPT_MESSAGES: Final = 20
"""Of a destination that takes nothing; each is some 6 KB, and there may be many such routes."""
JITTER: Final = 0.2
BUG_PROBLEM: Final = "an error of FileFlux itself: see the log of the webhooks process"


class Stopped(Exception):
    """The process ends; what is left stays where it is."""


class RouteGone(Exception):
    """The route was removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTools:
    """What every route's worker needs."""

    store: RouteStore
    tail: Tail
    open_destination: OpenDestination
    clock: Clock
    rng: random.Random


class RouteWorker:
    """`position`: everything before it was acknowledged, or concerned others."""

    def __init__(self, route: Route, tools: RouteTools, stopping: asyncio.Event) -> None:
        self._route = route
        self._tools = tools
        self._stopping = stopping
        self._failures = 0
        self._stored_s = tools.clock.monotonic_s()
        self._noted: str | None = route.problem  # None: nobody knows.
        self.position = route.next_position

    async def run(self) -> None:
        """Work until `stopping`; return as well when the route is gone."""
        try:
            while not self._stopping.is_set():
                await self._work_while_possible()
        except (Stopped, RouteGone):
            return

    async def _work_while_possible(self) -> None:
        try:
            target = parse_target(self._route.destination)
            async with self._tools.open_destination(target) as destination:
                while not self._stopping.is_set():
                    await self._turn(destination)
                await self._store()
        except (Unavailable, EventInvalid, DestinationInvalid) as error:
            await self._failed(str(error))
        except (Stopped, RouteGone):
            raise
        except Exception:
            # A boundary: one route's bug is not the others'.
            log.exception("a route failed", route=self._route.name)
            await self._failed(BUG_PROBLEM)

    async def _turn(self, destination: Destination) -> None:
        messages, end = await self._read()
        has_sent = bool(messages)
        if has_sent:
            end = await self._deliver(destination, messages, end)
        self.position = end
        await self._well()
        if has_sent or self._tools.clock.monotonic_s() - self._stored_s >= STORE_S:
            await self._store()

    async def _read(self) -> tuple[list[RoutedMessage], int]:
        """Return what is sent next, and the position behind it.

        The records themselves are not kept: they may be large, and a destination dead for days.
        """
        records = await self._tools.tail.read(self.position, wait_s=WAIT_S)
        messages = [one for record in records if (one := routed(self._route, record))]
        return messages, records[-1].position + 1 if records else self.position

    async def _deliver(
        self, destination: Destination, messages: list[RoutedMessage], end: int
    ) -> int:
        """Return the position behind what was acknowledged, however long that takes.

        Takes from `messages` what it can read again, while the destination takes nothing.
        """
        left, problem = await self._attempt(destination, messages)
        if len(left) == len(messages) > KEPT_MESSAGES:
            end = messages[KEPT_MESSAGES].position
            del messages[KEPT_MESSAGES:]
            left = tuple(messages)
        while left:
            await self._failed(problem)
            left, problem = await self._attempt(destination, left)
        return end

    async def _attempt(
        self, destination: Destination, messages: Sequence[RoutedMessage]
    ) -> tuple[Sequence[RoutedMessage], str]:
        """Return what was not acknowledged, and why."""
        failpoint("routes.before_send")
        outcome = await destination.send(messages)
        failpoint("routes.after_send")
        sent = len(messages) - len(outcome.left)
        ROUTE_SENT.labels(self._route.name).inc(sent)
        if sent:
            self._failures = 0
        return outcome.left, outcome.problem

    async def _store(self) -> None:
        """Note how far it is; look where it stands if somebody else moved it."""
        self._stored_s = self._tools.clock.monotonic_s()
        if self.position == self._route.next_position:
            return
        if await self._tools.store.move(self._route, self.position):
            failpoint("routes.after_move")
            self._route = replace(self._route, next_position=self.position)
            return
        found = await self._tools.store.route(self._route.route_id)
        if found is None:
            raise RouteGone
        log.info("a route was moved by another", route=found.name, position=found.next_position)
        self._route = found
        self._noted = found.problem
        self.position = found.next_position

    async def _failed(self, problem: str) -> None:
        """Note it, and wait before the next attempt."""
        ROUTE_FAILED.labels(self._route.name).inc()
        await self._note(problem)
        backoff_s = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        wait_s = backoff_s * self._tools.rng.uniform(1 - JITTER, 1 + JITTER)
        until_s = self._tools.clock.monotonic_s() + wait_s
        while self._tools.clock.monotonic_s() < until_s:
            if self._stopping.is_set():
                raise Stopped
            await self._tools.clock.sleep(min(WAIT_S, wait_s))

    async def _well(self) -> None:
        self._failures = 0
        await self._note("")

    async def _note(self, problem: str) -> None:
        """Store it if it is news; the database may be what fails."""
        if problem == self._noted:
            return
        at_us = self._tools.clock.now_us() if problem else 0
        if problem:
            log.warning("a route does not get on", route=self._route.name, cause=problem)
        try:
            await self._tools.store.note_problem(self._route.route_id, problem, at_us)
        except Unavailable as error:
            log.warning("a route's problem is not stored", cause=str(error))
            self._noted = None  # It may be, and only the answer got lost.
            return
        self._noted = problem
