"""Whether this node still trusts itself. A fenced node reads, and writes nothing.

Two causes: a disk that failed or stopped answering (until the process starts again), and an epoch
that went backwards (until somebody has read the whole inventory, so that lost bundles are known;
a restart changes nothing about that).
"""

import asyncio
from collections.abc import Awaitable, Callable

from fileflux.core.errors import NodeFenced
from fileflux.core.telemetry import get_logger

log = get_logger(__name__)

Settle = Callable[[], Awaitable[None]]


class Fence:
    """Read by everything that writes, set by whoever finds out."""

    def __init__(self) -> None:
        self._disk_reason: str | None = None
        self._epoch_reason: str | None = None
        self._settle: Settle = _nothing_to_settle
        self.disk_failed = asyncio.Event()

    @property
    def reason(self) -> str | None:
        """One sentence, or None when the node may write."""
        return self._disk_reason or self._epoch_reason

    def check(self) -> None:
        """Raise NodeFenced unless the node may write."""
        if self.reason is not None:
            raise NodeFenced(self.reason)

    def fail_disk(self, reason: str) -> None:
        """No write is believed any more; the process should start again. Only from the loop."""
        if self._disk_reason is None:
            log.error("the node fences itself", reason=reason)
            self._disk_reason = reason
            self.disk_failed.set()

    def wait_for_inventory(self, reason: str, *, settle: Settle) -> None:
        """Write nothing until the inventory was read. `settle`: puts down, durably, that it was."""
        log.error("the node waits for its inventory to be read", reason=reason)
        self._epoch_reason = reason
        self._settle = settle

    async def inventory_was_read(self) -> None:
        """All of it was sent. What cannot be put down is not over: the next start would ask."""
        if self._epoch_reason is None:
            return
        try:
            await self._settle()
        except (OSError, NodeFenced) as error:
            log.warning("the fence stays: it cannot be lifted durably", reason=str(error))
            return
        log.info("the inventory was read: the node writes again")
        self._epoch_reason = None


async def _nothing_to_settle() -> None:
    return
