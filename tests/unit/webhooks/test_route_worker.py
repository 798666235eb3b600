"""What a route's worker says of itself: a problem lasts as long as it does, and no longer."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from tests.model.route_rows import route
from tests.model.webhook_rows import audit_record

from fileflux.core.clock import SystemClock
from fileflux.core.errors import BrokerUnavailable, MetadataBusy
from fileflux.metadata.route_rows import Route
from fileflux.webhooks.routes import worker as worker_module
from fileflux.webhooks.routes.destination import Outcome, RoutedMessage
from fileflux.webhooks.routes.memory_destination import MemoryDestination, MemoryDestinations
from fileflux.webhooks.routes.worker import RouteTools, RouteWorker


class Store:
    """The part of `RouteStore` that a worker asks. `is_deaf`: what was noted is, unanswered."""

    def __init__(self) -> None:
        self.problem = ""
        self.problems: list[str] = []
        self.is_deaf = False

    async def move(self, one: Route, after: int) -> bool:
        return True

    async def note_problem(self, route_id: bytes, problem: str, at_us: int) -> None:
        self.problem = problem
        self.problems.append(problem)
        if self.is_deaf:
            raise MetadataBusy("no answer")


class Tail:
    """Gives what is put into it."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def read(self, position: int, *, wait_s: float) -> list[Any]:
        await asyncio.sleep(0.001)
        return [one for one in self.records if one.position >= position]


@asynccontextmanager
async def working(store: Store, tail: Tail, destinations: Any) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    tools = RouteTools(
        store=cast("Any", store),
        tail=cast("Any", tail),
        open_destination=destinations,
        clock=SystemClock(),
        rng=random.Random(1),
    )
    task = asyncio.create_task(RouteWorker(route(), tools, stopping).run())
    try:
        yield
    finally:
        stopping.set()
        await task


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.001)


async def test_a_problem_is_over_when_the_destination_is_there_though_nothing_happens(
    monkeypatch: Any,
) -> None:
    """An outage at night must not be shown until somebody uploads something."""
    monkeypatch.setattr(worker_module, "BACKOFF_S", (0.01,))
    store, failures = Store(), 1

    @asynccontextmanager
    async def opened(target: Any) -> AsyncIterator[Any]:
        nonlocal failures
        if failures:
            failures -= 1
            raise BrokerUnavailable("the broker did not answer")
        async with MemoryDestinations()(target) as destination:
            yield destination

    async with working(store, Tail(), opened):
        await until(lambda: len(store.problems) > 1)
    assert store.problems == ["the broker did not answer", ""]


async def test_a_problem_whose_note_was_not_answered_is_taken_back_all_the_same(
    monkeypatch: Any,
) -> None:
    """It may be there: a route that is well must not be shown with it for ever."""
    monkeypatch.setattr(worker_module, "BACKOFF_S", (0.01,))
    store, tail, destinations = Store(), Tail(), MemoryDestinations()
    store.is_deaf = True

    async with working(store, tail, destinations):
        await until(lambda: bool(destinations.by_target))
        (destination,) = destinations.by_target.values()
        destination.judge = lambda one: "AccessDenied"
        tail.records.append(audit_record(1))
        await until(lambda: store.problem == "AccessDenied")
        store.is_deaf = False
        destination.judge = lambda one: ""
        await until(lambda: store.problem == "")
        await until(lambda: len(destination.taken) == 1)


async def test_a_dead_destination_keeps_little_in_memory_and_is_told_everything_once(
    monkeypatch: Any,
) -> None:
    """Two hundred routes whose broker is away would keep half a gigabyte of messages."""
    monkeypatch.setattr(worker_module, "BACKOFF_S", (0.01,))
    tail, sizes, is_dead = Tail(), list[int](), True
    tail.records = [audit_record(n, b"k%d" % (n % 7)) for n in range(1, 301)]
    destinations = MemoryDestinations()

    class Counting:
        def __init__(self, inner: MemoryDestination) -> None:
            self._inner = inner

        async def send(self, messages: Sequence[RoutedMessage]) -> Outcome:
            sizes.append(len(messages))
            await asyncio.sleep(0)
            return Outcome(tuple(messages), "dead") if is_dead else await self._inner.send(messages)

    @asynccontextmanager
    async def opened(target: Any) -> AsyncIterator[Any]:
        async with destinations(target) as destination:
            yield Counting(destination)

    async with working(Store(), tail, opened):
        await until(lambda: len(sizes) > 2)
        is_dead = False
        (destination,) = destinations.by_target.values()
        await until(lambda: len(destination.taken) >= 300)
    assert sizes[0] == 300
    assert max(sizes[1:3]) == worker_module.KEPT_MESSAGES
    assert [one.position for one in destination.taken] == [*range(1, 301)]
