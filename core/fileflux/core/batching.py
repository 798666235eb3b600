"""Batch while busy: send at once when idle, collect while a batch is in flight.

A lone item pays no wait, and a busy system shares the fixed cost of a flush (a Kafka record, an
fsync, a transaction) among all that arrived meanwhile. With `gather`, those who were just answered
are given a moment to come back: without it clients that answer at once fall into `depth + 1` groups
that take turns, and each group pays a flush of its own (docs/adr/0009-gather-after-a-flush.md).
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

GATHERED_MAX: Final = 32
"""So many share a flush's cost well; for more, two flushes side by side are worth more."""

Flush = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class Batcher(Generic[Item, Result]):
    """Calls `flush(items)` with everything that waits; it returns one result per item, in order.

    `depth`: flushes in flight at once. `items_max`, `weight_max`: limits of one flush, by count and
    by the sum of `weigh(item)`; one item alone may exceed the weight. If `flush` raises, all its
    items get the exception. `close()` waits for what is in flight and refuses new items.

    `stale_after_s`: a flush older than this no longer counts, so that one slow answer does not hold
    up those behind it; `flushes_max` bounds young and stale ones together.

    `gather`: after a flush, as many items as it had and as were waiting then are expected. Until
    they are there the next flush waits while they keep coming: for this share of the last flush's
    duration after each, and for twice that in all. No more than GATHERED_MAX are waited for, and
    of a stale flush only `stale_after_s` counts: a pipeline that stood still says nothing about how
    soon they come back.
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
        gather: float = 0.0,
    ) -> None:
        self._flush = flush
        self._depth = depth
        self._items_max = items_max
        self._weight_max = weight_max
        self._weigh = weigh
        self._stale_after_s = stale_after_s
        self._flushes_max = max(depth, flushes_max)
        self._gather = _Gather(gather, flush_s_max=stale_after_s or math.inf)
        self._gathering: asyncio.TimerHandle | None = None
        self._young: dict[asyncio.Task[None], asyncio.TimerHandle | None] = {}
        self._largest_young = 0
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._waiting_weight = 0
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
        self._waiting_weight += self._weigh(item)
        self._gather.on_arrival(is_first=len(self._waiting) == 1)
        self._start_flushes()
        return await future

    async def close(self) -> None:
        """Return when nothing is waiting or in flight."""
        self._closed = True
        self._start_flushes()
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
        while self._waiting and self._has_room() and not self._is_gathering():
            taken = self._take()
            self._end_gathering()
            self._largest_young = max(len(taken), self._largest_young if self._young else 0)
            task = asyncio.get_running_loop().create_task(self._run(taken))
            self._flushes.add(task)
            self._young[task] = self._call_when_stale(task)
            task.add_done_callback(partial(self._on_flushed, taken))

    def _is_gathering(self) -> bool:
        """Return whether more are expected soon; if so, look again when they should be there."""
        is_ready = self._closed or self._is_full()
        if not is_ready and self._is_straggling():
            return True  # The flush in flight looks again when it ends, or is stale.
        left_s = 0.0 if is_ready else self._gather.left_s(len(self._waiting))
        if left_s <= 0:
            return False
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(left_s, self._on_gathered)
        return True

    def _is_straggling(self) -> bool:
        """Return whether those who wait are few beside a flush in flight: they join its clients.

        A group of one that never meets the others would pay as much as they do together.
        """
        is_gathered = self._gather.share > 0 and bool(self._young)
        return is_gathered and 2 * len(self._waiting) < self._largest_young

    def _end_gathering(self) -> None:
        self._gather.expected = 0
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

    def _is_full(self) -> bool:
        """Return whether waiting longer could not make the next flush larger."""
        if len(self._waiting) >= self._items_max:
            return True
        return self._weight_max is not None and self._waiting_weight >= self._weight_max

    def _on_gathered(self) -> None:
        self._gathering = None
        self._start_flushes()

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

    def _on_flushed(
        self, taken: Sequence[tuple[Item, asyncio.Future[Result]]], task: asyncio.Task[None]
    ) -> None:
        if task.cancelled():  # Perhaps before it began: then nobody was told.
            _fail(taken, asyncio.CancelledError())
        self._flushes.discard(task)
        timer = self._young.pop(task, None)
        if timer is not None:
            timer.cancel()
        self._start_flushes()

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        taken: list[tuple[Item, asyncio.Future[Result]]] = []
        weight = 0
        while self._waiting and len(taken) < self._items_max:
            more = self._weigh(self._waiting[0][0])
            if taken and self._weight_max is not None and weight + more > self._weight_max:
                break
            weight += more
            taken.append(self._waiting.popleft())
        self._waiting_weight -= weight
        return taken

    async def _run(self, taken: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        began_s = _now_s()
        try:
            try:
                results = await self._flush([item for item, _ in taken])
            finally:
                # Before anybody is answered: who comes back at once would count twice.
                self._gather.on_flushed(len(taken) + len(self._waiting), began_s)
            assert len(results) == len(taken), "a flush answers every item"
        except BaseException as error:
            _fail(taken, error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future), result in zip(taken, results, strict=True):
                if not future.done():
                    future.set_result(result)


class _Gather:
    """How long the next flush waits for those who are expected."""

    def __init__(self, share: float, *, flush_s_max: float) -> None:
        self.share = share
        self._flush_s_max = flush_s_max
        self._quiet_s = 0.0
        self._since_s = 0.0
        self._arrived_s = 0.0
        self.expected = 0

    def on_arrival(self, *, is_first: bool) -> None:
        self._arrived_s = _now_s()
        if is_first:
            self._since_s = self._arrived_s

    def on_flushed(self, expected: int, began_s: float) -> None:
        self._since_s = self._arrived_s = _now_s()
        self._quiet_s = self.share * min(self._since_s - began_s, self._flush_s_max)
        self.expected = min(expected, GATHERED_MAX)

    def left_s(self, waiting_count: int) -> float:
        """Return the seconds to wait on, 0 or less when the next flush may go."""
        if waiting_count >= self.expected:
            return 0.0
        end_s = min(self._arrived_s + self._quiet_s, self._since_s + 2 * self._quiet_s)
        return end_s - _now_s()


def _now_s() -> float:
    """The loop's time: under a simulated one, a flush takes simulated time."""
    return asyncio.get_running_loop().time()


def _fail(taken: Sequence[tuple[object, asyncio.Future[Result]]], error: BaseException) -> None:
    for _, future in taken:
        if future.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(error)
