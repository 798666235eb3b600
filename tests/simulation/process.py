"""A simulated process: its tasks, its death, its pauses, and calls into it from outside.

Killing one runs nothing of it any more. What its coroutines hold in `finally` is let go at once, as
the kernel closes the connections of a dead process; callers see a broken connection.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from tests.simulation.loop import CURRENT, SeededLoop, close_task

T = TypeVar("T")


class Killed(BaseException):
    """Ends the coroutine in which its own process was killed."""


class ConnectionLost(Exception):
    """The process that was asked is gone: it did what was asked, or not, or a part of it."""


class Process:
    """One life of one service. `on_end(process)` is called once, whatever ended it."""

    def __init__(
        self, name: str, loop: SeededLoop, *, on_end: "Callable[[Process], None] | None" = None
    ) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        self.parked: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self._loop = loop
        self._on_end = on_end
        self._calls: dict[asyncio.Future[Any], None] = {}
        self._context = copy_context()
        self._context.run(CURRENT.set, self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in this process."""
        return self._loop.create_task(work, context=self._context.copy())

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns inside of the process; raise ConnectionLost when it dies.

        A caller that is cancelled cancels the work too, as a server does for a client that left.
        """
        if not self.is_alive:
            work.close()
            raise ConnectionLost(self.name)
        reply: asyncio.Future[T] = self._loop.create_future()
        self._calls[reply] = None
        task = self.spawn(_serve(work, reply))
        try:
            return await reply
        except asyncio.CancelledError:
            self._loop.call_soon(task.cancel, context=self._context.copy())
            if reply.done() and not reply.cancelled():
                reply.exception()  # It came, and nobody is there to hear it.
            raise
        finally:
            self._calls.pop(reply, None)
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()  # It died before it began.

    def kill(self) -> None:
        """End it where it stands."""
        if not self.is_alive:
            return
        self.is_alive = self.is_paused = False
        self.parked.clear()
        for reply in self._calls:
            if not reply.done():
                reply.set_exception(ConnectionLost(self.name))
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            if not task.done() and not self._context.copy().run(close_task, task):
                self._loop.tasks.append(task)
        if self._on_end is not None:
            self._on_end(self)

    def pause(self) -> None:
        self.is_paused = self.is_alive

    def resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            parked, self.parked = self.parked, []
            self._loop.release(parked)


async def _serve(work: Coroutine[Any, Any, T], reply: asyncio.Future[T]) -> None:
    try:
        result = await work
    except asyncio.CancelledError:
        raise
    except Exception as error:
        if not reply.done():
            reply.set_exception(error)
    else:
        if not reply.done():
            reply.set_result(result)
