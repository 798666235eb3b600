"""Tell the chosen nodes to pull a bundle, and others when these cannot or do not.

Every choice is placement's, taken from its map; nothing here waits for placement. A stale map is
harmless: nodes refuse what they cannot take, and only their confirmations count.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.errors import QuorumNotReached
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import BundleId, NodeId, slot_of
from fileflux.core.model import SizeClass, StorageClass
from fileflux.events.codec import encode_events
from fileflux.events.ports import EventPublisher
from fileflux.events.schema import BundleAssigned
from fileflux.events.topics import BUNDLES_ASSIGNED
from fileflux.events.traced_publisher import Headers, trace_headers
from fileflux.ingest.seals import SourceUrls, WatchedBundle

ASSIGNMENT_LIFE_US: Final = 60_000_000
"""As long as a seal lives: an assignment older than that serves nobody."""
SILENT_S_MAX: Final = 3.0
"""A node that has not answered for this long is replaced."""
REPLACEMENT_ATTEMPTS_MAX: Final = 16
"""Replica sets tried for one replacement: each is another hash of the same bundle."""


class Choice(Protocol):
    """A replica set of the placement map, and where in the map it stands."""

    @property
    def nodes(self) -> tuple[NodeId, ...]: ...

    @property
    def epoch(self) -> int: ...

    @property
    def set_number(self) -> int: ...


class PlacementView(Protocol):
    """What ingest sees of the placement map."""

    def choose(
        self,
        bundle_id: BundleId,
        attempt: int,
        storage_class: StorageClass,
        size_class: SizeClass,
        avoid: Collection[NodeId] = (),
    ) -> Choice | None:
        """Return the set for this bundle and attempt, without nodes of `avoid`; None: no such."""

    def node_url(self, node_id: NodeId) -> str | None:
        """Return the base URL of a node of the map."""

    def is_alive(self, node_id: NodeId) -> bool:
        """Return whether the map calls the node alive."""


class Assigner:
    """Publishes assignments on the slots of their nodes, answers wanted on our lane."""

    def __init__(
        self,
        *,
        view: PlacementView,
        publisher: EventPublisher,
        sources: SourceUrls,
        clock: Clock,
        lane: int,
        slot_count: int,
    ) -> None:
        self._view = view
        self._publisher = publisher
        self._sources = sources
        self._clock = clock
        self._lane = lane
        self._slot_count = slot_count

    def choose(
        self, bundle_id: BundleId, storage_class: StorageClass, size_class: SizeClass
    ) -> Choice:
        """Return the bundle's first set; raise QuorumNotReached when W nodes are not to be had."""
        choice = self._view.choose(bundle_id, 0, storage_class, size_class, ())
        if choice is None or len(choice.nodes) < storage_class.quorum:
            raise QuorumNotReached(f"class {storage_class.name} has no replica set")
        return choice

    async def assign(self, bundle: WatchedBundle, nodes: Sequence[NodeId]) -> None:
        """Ask these nodes for a staged bundle. Raise BrokerUnavailable if that cannot be told."""
        failpoint("ingest.before_assign")
        now_s = self._clock.monotonic_s()
        for node_id in nodes:
            bundle.ask(node_id, now_s)
        by_slot: dict[int, list[BundleAssigned]] = defaultdict(list)
        for event in await self._events(bundle, nodes):
            by_slot[slot_of(event.node_id, self._slot_count)].append(event)
        headers = trace_headers(bundle.trace)
        await asyncio.gather(
            *(self._publish(slot, events, headers) for slot, events in by_slot.items())
        )
        failpoint("ingest.after_assign")

    async def assign_again(self, bundle: WatchedBundle) -> None:
        """Ask the silent nodes once more; replace those that are suspect or silent for too long.

        Raise QuorumNotReached when fewer than W nodes are left to count on.
        """
        now_s = self._clock.monotonic_s()
        gone = [
            node_id
            for node_id in bundle.silent_nodes()
            if now_s - bundle.asked[node_id] > SILENT_S_MAX or not self._view.is_alive(node_id)
        ]
        fresh = self._replacements(bundle, gone)
        # A silent node that nobody can stand in for is asked again: it may only be slow.
        for node_id in gone[: len(fresh)]:
            bundle.avoid(node_id)
        await self._assign_checked(bundle, [*bundle.silent_nodes(), *fresh])

    async def replace_refused(self, bundle: WatchedBundle) -> None:
        """Ask another node for each that refused. Raise QuorumNotReached as above."""
        missing = bundle.storage_class.replicas - bundle.usable_count
        fresh = self._replacements(bundle, (), count=missing)
        await self._assign_checked(bundle, fresh)

    async def _assign_checked(self, bundle: WatchedBundle, nodes: Sequence[NodeId]) -> None:
        alive = [node_id for node_id in bundle.asked if self._view.is_alive(node_id)]
        if len(bundle.committed.union(alive, nodes)) < bundle.storage_class.quorum:
            raise QuorumNotReached(
                f"bundle {bundle.bundle_id.hex()}: fewer than {bundle.storage_class.quorum} nodes"
            )
        if nodes:
            await self.assign(bundle, nodes)

    def _replacements(
        self, bundle: WatchedBundle, gone: Collection[NodeId], *, count: int | None = None
    ) -> list[NodeId]:
        """Return up to `count` nodes (default: one for each gone one) that were not asked yet."""
        wanted = len(gone) if count is None else count
        bad = bundle.avoided.union(gone)
        known = bundle.committed.union(bundle.asked, bad)
        fresh: list[NodeId] = []
        for _ in range(REPLACEMENT_ATTEMPTS_MAX):
            if len(fresh) >= wanted:
                break
            bundle.attempt += 1
            fresh.extend(self._candidates(bundle, bad, known.union(fresh)))
        return fresh[: max(0, wanted)]

    def _candidates(
        self, bundle: WatchedBundle, bad: Collection[NodeId], known: Collection[NodeId]
    ) -> list[NodeId]:
        choice = self._view.choose(
            bundle.bundle_id, bundle.attempt, bundle.storage_class, bundle.sealed.size_class, bad
        )
        return [] if choice is None else [node for node in choice.nodes if node not in known]

    async def _events(self, bundle: WatchedBundle, nodes: Iterable[NodeId]) -> list[BundleAssigned]:
        url = await (bundle.source or self._sources).source_url(bundle.bundle_id)
        holders = {
            node_id: node_url
            for node_id in bundle.committed.union(bundle.asked)
            if (node_url := self._view.node_url(node_id)) is not None
        }
        now_us = self._clock.now_us()
        return [
            BundleAssigned(
                bundle_id=bundle.bundle_id,
                seal_id=bundle.seal_id,
                node_id=node_id,
                lane=self._lane,
                size_class=bundle.sealed.size_class,
                size=bundle.sealed.size,
                crc=bundle.sealed.crc,
                source_url=url,
                peers=tuple(peer for other, peer in holders.items() if other != node_id),
                # A node that is asked again looks first whether it has the bundle already.
                attempt=bundle.attempt + bundle.questions,
                expires_at_us=now_us + ASSIGNMENT_LIFE_US,
                assigned_us=now_us,
            )
            for node_id in nodes
        ]

    async def _publish(self, slot: int, events: Sequence[BundleAssigned], headers: Headers) -> None:
        await self._publisher.publish(
            BUNDLES_ASSIGNED, encode_events(events), partition=slot, headers=headers
        )
