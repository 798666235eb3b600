"""A router that fails is no reason to send no webhooks, nor one route to keep others waiting."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from tests.model.route_rows import route

from fileflux.core.clock import SystemClock
from fileflux.core.errors import MetadataBusy
from fileflux.events.memory import MemoryBroker
from fileflux.metadata.workers import ready_check
from fileflux.webhooks.routes import router as router_module
from fileflux.webhooks.routes.memory_destination import MemoryDestinations
from fileflux.webhooks.routes.router import Router, RouterDependencies


class FailingStore:
    """Raises each error in turn, then says that another router has the lease."""

    def __init__(self, errors: list[Exception]) -> None:
        self._errors = errors
        self.is_through = asyncio.Event()

    async def take_lease(self, owner: bytes, duration_us: int) -> bool:
        if self._errors:
            raise self._errors.pop(0)
        self.is_through.set()
        return False


async def test_neither_the_database_nor_a_bug_ends_the_process(monkeypatch: Any) -> None:
    monkeypatch.setattr(router_module, "PAUSE_S", 0.0)
    store = FailingStore([MetadataBusy("busy"), ValueError("a bug")])
    unused = cast("Any", None)
    router = Router(
        RouterDependencies(
            store=cast("Any", store),
            reader=unused,
            broker=unused,
            open_destination=unused,
            clock=SystemClock(),
            rng=random.Random(1),
        )
    )
    stopping = asyncio.Event()
    task = asyncio.create_task(router.run(stopping))
    async with asyncio.timeout(20):
        await store.is_through.wait()
        stopping.set()
        await task
    assert await ready_check([router])() is None


class Store:
    """`rows`: the routes. The lease is always ours."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    async def take_lease(self, owner: bytes, duration_us: int) -> bool:
        return True

    async def give_lease_back(self, owner: bytes) -> None: ...

    async def routes(self) -> list[Any]:
        return self.rows


class EmptyReader:
    async def audit_head(self, stream: str) -> Any:
        return SimpleNamespace(next_position=1)

    async def audit_blocks(self, stream: str, position: int, *, limit: int) -> list[Any]:
        return []


class SlowToClose:
    """An `OpenDestination`: what leads to the topic `slow` closes when `may_close` is set."""

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()
        self.may_close = asyncio.Event()

    @asynccontextmanager
    async def __call__(self, target: Any) -> AsyncIterator[Any]:
        self.opened[target.name] += 1
        async with MemoryDestinations()(target) as destination:
            try:
                yield destination
            finally:
                if target.name == "slow":
                    await self.may_close.wait()


async def test_a_route_whose_end_takes_long_delays_neither_the_lease_nor_another(
    monkeypatch: Any,
) -> None:
    """A producer without a broker takes ten seconds to stop: as long as the lease lasts. It is the
    only one of its route all the same."""
    for name in ("SYNC_S", "END_S"):
        monkeypatch.setattr(router_module, name, 0.01)
    store, destinations = Store(), SlowToClose()
    slow, late = route(destination="kafka:slow"), route(destination="kafka:late")
    router = Router(
        RouterDependencies(
            store=cast("Any", store),
            reader=cast("Any", EmptyReader()),
            broker=MemoryBroker(clock=SystemClock()),
            open_destination=destinations,
            clock=SystemClock(),
            rng=random.Random(1),
        )
    )
    stopping = asyncio.Event()
    task = asyncio.create_task(router.run(stopping))

    async def until_opened(name: str, count: int) -> None:
        async with asyncio.timeout(20):
            while destinations.opened[name] < count:
                await asyncio.sleep(0.001)

    store.rows = [slow]
    await until_opened("slow", 1)
    store.rows = [replace(slow, changed_us=1), late]
    await until_opened("late", 1)
    assert destinations.opened["slow"] == 1
    destinations.may_close.set()
    await until_opened("slow", 2)
    stopping.set()
    await task
