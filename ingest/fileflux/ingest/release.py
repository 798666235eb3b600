"""Let go of staged bundles: when R nodes have them, or when nobody needs them from here.

A bundle with W commits is durable, and a latecomer can pull it from a peer: it stays 10 s more for
the late ones' sake, or not at all when the staging fills up. Without W commits it stays until its
seal settled, or as long as the seal could still settle.
"""

import asyncio
import heapq
import itertools
from collections.abc import Sequence
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import Unavailable
from fileflux.core.ids import BundleId
from fileflux.core.telemetry import STAGED_BYTES, get_logger
from fileflux.ingest.seals import OpenSeal, OpenSeals, WatchedBundle
from fileflux.ingest.staging import PRESSURE_SHARE, Staging

log = get_logger(__name__)

LATECOMER_S: Final = 10.0
UNKNOWN_S: Final = 60.0
"""A seal whose fate we could not learn may settle for as long as its deadline."""
TICK_S: Final = 0.5


class Releaser:
    """Deletes staged bundles in batches. `run` is its only worker."""

    def __init__(self, staging: Staging, seals: OpenSeals, *, clock: Clock) -> None:
        self._staging = staging
        self._seals = seals
        self._clock = clock
        self._due: list[tuple[float, int, WatchedBundle]] = []
        self._order = itertools.count()
        self._leaving: list[BundleId] = []
        self._somebody_leaves = asyncio.Event()

    def on_confirmed(self, bundle: WatchedBundle) -> None:
        """A node has the bundle."""
        if bundle.is_complete:
            self._drop(bundle)
        elif bundle.has_quorum:
            self._drop_later(bundle, LATECOMER_S)

    def on_settled(self, seal: OpenSeal, *, applied: bool) -> None:
        """The seal's uploads are answered; `applied` False: nothing of it will ever be visible."""
        for bundle in seal.bundles:
            if applied:
                self._drop_later(bundle, LATECOMER_S)
            else:
                self._drop(bundle)

    def on_unknown(self, seal: OpenSeal) -> None:
        """Nobody can say whether the seal applied; it may, until its deadline."""
        for bundle in seal.bundles:
            self._drop_later(bundle, UNKNOWN_S)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wait_for_work()
            self._drop_what_is_due()
            await self._delete_leaving()
            STAGED_BYTES.set(self._staging.used_bytes)

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(TICK_S):
                await self._somebody_leaves.wait()
        except TimeoutError:
            return

    def _drop_what_is_due(self) -> None:
        now_s = self._clock.monotonic_s()
        while self._due and (self._due[0][0] <= now_s or self._due[0][2].is_released):
            self._drop(heapq.heappop(self._due)[2])
        if self._is_pressed():
            for _, _, bundle in self._due:
                if bundle.has_quorum:
                    self._drop(bundle)

    async def _delete_leaving(self) -> None:
        leaving, self._leaving = self._leaving, []
        self._somebody_leaves.clear()
        if leaving:
            self._seals.unwatch(leaving)
            await self._delete(leaving)

    async def _delete(self, bundle_ids: Sequence[BundleId]) -> None:
        try:
            await self._staging.delete(bundle_ids)
        except (Unavailable, OSError) as error:
            # They stay until the incarnation ends, and whoever inherits deletes them.
            log.warning("staged bundles cannot be deleted", problem=str(error))

    def _drop_later(self, bundle: WatchedBundle, delay_s: float) -> None:
        if bundle.has_quorum and self._is_pressed():
            self._drop(bundle)
        if bundle.is_released or bundle.is_leaving or bundle.is_held:
            return
        bundle.is_leaving = True
        due_s = self._clock.monotonic_s() + delay_s
        heapq.heappush(self._due, (due_s, next(self._order), bundle))

    def _is_pressed(self) -> bool:
        return self._staging.used_bytes > PRESSURE_SHARE * self._staging.budget_bytes

    def _drop(self, bundle: WatchedBundle) -> None:
        if not bundle.is_released and not bundle.is_held:
            bundle.is_released = True
            self._leaving.append(bundle.bundle_id)
            self._somebody_leaves.set()
