"""Batch while busy: send at once when idle, collect while a batch is in flight.

No timer ever fills a batch. A lone item pays no wait, and a busy system shares the fixed cost of a
flush (a Kafka record, an fsync, a transaction) among all that arrived meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Flush = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class Batcher(Generic[Item, Result]):
    """Calls `flush(items)` with everything that waits; it returns one result per item, in order.

    `depth`: flushes in flight at once. `items_max`, `weight_max`: limits of one flush, by count and
    by the sum of `weigh(item)`; one item alone may exceed the weight. If `flush` raises, all its
    items get the exception. `close()` waits for what is in flight and refuses new items.

    `stale_after_s`: a flush older than this no longer counts, so that one slow answer does not hold
    up those behind it; `flushes_max` bounds young and stale ones together.
    """

    def __init__(
        self,
        flush: Flush[Item, Result],
        *,
        depth: int = 1,
        items_max: int = 256,
        weight_max: int | None = None,
        weigh: Callable[[Item], int] = lambda _: 1,
        stale_after_s: float | None = None,
        flushes_max: int = 64,
    ) -> None:
        self._flush = flush
        self._depth = depth
        self._items_max = items_max
        self._weight_max = weight_max
        self._weigh = weigh
        self._stale_after_s = stale_after_s
        self._flushes_max = max(depth, flushes_max)
        self._young: dict[asyncio.Task[None], asyncio.TimerHandle | None] = {}
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._flushes: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    async def submit(self, item: Item) -> Result:
        """Return the item's result. Cancelling the wait does not take the item out of its flush."""
        if self._closed:
            raise RuntimeError("the batcher is closed")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start_flushes()
        return await future

    async def close(self) -> None:
        """Return when nothing is waiting or in flight."""
        self._closed = True
        while self._flushes:
            await asyncio.wait(set(self._flushes))

    def cancel(self) -> None:
        """Give up what is waiting and in flight; refuse new items."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft()[1].cancel()
        for task in tuple(self._flushes):
            task.cancel()

    def _start_flushes(self) -> None:
        while self._waiting and self._has_room():
            task = asyncio.get_running_loop().create_task(self._run(self._take()))
            self._flushes.add(task)
            self._young[task] = self._call_when_stale(task)
            task.add_done_callback(self._on_flushed)

    def _has_room(self) -> bool:
        return len(self._young) < self._depth and len(self._flushes) < self._flushes_max

    def _call_when_stale(self, task: asyncio.Task[None]) -> asyncio.TimerHandle | None:
        if self._stale_after_s is None:
            return None
        loop = asyncio.get_running_loop()
        return loop.call_later(self._stale_after_s, self._on_stale, task)

    def _on_stale(self, task: asyncio.Task[None]) -> None:
        self._young.pop(task, None)
        self._start_flushes()

    def _on_flushed(self, task: asyncio.Task[None]) -> None:
        self._flushes.discard(task)
        timer = self._young.pop(task, None)
        if timer is not None:
            timer.cancel()
        self._start_flushes()

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        taken: list[tuple[Item, asyncio.Future[Result]]] = []
        weight = 0
        while self._waiting and len(taken) < self._items_max:
            weight += self._weigh(self._waiting[0][0])
            if taken and self._weight_max is not None and weight > self._weight_max:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _run(self, taken: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._flush([item for item, _ in taken])
            assert len(results) == len(taken), "a flush answers every item"
        except BaseException as error:
            _fail(taken, error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future), result in zip(taken, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _fail(taken: Sequence[tuple[object, asyncio.Future[Result]]], error: BaseException) -> None:
    for _, future in taken:
        if future.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(error)
