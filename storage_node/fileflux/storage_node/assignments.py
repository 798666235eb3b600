"""`BundleAssigned` → pull, verify, append, one sync for all → `BundleCommitted` or `BundleRefused`.

The node reads its slot from where it was, ignores what is meant for others, and answers everything
else: silence costs whoever waits half a second, a refusal costs nothing. An assignment of a bundle
that it holds is answered with the same confirmation again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fileflux.core.batching import Batcher
from fileflux.core.clock import Clock
from fileflux.core.errors import NodeFenced, NodeFull
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.model import MIB
from fileflux.core.node_messages import InventoryItem
from fileflux.core.telemetry import NODE_ASSIGNMENTS, NODE_COMMIT_SECONDS, get_logger
from fileflux.core.tracing import NO_SPAN, Span, current, tracer
from fileflux.events.consume import Delivery
from fileflux.events.schema import BundleAssigned, BundleCommitted, BundleRefused
from fileflux.events.traced_publisher import consumed
from fileflux.storage_node.answers import Answers
from fileflux.storage_node.bundle_store import BundleStore, IncomingBundle
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.positions import OpenRecord, PositionTracker, StoredPosition
from fileflux.storage_node.pulls import PullFailed, Pulls

log = get_logger(__name__)

OPEN_ASSIGNMENTS_MAX: Final = 1_024
"""Read and not yet answered. Beyond it the broker keeps them."""
APPEND_BUNDLES_MAX: Final = 256
APPEND_BYTES_MAX: Final = 32 * MIB


@dataclass(slots=True)
class _Turn:
    """Who deals with a bundle now. `was_taken`: somebody did before, while others waited."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    was_taken: bool = False


class Assignments:
    """Deals with the assignments of one node. Has an owner, who drains it."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        node_epoch: int,
        store: BundleStore,
        pulls: Pulls,
        answers: Answers,
        fence: Fence,
        clock: Clock,
    ) -> None:
        self._node_id = node_id
        self._node_epoch = node_epoch
        self._store = store
        self._pulls = pulls
        self._answers = answers
        self._fence = fence
        self._clock = clock
        self._started_us = clock.now_us()
        self._tracer = tracer()
        self._tracker = PositionTracker()
        self._slots = asyncio.Semaphore(OPEN_ASSIGNMENTS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns: dict[BundleId, _Turn] = {}
        self._appends: Batcher[IncomingBundle, str | None] = Batcher(
            self._append,
            items_max=APPEND_BUNDLES_MAX,
            weight_max=APPEND_BYTES_MAX,
            weigh=lambda bundle: len(bundle.data),
        )

    @property
    def load(self) -> int:
        """Assignments read and not yet answered."""
        return len(self._tasks)

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Start on these records; return when all of them have a place. A consumer's handler."""
        for delivery in deliveries:
            mine = [
                event
                for event in delivery.events
                if isinstance(event, BundleAssigned) and event.node_id == self._node_id
            ]
            entry = self._tracker.begin(delivery.record, len(mine))
            for assigned in mine:
                await self._slots.acquire()
                span = consumed(self._tracer, delivery.record) if self._tracer.is_on else NO_SPAN
                task = asyncio.get_running_loop().create_task(self._traced(assigned, span))
                self._tasks.add(task)
                task.add_done_callback(partial(self._dealt_with, entry))
        self._remember(self._tracker.settled())

    async def drain(self, *, deadline_s: float) -> None:
        """Wait for what was begun; give the rest up, to be read again by the next process."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=deadline_s)
        for task in list(self._tasks):
            task.cancel()

    def _dealt_with(self, entry: OpenRecord, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        if task.cancelled():
            return
        if task.exception() is not None:
            # A boundary: the assignment's. Whoever waits assigns again.
            log.error("an assignment failed", exc_info=task.exception())
            NODE_ASSIGNMENTS.labels("failed").inc()
        self._remember(self._tracker.finish(entry))

    def _remember(self, position: StoredPosition | None) -> None:
        if position is not None:
            self._store.remember(position)

    # --- one assignment -----------------------------------------------------------------------

    async def _traced(self, assigned: BundleAssigned, span: Span) -> None:
        with span:
            if span:
                span.set("fileflux.bundle.id", assigned.bundle_id.hex())
                span.set("fileflux.node.id", self._node_id)
                span.set("fileflux.attempt", assigned.attempt)
            await self._deal_with(assigned)

    async def _deal_with(self, assigned: BundleAssigned) -> None:
        received_us = self._clock.now_us()
        if received_us > assigned.expires_at_us:
            NODE_ASSIGNMENTS.labels("expired").inc()
            return
        async with self._alone_with(assigned.bundle_id):
            answer = await self._answer(assigned, received_us)
        await self._answers.send(assigned.lane, answer, current())

    @asynccontextmanager
    async def _alone_with(self, bundle_id: BundleId) -> AsyncIterator[None]:
        """One assignment of a bundle at a time: the next one finds it held."""
        turn = self._turns.setdefault(bundle_id, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
                turn.was_taken = True
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[bundle_id]

    async def _answer(
        self, assigned: BundleAssigned, received_us: int
    ) -> BundleCommitted | BundleRefused:
        try:
            if self._may_be_held(assigned):
                held = await self._store.find(assigned.bundle_id)
                if held is not None:
                    return self._confirm_held(assigned, held, received_us)
            self._fence.check()
            async with self._pulls.pulled(assigned) as bundle:
                pulled_us = self._clock.now_us()
                with self._tracer.span("append and sync", current()):
                    reason = await self._appends.submit(bundle)
        except NodeFenced:
            return self._refuse(assigned, "fenced")
        except PullFailed as error:
            return self._refuse(assigned, error.reason)
        if reason is not None:
            return self._refuse(assigned, reason)
        return self._confirm(assigned, received_us=received_us, pulled_us=pulled_us)

    def _may_be_held(self, assigned: BundleAssigned) -> bool:
        """A look into the index is spared where it cannot find anything: the usual case."""
        return (
            assigned.attempt > 0
            or assigned.assigned_us < self._started_us
            or self._turns[assigned.bundle_id].was_taken
        )

    def _confirm_held(
        self, assigned: BundleAssigned, held: InventoryItem, received_us: int
    ) -> BundleCommitted | BundleRefused:
        if (held.size, held.crc) != (assigned.size, assigned.crc):
            return self._refuse(assigned, "corrupt")
        NODE_ASSIGNMENTS.labels("held").inc()
        return self._committed(assigned, received_us, received_us, received_us)

    def _confirm(
        self, assigned: BundleAssigned, *, received_us: int, pulled_us: int
    ) -> BundleCommitted:
        durable_us = self._clock.now_us()
        NODE_ASSIGNMENTS.labels("committed").inc()
        NODE_COMMIT_SECONDS.observe(max(0, durable_us - received_us) / 1_000_000)
        return self._committed(assigned, received_us, pulled_us, durable_us)

    def _committed(
        self, assigned: BundleAssigned, received_us: int, pulled_us: int, durable_us: int
    ) -> BundleCommitted:
        return BundleCommitted(
            bundle_id=assigned.bundle_id,
            seal_id=assigned.seal_id,
            node_id=self._node_id,
            node_epoch=self._node_epoch,
            size=assigned.size,
            crc=assigned.crc,
            received_us=received_us,
            pulled_us=pulled_us,
            durable_us=durable_us,
        )

    def _refuse(self, assigned: BundleAssigned, reason: str) -> BundleRefused:
        NODE_ASSIGNMENTS.labels(reason).inc()
        return BundleRefused(
            bundle_id=assigned.bundle_id,
            seal_id=assigned.seal_id,
            node_id=self._node_id,
            reason=reason,
        )

    # --- one append for all that wait ---------------------------------------------------------

    async def _append(self, bundles: Sequence[IncomingBundle]) -> Sequence[str | None]:
        """Return per bundle why it was refused, None when it is durable."""
        try:
            await self._store.write(bundles)
        except NodeFenced:
            return ["fenced"] * len(bundles)
        except NodeFull:
            if len(bundles) == 1:
                return ["full"]
            # A smaller one may still fit.
            return [reason for one in bundles for reason in await self._append([one])]
        return [None] * len(bundles)
