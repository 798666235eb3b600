"""The seeded loop: time, order and death, and the private names that it stands on."""

import asyncio
import random

import pytest
from tests.simulation.loop import (
    CURRENT,
    HANDLE_NAMES,
    PRIVATE_NAMES,
    TIMER_NAMES,
    SeededLoop,
    SimulationStuck,
    run_seeded,
)

pytestmark = pytest.mark.simulation


class Process:
    def __init__(self) -> None:
        self.is_alive = True
        self.is_paused = False
        self.parked: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[object]] = []


def test_cpython_still_has_the_private_names_that_the_loop_stands_on() -> None:
    """When this fails with a new Python, read its `base_events.py` before anything else."""
    loop = SeededLoop(random.Random(0))
    soon = loop.call_soon(print)
    timer = loop.call_later(1, print)
    try:
        assert all(hasattr(loop, name) for name in PRIVATE_NAMES)
        assert all(hasattr(soon, name) for name in HANDLE_NAMES)
        assert all(hasattr(timer, name) for name in (*HANDLE_NAMES, *TIMER_NAMES))
        assert list(loop._ready) == [soon]  # type: ignore[attr-defined]
        assert loop._scheduled == [timer]  # type: ignore[attr-defined]
        timer.cancel()
        assert loop._timer_cancelled_count == 1
    finally:
        loop.close()


def test_hours_pass_without_waiting() -> None:
    async def main(loop: SeededLoop) -> None:
        await asyncio.sleep(3_600)
        try:
            async with asyncio.timeout(7_200):
                await asyncio.Event().wait()
        except TimeoutError:
            pass
        assert loop.time() == pytest.approx(10_800)

    assert run_seeded(1, main).steps < 50


def _order(seed: int) -> tuple[list[int], int]:
    seen: list[int] = []

    async def one(number: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(number)

    async def main(_: SeededLoop) -> None:
        await asyncio.gather(*(one(number) for number in range(4)))

    return seen, run_seeded(seed, main).trace


def test_one_seed_is_one_order_and_another_seed_is_another() -> None:
    assert _order(7) == _order(7)
    assert len({tuple(_order(seed)[0]) for seed in range(20)}) > 10


def test_a_dead_process_runs_nothing_more_not_even_finally() -> None:
    seen: list[str] = []
    process = Process()

    async def work() -> None:
        try:
            await asyncio.sleep(1)
            seen.append("went on")
        finally:
            if process.is_alive:
                seen.append("finally")

    async def main(_: SeededLoop) -> None:
        CURRENT.set(process)
        task = asyncio.create_task(work())
        CURRENT.set(None)
        await asyncio.sleep(0.5)
        process.is_alive = False
        await asyncio.sleep(10)
        assert not task.done()

    run_seeded(1, main)
    assert seen == []


def test_a_paused_process_goes_on_where_it_was() -> None:
    seen: list[float] = []
    process = Process()

    async def main(loop: SeededLoop) -> None:
        async def work() -> None:
            await asyncio.sleep(1)
            seen.append(loop.time())

        CURRENT.set(process)
        task = asyncio.create_task(work())
        CURRENT.set(None)
        await asyncio.sleep(0.5)
        process.is_paused = True
        await asyncio.sleep(10)
        process.is_paused = False
        loop.release(process.parked)
        await task

    run_seeded(1, main)
    assert seen == [10.5]


def test_what_can_never_go_on_is_said() -> None:
    async def main(_: SeededLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(SimulationStuck, match="no timer"):
        run_seeded(1, main)


def test_a_thread_is_refused() -> None:
    async def main(_: SeededLoop) -> None:
        await asyncio.to_thread(print)

    with pytest.raises(SimulationStuck, match="thread"):
        run_seeded(1, main)
