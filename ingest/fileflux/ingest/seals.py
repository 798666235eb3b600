"""Seals and bundles on their way: who was asked, who confirmed, who still waits. No I/O in here.

Everything is driven by events that may be lost, doubled or late, so each step only adds to sets:
what arrives twice changes nothing, and the database has the last word (`settling.py`).
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fileflux.core.ids import BundleId, NodeId, SealId, UploadId
from fileflux.core.model import SealedBundle, SizeClass, StorageClass
from fileflux.core.tracing import TraceContext
from fileflux.events.schema import BundleCommitted, BundleRefused, UploadsCompleted
from fileflux.metadata.rows import Settlement


class SourceUrls(Protocol):
    """Where nodes fetch a staged bundle."""

    async def source_url(self, bundle_id: BundleId) -> str: ...


@dataclass(slots=True, eq=False)
class WatchedBundle:
    """A staged bundle until enough nodes have it.

    `asked`: node → when it was first asked, monotonic seconds. `avoided`: refused, or silent for
    too long; a late confirmation of one still counts. `attempt` grows with each replacement.
    `ask_at_s`: when the database is asked for it, `questions` how often it was. `is_leaving`: it is
    deleted from the staging some time from now; `is_released`: now; `is_held`: not until an
    accepted upload is final. `source`: who serves it, if it is not our own staging. `trace`: of
    the flush that staged it.
    """

    sealed: SealedBundle
    seal_id: SealId
    storage_class: StorageClass
    ask_at_s: float
    attempt: int = 0
    asked: dict[NodeId, float] = field(default_factory=dict)
    committed: set[NodeId] = field(default_factory=set)
    avoided: set[NodeId] = field(default_factory=set)
    questions: int = 0
    is_leaving: bool = False
    is_released: bool = False
    is_held: bool = False
    source: "SourceUrls | None" = None
    quorum: "asyncio.Future[Exception | None] | None" = None
    trace: TraceContext | None = None

    @property
    def bundle_id(self) -> BundleId:
        return self.sealed.bundle_id

    @property
    def has_quorum(self) -> bool:
        return len(self.committed) >= self.storage_class.quorum

    @property
    def is_complete(self) -> bool:
        return len(self.committed) >= self.storage_class.replicas

    @property
    def usable_count(self) -> int:
        """How many nodes have it or may still take it."""
        return len(self.committed.union(self.asked))

    def silent_nodes(self) -> list[NodeId]:
        return [node for node in self.asked if node not in self.committed]

    def ask(self, node_id: NodeId, now_s: float) -> None:
        self.asked.setdefault(node_id, now_s)

    def avoid(self, node_id: NodeId) -> None:
        """Count on this node no longer."""
        self.asked.pop(node_id, None)
        self.avoided.add(node_id)

    def confirm(self, nodes: Iterable[NodeId]) -> None:
        self.committed.update(nodes)
        if self.has_quorum:
            self._end_wait(None)

    def fail(self, error: Exception) -> None:
        """Tell whoever waits for the quorum that it will not come."""
        self._end_wait(error)

    async def wait_for_quorum(self) -> None:
        """Return when W nodes have it; raise what `fail` was given. The caller has a deadline."""
        if self.has_quorum:
            return
        if self.quorum is None:
            self.quorum = asyncio.get_running_loop().create_future()
        error = await asyncio.shield(self.quorum)
        if error is not None:
            raise error

    def _end_wait(self, error: Exception | None) -> None:
        if self.quorum is not None and not self.quorum.done():
            self.quorum.set_result(error)


@dataclass(slots=True, eq=False)
class OpenSeal:
    """One seal from its first bundle to its settlement.

    `bundles`: all of them, in order; `lacking`: those without a quorum. `record`: the sealed
    event's bytes, for re-emission; None until every bundle is staged and every body verified.
    `settled`: None stands for "give up now"; it never holds an exception.
    """

    seal_id: SealId
    storage_class: StorageClass
    size_class: SizeClass
    settled: "asyncio.Future[Settlement | None]"
    bundles: list[WatchedBundle] = field(default_factory=list)
    lacking: dict[BundleId, WatchedBundle] = field(default_factory=dict)
    upload_ids: tuple[UploadId, ...] = ()
    record: bytes | None = None
    emitted_s: float = 0.0
    ask_at_s: float = 0.0
    questions: int = 0
    trace: TraceContext | None = None

    @property
    def is_emitted(self) -> bool:
        return self.record is not None

    @property
    def is_settled(self) -> bool:
        return self.settled.done()

    def settle(self, settlement: Settlement) -> None:
        if not self.settled.done():
            self.settled.set_result(settlement)

    def give_up(self) -> None:
        """Stop waiting: fewer than W nodes can take a bundle. The waiter aborts the seal."""
        if not self.settled.done():
            self.settled.set_result(None)


class OpenSeals:
    """All seals and bundles of this process that are on their way."""

    def __init__(self) -> None:
        self._seals: dict[SealId, OpenSeal] = {}
        self._bundles: dict[BundleId, WatchedBundle] = {}
        self._emitted: dict[str, dict[SealId, OpenSeal]] = {}

    def __len__(self) -> int:
        return len(self._seals)

    def __iter__(self) -> Iterator[OpenSeal]:
        return iter(tuple(self._seals.values()))

    def open(self, seal: OpenSeal) -> None:
        self._seals[seal.seal_id] = seal

    def watch(self, seal: OpenSeal, bundle: WatchedBundle) -> None:
        seal.bundles.append(bundle)
        seal.lacking[bundle.bundle_id] = bundle
        self._bundles[bundle.bundle_id] = bundle

    def mark_emitted(self, seal: OpenSeal, *, record: bytes, now_s: float) -> None:
        seal.record, seal.emitted_s = record, now_s
        self._emitted.setdefault(seal.storage_class.name, {})[seal.seal_id] = seal

    def close(self, seal: OpenSeal) -> None:
        """Forget the seal. Its bundles stay watched until they are unwatched."""
        self._seals.pop(seal.seal_id, None)
        self._emitted.get(seal.storage_class.name, {}).pop(seal.seal_id, None)

    @property
    def watched_count(self) -> int:
        """How many bundles are watched."""
        return len(self._bundles)

    def unwatch(self, bundle_ids: Sequence[BundleId]) -> None:
        for bundle_id in bundle_ids:
            self._bundles.pop(bundle_id, None)

    def seal_of(self, seal_id: SealId) -> OpenSeal | None:
        return self._seals.get(seal_id)

    def oldest_age_s(self, class_name: str, *, now_s: float) -> float:
        """Return how long the oldest emitted, unsettled seal of a class has waited; 0 if none."""
        emitted = self._emitted.get(class_name)
        if not emitted:
            return 0.0
        return now_s - next(iter(emitted.values())).emitted_s

    def on_completed(self, event: UploadsCompleted) -> None:
        seal = self._seals.get(event.seal_id)
        if seal is not None:
            seal.settle(settlement_of(event))

    def on_committed(self, event: BundleCommitted) -> WatchedBundle | None:
        """Return our bundle, confirmed; None for a stranger's or one that is not what we staged."""
        bundle = self._bundles.get(event.bundle_id)
        if bundle is None or (event.size, event.crc) != (bundle.sealed.size, bundle.sealed.crc):
            return None
        self.confirm(bundle, (event.node_id,))
        return bundle

    def confirm(self, bundle: WatchedBundle, nodes: Iterable[NodeId]) -> None:
        """Count these nodes, by whichever way we learnt of them."""
        bundle.confirm(nodes)
        seal = self._seals.get(bundle.seal_id)
        if seal is not None and bundle.has_quorum:
            seal.lacking.pop(bundle.bundle_id, None)

    def on_refused(self, event: BundleRefused) -> WatchedBundle | None:
        """Return our bundle if the refusal is news."""
        bundle = self._bundles.get(event.bundle_id)
        if bundle is None or event.node_id not in bundle.asked:
            return None
        if event.node_id in bundle.committed:
            return None
        bundle.avoid(event.node_id)
        return bundle


def settlement_of(event: UploadsCompleted) -> Settlement:
    return Settlement(
        seal_id=event.seal_id,
        outcomes=event.outcomes,
        aborted=False,
        settled_us=event.completed_us,
    )
