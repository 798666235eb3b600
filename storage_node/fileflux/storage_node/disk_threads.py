"""Blocking disk calls, each in a thread of its kind and under a deadline.

A disk that fails may also never answer, and a thread that waits for it cannot be stopped. So the
loop waits only so long, and then the node fences itself: a confirmation that comes later is not
believed, and the process starts again.
"""

import asyncio
import enum
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from fileflux.core.errors import NodeFenced
from fileflux.storage_node.fence import Fence

Result = TypeVar("Result")

DISK_DEADLINE_S: Final = 15.0
READERS: Final = 8


class Work(enum.Enum):
    """Who does it. One thread appends, so that extents have one writer and an order."""

    APPEND = "append"
    INDEX = "index"
    READ = "read"


THREADS: Final = {Work.APPEND: 1, Work.INDEX: 1, Work.READ: READERS}


class DiskThreads:
    """Has an owner, who closes it."""

    def __init__(self, fence: Fence, *, deadline_s: float = DISK_DEADLINE_S) -> None:
        self._fence = fence
        self._deadline_s = deadline_s
        self._executors = {
            work: ThreadPoolExecutor(count, thread_name_prefix=work.value)
            for work, count in THREADS.items()
        }
        self._turns = {work: asyncio.Semaphore(count) for work, count in THREADS.items()}

    async def run(self, work: Work, call: Callable[[], Result]) -> Result:
        """Return what `call` returns; raise NodeFenced when it does not return in time.

        The deadline begins with the call's turn: many short calls are load, and no dead disk.
        """
        async with self._turns[work]:
            return await self._run(self._executors[work], call)

    async def _run(self, executor: ThreadPoolExecutor, call: Callable[[], Result]) -> Result:
        future = asyncio.get_running_loop().run_in_executor(executor, call)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.shield(future)
        except TimeoutError:
            if future.done():
                raise
            future.add_done_callback(_forget)
            self._fence.fail_disk(f"the disk did not answer within {self._deadline_s:g} s")
            raise NodeFenced("the disk does not answer") from None

    def close(self) -> None:
        """Refuse new calls. Does not wait: a call that hangs would hang us."""
        for executor in self._executors.values():
            executor.shutdown(wait=False, cancel_futures=True)


def _forget(future: asyncio.Future[Result]) -> None:
    if not future.cancelled():
        future.exception()
