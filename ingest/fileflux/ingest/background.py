"""Tasks with an owner: what is started here is logged when it fails, and ended by `close`."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fileflux.core.errors import Unavailable
from fileflux.core.telemetry import get_logger

log = get_logger(__name__)


class Background:
    """Runs short tasks that nobody awaits. Their failures are logged, never lost."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    async def drain(self) -> None:
        """Return when nothing runs any more. The caller has a deadline."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def close(self) -> None:
        """End what still runs."""
        for task in tuple(self._tasks):
            task.cancel()
        await self.drain()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Unavailable):
            # Whoever waits asks the database and emits again.
            log.info("not now", task=task.get_name(), problem=str(error))
        elif error is not None:
            log.error("a background task failed", task=task.get_name(), exc_info=error)
