"""Batch while busy."""

import asyncio
from collections.abc import Sequence

import pytest

from fileflux.core.batching import Batcher


class _Flushes:
    """Records the flushes; each ends when its gate opens."""

    def __init__(self) -> None:
        self.taken: list[list[int]] = []
        self.gates: list[asyncio.Event] = []

    async def __call__(self, items: Sequence[int]) -> list[int]:
        gate = asyncio.Event()
        self.taken.append(list(items))
        self.gates.append(gate)
        await gate.wait()
        return [item * 10 for item in items]


async def _started(flushes: _Flushes, count: int) -> None:
    while len(flushes.gates) < count:
        await asyncio.sleep(0)


async def test_a_lone_item_is_flushed_at_once() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes)
    waiting = asyncio.create_task(batcher.submit(1))
    await _started(flushes, 1)
    flushes.gates[0].set()

    assert await waiting == 10
    assert flushes.taken == [[1]]


async def test_items_that_arrive_during_a_flush_share_the_next_one() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(4)]
    await _started(flushes, 1)
    flushes.gates[0].set()
    await _started(flushes, 2)
    flushes.gates[1].set()

    assert await asyncio.gather(*tasks) == [0, 10, 20, 30]
    assert flushes.taken == [[0], [1, 2, 3]]


async def test_a_flush_ends_at_its_count_and_at_its_weight() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes, items_max=2, weight_max=100, weigh=lambda n: n)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in (1, 2, 3, 60, 60, 500)]
    for count in range(1, 6):
        await _started(flushes, count)
        flushes.gates[count - 1].set()
    await asyncio.gather(*tasks)

    assert flushes.taken == [[1], [2, 3], [60], [60], [500]]


async def test_two_flushes_run_at_once_when_the_depth_is_two() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes, depth=2)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(3)]
    await _started(flushes, 2)

    assert flushes.taken == [[0], [1]]
    for gate in flushes.gates:
        gate.set()
    await _started(flushes, 3)
    flushes.gates[2].set()
    await asyncio.gather(*tasks)


async def test_a_failed_flush_fails_its_items_and_only_those() -> None:
    calls: list[list[int]] = []

    async def flush(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        await asyncio.sleep(0)
        if 1 in items:
            raise ValueError("poison")
        return list(items)

    batcher: Batcher[int, int] = Batcher(flush, items_max=1)
    results = await asyncio.gather(*(batcher.submit(n) for n in range(3)), return_exceptions=True)

    assert results[0] == 0
    assert isinstance(results[1], ValueError)
    assert results[2] == 2


async def test_a_waiter_that_gives_up_does_not_disturb_its_neighbours() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(3)]
    await _started(flushes, 1)
    tasks[1].cancel()
    flushes.gates[0].set()
    await _started(flushes, 2)
    flushes.gates[1].set()

    assert await tasks[2] == 20
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]


async def test_close_waits_for_what_is_in_flight_and_refuses_new_items() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes)
    task = asyncio.create_task(batcher.submit(1))
    await _started(flushes, 1)
    closing = asyncio.create_task(batcher.close())
    flushes.gates[0].set()
    await closing

    assert task.done()
    with pytest.raises(RuntimeError):
        await batcher.submit(2)


async def test_a_stale_flush_no_longer_holds_up_those_behind_it() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes, stale_after_s=0.005, flushes_max=2)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(2)]
    async with asyncio.timeout(5):
        await _started(flushes, 2)
    tasks.append(asyncio.create_task(batcher.submit(2)))
    await asyncio.sleep(0.02)

    assert flushes.taken == [[0], [1]], "two flushes at most, however stale"
    flushes.gates[0].set()
    async with asyncio.timeout(5):
        await _started(flushes, 3)
    assert flushes.taken == [[0], [1], [2]]
    for gate in flushes.gates:
        gate.set()
    assert await asyncio.gather(*tasks) == [0, 10, 20]


async def test_cancelling_ends_what_waits_and_what_is_in_flight() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(3)]
    await _started(flushes, 1)
    batcher.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    with pytest.raises(RuntimeError):
        await batcher.submit(4)
    await batcher.close()
