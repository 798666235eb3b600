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


async def _round(batcher: Batcher[int, int], flushes: _Flushes, count: int) -> None:
    """`count` items in one flush that takes 50 ms."""
    began = len(flushes.gates)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(count)]
    await _started(flushes, began + 1)
    await asyncio.sleep(0.05)
    flushes.gates[-1].set()
    await asyncio.gather(*tasks)


async def _busy(gather: float) -> tuple[_Flushes, Batcher[int, int]]:
    """A batcher whose last flush had four items."""
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes, gather=gather, items_max=8)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(4)]
    await _started(flushes, 1)
    await asyncio.sleep(0.05)
    flushes.gates[0].set()
    await tasks[0]
    tasks.append(asyncio.create_task(batcher.submit(0)))  # The first comes back.
    await _started(flushes, 2)
    await asyncio.sleep(0.05)
    flushes.gates[1].set()
    await asyncio.gather(*tasks)
    return flushes, batcher


async def test_those_who_were_answered_share_a_flush_when_they_come_back() -> None:
    flushes, batcher = await _busy(gather=1_000_000)
    tasks = []
    for number in range(4):
        assert len(flushes.taken) == 2
        tasks.append(asyncio.create_task(batcher.submit(number)))
        await asyncio.sleep(0)
    await _started(flushes, 3)
    flushes.gates[2].set()
    await asyncio.gather(*tasks)

    assert flushes.taken[2] == [0, 1, 2, 3]


async def test_who_does_not_come_back_is_not_waited_for_long() -> None:
    flushes, batcher = await _busy(gather=0.1)
    task = asyncio.create_task(batcher.submit(7))
    async with asyncio.timeout(5):
        while len(flushes.gates) < 3:
            await asyncio.sleep(0.001)
    flushes.gates[2].set()

    assert await task == 70


async def test_a_flush_that_went_stale_does_not_let_the_next_one_wait_by_its_measure() -> None:
    """A pipeline that stood still for a minute says nothing about how soon clients come back."""
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes, gather=1_000, stale_after_s=0.0001)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(4)]
    await _started(flushes, 2)
    await asyncio.sleep(0.05)
    for gate in flushes.gates:
        gate.set()
    await asyncio.gather(*tasks)
    task = asyncio.create_task(batcher.submit(7))
    async with asyncio.timeout(5):
        await _started(flushes, 3)
    flushes.gates[2].set()

    assert await task == 70


async def test_after_a_lone_item_the_next_one_is_flushed_at_once() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes, gather=1_000_000)
    await _round(batcher, flushes, 1)
    async with asyncio.timeout(5):
        await _round(batcher, flushes, 1)

    assert flushes.taken == [[0], [0]]


async def test_a_full_flush_waits_for_nobody() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(
        flushes, gather=1_000_000, weight_max=10, weigh=lambda n: n
    )
    tasks = [asyncio.create_task(batcher.submit(n)) for n in (1, 5, 5, 5, 5)]
    async with asyncio.timeout(5):
        for count in (1, 2, 3):
            await _started(flushes, count)
            await asyncio.sleep(0.01)
            flushes.gates[-1].set()
        await asyncio.gather(*tasks)

    assert flushes.taken == [[1], [5, 5], [5, 5]]


async def test_what_waits_for_others_goes_when_the_batcher_closes() -> None:
    flushes, batcher = await _busy(gather=1_000_000)
    task = asyncio.create_task(batcher.submit(3))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    async with asyncio.timeout(5):
        await _started(flushes, 3)
        flushes.gates[2].set()
        await closing

    assert await task == 30


async def test_a_straggler_joins_the_many_that_are_in_flight() -> None:
    """Alone it would pay for a flush as much as they do together, again and again."""
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes, depth=2, gather=1_000_000)

    async def client(number: int) -> None:
        for _ in range(3 if number == 0 else 2):
            await batcher.submit(number)

    clients = [asyncio.create_task(client(n)) for n in range(6)]
    await _started(flushes, 2)
    await asyncio.sleep(0.01)  # What took no time is not waited for.
    flushes.gates[0].set()
    await _started(flushes, 3)
    flushes.gates[1].set()
    while batcher.waiting_count < 1:
        await asyncio.sleep(0)
    while_many_are_in_flight = [sorted(taken) for taken in flushes.taken]
    await asyncio.sleep(0.01)
    flushes.gates[2].set()
    async with asyncio.timeout(5):
        await _started(flushes, 4)
    for client_task in clients:
        client_task.cancel()

    assert while_many_are_in_flight == [[0], [1], [0, 2, 3, 4, 5]]
    assert sorted(flushes.taken[3]) == [0, 1, 2, 3, 4, 5]


async def test_as_many_as_are_in_flight_do_not_wait_for_them() -> None:
    flushes = _Flushes()
    batcher: Batcher[int, int] = Batcher(flushes, depth=2, gather=1_000_000)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in (0, 1)]
    await _started(flushes, 2)
    for gate in flushes.gates:
        gate.set()
    await asyncio.gather(*tasks)

    assert flushes.taken == [[0], [1]]


async def test_what_is_given_up_before_its_flush_began_is_answered() -> None:
    batcher: Batcher[int, int] = Batcher(_Flushes())
    task = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0)
    batcher.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({task})

    assert task.cancelled()
