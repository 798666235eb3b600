"""An event loop whose time is virtual and whose every choice comes from a seed.

When nothing is ready it jumps to the next timer; when several things are ready a seeded random
says which comes first. So one seed is one schedule: thousands of orders of events in minutes, and
any of them again. It stands on private names of CPython's loop, which a test checks.

Handles belong to the simulated process in whose context they were scheduled. Those of a dead
process are dropped, as kill -9 would have it: no exception, no `finally`. Those of a paused one
wait until it goes on.
"""

import asyncio
import contextlib
import heapq
import random
import struct
import zlib
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol

PRIVATE_NAMES: Final = ("_ready", "_scheduled", "_timer_cancelled_count", "_run_once")
"""Of `asyncio.BaseEventLoop`."""
HANDLE_NAMES: Final = ("_cancelled", "_run", "_context")
TIMER_NAMES: Final = ("_when", "_scheduled")
STEPS_MAX: Final = 3_000_000
"""Of one run. More is a loop that never waits."""

_TRACE: Final = struct.Struct("<IId")


class Owner(Protocol):
    """A simulated process, as the loop sees it."""

    is_alive: bool
    is_paused: bool
    parked: "list[asyncio.Handle]"
    tasks: "list[asyncio.Task[Any]]"


CURRENT: ContextVar[Owner | None] = ContextVar("simulated process", default=None)


class SimulationStuck(Exception):
    """Nothing will ever happen again, or something happens without end."""


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number, so that sets of tasks have the same order in every run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class NumberedFuture(asyncio.Future[Any]):
    """A future like `NumberedTask`."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SeededLoop(asyncio.BaseEventLoop):
    """`steps`: handles run; `trace`: a checksum over every choice so far."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._now_s = 0.0
        self._numbers = 0
        self.steps = 0
        self.trace = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._now_s

    def create_future(self) -> asyncio.Future[Any]:
        future = NumberedFuture(loop=self)
        future.number = self._next_number()
        return future

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override]
        raise SimulationStuck("a thread would not be deterministic")

    def release(self, handles: "list[asyncio.Handle]") -> None:
        """A paused process goes on."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        context: Context | None = None,
    ) -> NumberedTask:
        number = self._next_number()
        task = NumberedTask(work, loop=loop, name=f"task {number}", context=context)
        task.number = number
        owner = CURRENT.get() if context is None else context.get(CURRENT)
        _note(owner.tasks if owner is not None and owner.is_alive else self.tasks, task)
        return task

    # --- the private part -------------------------------------------------------------------------

    def _process_events(self, event_list: Any) -> None:
        """There is no selector."""

    def _write_to_self(self) -> None:
        """There are no other threads to wake us."""

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        self._drop_cancelled()
        if not ready:
            if not scheduled:
                raise SimulationStuck("nothing is ready and no timer is set")
            self._now_s = max(self._now_s, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now_s:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        count = len(ready)
        choice = self._rng.randrange(count) if count > 1 else 0
        ready.rotate(-choice)
        self._run_handle(ready.popleft())
        self.trace = zlib.crc32(_TRACE.pack(count, choice, self._now_s), self.trace)
        self.steps += 1
        if self.steps > STEPS_MAX:
            raise SimulationStuck(f"{STEPS_MAX} steps and no end")

    def _run_handle(self, handle: asyncio.Handle) -> None:
        if handle._cancelled:
            return
        owner: Owner | None = handle._context.get(CURRENT)  # type: ignore[attr-defined]
        if owner is not None and not owner.is_alive:
            return
        if owner is not None and owner.is_paused:
            owner.parked.append(handle)
            return
        handle._run()

    def _drop_cancelled(self) -> None:
        scheduled = self._scheduled  # type: ignore[attr-defined]
        if self._timer_cancelled_count > 64 and 2 * self._timer_cancelled_count > len(scheduled):  # type: ignore[has-type]
            kept = [timer for timer in scheduled if not timer._cancelled]
            for timer in scheduled:
                timer._scheduled = not timer._cancelled
            scheduled[:] = kept
            heapq.heapify(scheduled)
            self._timer_cancelled_count = 0
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False


def _note(tasks: "list[asyncio.Task[Any]]", task: asyncio.Task[Any]) -> None:
    """Keep a task, and forget those that are done now and then."""
    tasks.append(task)
    if len(tasks) % 256 == 0:
        tasks[:] = [one for one in tasks if not one.done()]


def run_seeded(seed: int, main: Callable[[SeededLoop], Coroutine[Any, Any, None]]) -> SeededLoop:
    """Run `main(loop)` to its end on a loop of its own; return the loop, closed."""
    loop = SeededLoop(random.Random(f"loop/{seed}"))
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_to_the_end(loop, main(loop)))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return loop


async def _to_the_end(loop: SeededLoop, main: Coroutine[Any, Any, None]) -> None:
    """Nobody resumes what is left; it must not complain about that when it is collected."""
    try:
        await main
    finally:
        for task in tuple(loop.tasks):
            if not task.done():
                close_task(task)


def close_task(task: asyncio.Task[Any]) -> bool:
    """End a task where it stands; return whether it ended, which the one that runs now does not.

    What it holds in `finally` is let go, and nothing is awaited there.
    """
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine: Any = task.get_coro()
    if coroutine.cr_running:
        return False
    with contextlib.suppress(BaseException):
        coroutine.close()
    return coroutine.cr_frame is None
