"""What operators want of nodes (drain, remove, weight), read every few seconds."""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.ids import NodeId
from fileflux.core.telemetry import get_logger
from fileflux.events.schema import PlacementDecided
from fileflux.placement.membership import DRAINING, INTENT_DRAIN, Intents

log = get_logger(__name__)

READ_TIMEOUT_S: Final = 5.0


class NodeIntents(Protocol):
    """Where the intent is kept. `metadata.ports.MetadataReader` is one."""

    async def node_intents(self) -> dict[NodeId, tuple[str, float]]:
        """Return (intent, weight) of every node that has a row."""


class MemoryIntents:
    """The in-memory twin: what a test put into `rows`."""

    def __init__(self, rows: Mapping[NodeId, tuple[str, float]] | None = None) -> None:
        self.rows = dict(rows or {})

    async def node_intents(self) -> dict[NodeId, tuple[str, float]]:
        return dict(self.rows)


class IntentWatch:
    """The last intent that could be read. While the database is down it stays."""

    def __init__(self, intents: NodeIntents, *, interval_s: float, clock: Clock) -> None:
        self._intents = intents
        self._interval_s = interval_s
        self._clock = clock
        self._has_read = False
        self.current: Intents = {}

    async def run(self) -> None:
        """Read again and again; returns never."""
        while True:
            await self.refresh()
            await self._clock.sleep(self._interval_s)

    async def refresh(self) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                self.current = await self._intents.node_intents()
        except Exception as error:  # A boundary: a step of the worker, and the database may be new.
            log.info("the operators' intent cannot be read; the last one stays", cause=repr(error))
        else:
            self._has_read = True

    def assume(self, decided: PlacementDecided) -> None:
        """Until the intent could be read once, who drained in the last map drains."""
        if not self._has_read:
            draining = [node for node in decided.nodes if node.state == DRAINING]
            self.current = {node.node_id: (INTENT_DRAIN, node.weight) for node in draining}
