"""What the metadata processes have in common: loops that turn, their health, their end."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.ops import Check

STILL_S_MAX: Final = 60.0
"""No turn takes this long, with all its deadlines: a loop that stands still must be restarted."""


class Worker(Protocol):
    """A loop. `turned_s`: when its last turn ended (monotonic); `problem`: why that failed."""

    problem: str | None
    turned_s: float

    async def run(self, stopping: asyncio.Event) -> None:
        """Turn until `stopping`; raise what a person must look at."""


def live_check(workers: Sequence[Worker], clock: Clock) -> Check:
    """Return the check that every loop turns."""

    async def check() -> str | None:
        for worker in workers:
            still_s = clock.monotonic_s() - worker.turned_s
            if still_s > STILL_S_MAX:
                return f"{type(worker).__name__} has not turned for {still_s:.0f} s: restart it"
        return None

    return check


def ready_check(workers: Sequence[Worker]) -> Check:
    """Return the check that every loop's last turn did its work."""

    async def check() -> str | None:
        problems = [f"{type(w).__name__}: {w.problem}" for w in workers if w.problem]
        return "; ".join(problems) or None

    return check


async def run_until(stopping: asyncio.Event, workers: Sequence[Worker]) -> None:
    """Run all of them until `stopping`, or until one of them fails: then none goes on."""
    tasks = [asyncio.create_task(w.run(stopping), name=type(w).__name__) for w in workers]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        stopping.set()
        await asyncio.wait(tasks)
    for task in tasks:
        task.result()
