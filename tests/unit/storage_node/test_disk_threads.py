"""A disk that is slow under load is not a disk that does not answer."""

import asyncio
import threading
import time

import pytest

from fileflux.core.errors import NodeFenced
from fileflux.storage_node.disk_threads import READERS, DiskThreads, Work
from fileflux.storage_node.fence import Fence

DEADLINE_S = 1.0


async def test_calls_that_wait_for_a_thread_are_not_late() -> None:
    """Many readers of a slow disk: each call is short, the last one waits for all of them."""
    fence = Fence()
    threads = DiskThreads(fence, deadline_s=DEADLINE_S)
    calls = [threads.run(Work.INDEX, lambda: time.sleep(0.3 * DEADLINE_S)) for _ in range(5)]
    await asyncio.gather(*calls)
    threads.close()

    assert fence.reason is None


async def test_a_call_that_hangs_fences_the_node_and_frees_those_behind_it() -> None:
    fence = Fence()
    threads = DiskThreads(fence, deadline_s=0.1)
    gate = threading.Event()
    calls = [asyncio.create_task(threads.run(Work.READ, gate.wait)) for _ in range(READERS + 3)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    gate.set()
    threads.close()

    assert {type(result) for result in results} == {NodeFenced}
    assert fence.disk_failed.is_set()


async def test_a_call_that_nobody_waits_for_any_more_is_not_begun() -> None:
    threads = DiskThreads(Fence(), deadline_s=30)
    gate = threading.Event()
    begun: list[int] = []
    running = asyncio.create_task(threads.run(Work.INDEX, gate.wait))
    given_up = asyncio.create_task(threads.run(Work.INDEX, lambda: begun.append(1)))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    gate.set()
    await running
    await threads.run(Work.INDEX, lambda: begun.append(2))
    threads.close()

    assert begun == [2]
