"""A router that fails is no reason to send no webhooks: it notes that and goes on."""

import asyncio
import random
from typing import Any, cast

from fileflux.core.clock import SystemClock
from fileflux.core.errors import MetadataBusy
from fileflux.metadata.workers import ready_check
from fileflux.webhooks.routes import router as router_module
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
