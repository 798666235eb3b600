"""Seals that wait for enough nodes: the only state that a materializer keeps in memory.

Commits are rows at once, so nothing here is the truth: what is counted here says only which seals
are worth a transaction, and the transaction counts the rows. Lost with the process, it is read
again from the stored position, which is that of the oldest seal in here.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.checksum import crc32c
from fileflux.core.ids import BundleId, NodeId, SealId
from fileflux.core.model import MIB, SealedBundle
from fileflux.events.ports import Record
from fileflux.events.schema import BundleCommitted, UploadsSealed
from fileflux.metadata.rows import ReplicaRow

PENDING_BYTES_MAX: Final = 64 * MIB
"""Of records. A seal leaves after its deadline at the latest, so this is a minute of a flood."""
EARLY_COMMITS_MAX: Final = 4_096
"""Commits whose seal has not been read: for the hop times of its audit record only."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a stored position remembers of the record before it: a wiped topic has another one."""

    timestamp_us: int = 0
    crc: int = 0


NO_MARK: Final = Mark()


def mark_of(record: Record) -> Mark:
    return Mark(record.timestamp_us, crc32c(record.value))


@dataclass(slots=True, eq=False)
class PendingSeal:
    """A seal and what is known about its bundles. `before`: the mark of the record before its own.

    `nodes`: by bundle, those that confirmed it. `count_at_s`: when its rows are to be read.
    """

    seal: UploadsSealed
    record: Record
    before: Mark
    nodes: dict[BundleId, set[NodeId]]
    commits: dict[BundleId, dict[NodeId, BundleCommitted]] = field(default_factory=dict)
    count_at_s: float | None = None

    @property
    def lane(self) -> int:
        return self.record.position.partition

    @property
    def offset(self) -> int:
        return self.record.position.offset

    @property
    def is_complete(self) -> bool:
        """Whether every bundle seems to have its quorum."""
        return all(len(nodes) >= quorum_of(self.seal) for nodes in self.nodes.values())

    def take(self, commit: BundleCommitted) -> None:
        """Count a commit if it is of the bytes that were sealed."""
        for bundle in self.seal.bundles:
            if bundle.bundle_id == commit.bundle_id and is_same(bundle, commit):
                self.nodes[bundle.bundle_id].add(commit.node_id)
                self.commits.setdefault(bundle.bundle_id, {})[commit.node_id] = commit


def quorum_of(seal: UploadsSealed) -> int:
    """Return W. Never nothing: a seal that asks for no proof is not believed."""
    return max(1, seal.quorum)


def is_same(bundle: SealedBundle, stored: BundleCommitted | ReplicaRow) -> bool:
    """Tell whether a node holds the bytes that were sealed."""
    return (bundle.size, bundle.crc) == (stored.size, stored.crc)


class PendingSeals:
    """All seals that wait, by id and by bundle, oldest first.

    `ready`: those worth a transaction, because they seem complete, or past their deadline.
    """

    def __init__(self, *, bytes_max: int = PENDING_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._seals: dict[SealId, PendingSeal] = {}
        self._by_bundle: dict[BundleId, PendingSeal] = {}
        self._early: OrderedDict[BundleId, dict[NodeId, BundleCommitted]] = OrderedDict()
        self.ready: dict[SealId, PendingSeal] = {}

    def __len__(self) -> int:
        return len(self._seals)

    def __iter__(self) -> Iterator[PendingSeal]:
        return iter(self._seals.values())

    @property
    def is_full(self) -> bool:
        return self._bytes >= self._bytes_max

    @property
    def has_room(self) -> bool:
        """Whether a lane that was parked because of us may be read again."""
        return self._bytes <= self._bytes_max // 2

    def add(self, seal: UploadsSealed, record: Record, before: Mark) -> PendingSeal | None:
        """Take a seal in; return None if it waits here already."""
        if seal.seal_id in self._seals:
            return None
        nodes: dict[BundleId, set[NodeId]] = {b.bundle_id: set() for b in seal.bundles}
        pending = PendingSeal(seal, record, before, nodes)
        self._seals[seal.seal_id] = pending
        self._bytes += len(record.value)
        for bundle_id in nodes:
            self._by_bundle[bundle_id] = pending
            for commit in self._early.pop(bundle_id, {}).values():
                pending.take(commit)
        self._note_ready(pending)
        return pending

    def remove(self, pending: PendingSeal) -> None:
        """Forget a seal. Removing it twice is the same as once."""
        if self._seals.pop(pending.seal.seal_id, None) is None:
            return
        self.ready.pop(pending.seal.seal_id, None)
        self._bytes -= len(pending.record.value)
        for bundle_id in pending.nodes:
            if self._by_bundle.get(bundle_id) is pending:
                del self._by_bundle[bundle_id]

    def remove_lane(self, lane: int) -> None:
        """Forget the seals of a lane that another materializer applies."""
        for pending in [p for p in self if p.lane == lane]:
            self.remove(pending)

    def take(self, commit: BundleCommitted) -> None:
        """Count a commit for its seal, or keep it for a seal that comes later."""
        pending = self._by_bundle.get(commit.bundle_id)
        if pending is not None:
            pending.take(commit)
            self._note_ready(pending)
            return
        self._early.setdefault(commit.bundle_id, {})[commit.node_id] = commit
        if len(self._early) > EARLY_COMMITS_MAX:
            self._early.popitem(last=False)

    def count(self, pending: PendingSeal, nodes: Mapping[BundleId, Collection[NodeId]]) -> None:
        """Add nodes that somebody read in the rows."""
        for bundle_id, confirmed in nodes.items():
            pending.nodes[bundle_id].update(confirmed)
        self._note_ready(pending)

    def correct(self, pending: PendingSeal, nodes: dict[BundleId, set[NodeId]]) -> None:
        """The transaction counted only these: the seal waits on."""
        pending.nodes = nodes
        self.ready.pop(pending.seal.seal_id, None)

    def mark_ready(self, pending: PendingSeal) -> None:
        """Its deadline seems to have passed: the transaction looks."""
        self.ready[pending.seal.seal_id] = pending

    def _note_ready(self, pending: PendingSeal) -> None:
        if pending.is_complete:
            self.ready[pending.seal.seal_id] = pending

    def oldest_of(self, lane: int, *, without: Collection[PendingSeal] = ()) -> PendingSeal | None:
        """Return the lane's seal with the lowest offset that is not among `without`."""
        waiting = (p for p in self if p.lane == lane and p not in without)
        return min(waiting, key=lambda p: p.offset, default=None)

    def bundles_of(self, seals: Iterable[PendingSeal]) -> Mapping[SealId, list[BundleId]]:
        """Return what the database is asked about these seals."""
        return {pending.seal.seal_id: list(pending.nodes) for pending in seals}
