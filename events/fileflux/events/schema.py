"""Every event type of the pipeline. Frozen, in the past tense, private to FileFlux.

On the wire a record is a list of events of one flush (`codec.py`); a version byte comes first and
readers learn a new version before writers use it. Ids decide, partitions only route: a reader
ignores events whose ids are not its own.
"""

from dataclasses import dataclass

from fileflux.core.changes import Change, Outcome
from fileflux.core.ids import BundleId, Incarnation, NodeId, SealId
from fileflux.core.model import SealedBundle, SizeClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An immutable fact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleAssigned(Event):
    """Placement's choice, told to one node: pull this bundle. Topic `bundles.assigned`, by slot.

    `source_url`: where ingest serves the staged file (GET, signed by the cluster secret, or
    presigned where staging is S3). `peers`: base URLs of the other nodes of the set, for a
    latecomer. `lane`: the partition to answer in. After `expires_at_us` it is skipped.
    """

    bundle_id: BundleId
    seal_id: SealId
    node_id: NodeId
    lane: int
    size_class: SizeClass
    size: int
    crc: int
    source_url: str
    peers: tuple[str, ...]
    attempt: int
    expires_at_us: int
    assigned_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCommitted(Event):
    """A node wrote, fsynced and verified a bundle. Topic `bundles.committed`, by lane.

    Times: assignment read, bytes pulled, durable.
    """

    bundle_id: BundleId
    seal_id: SealId
    node_id: NodeId
    node_epoch: int
    size: int
    crc: int
    received_us: int
    pulled_us: int
    durable_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRefused(Event):
    """A node cannot take a bundle. Same topic. `reason`: full, fenced, gone, corrupt, expired."""

    bundle_id: BundleId
    seal_id: SealId
    node_id: NodeId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadsSealed(Event):
    """All uploads of one flush, with their manifests. Topic `uploads.sealed`, by lane.

    It may take effect once every bundle of `bundles` has `quorum` distinct committed nodes with
    equal size and CRC, and until `deadline_us` (database time); it settles once.
    """

    seal_id: SealId
    incarnation: Incarnation
    lane: int
    size_class: SizeClass
    storage_class: str
    replicas: int
    quorum: int
    deadline_us: int
    sealed_us: int
    bundles: tuple[SealedBundle, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadsCompleted(Event):
    """A seal's settlement, after its transaction committed. Topic `uploads.completed`, by lane."""

    seal_id: SealId
    lane: int
    outcomes: tuple[Outcome, ...]
    completed_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHeartbeat(Event):
    """A node's capacity, health and epoch, every second. Topic `nodes.heartbeats`.

    `domain`: failure domain path, e.g. `site-a/rack-3/host-7`. `health`: the pool's (ONLINE,
    DEGRADED, FAULTED …). `load`: bundles waiting to be durable. `reserve_bytes`: never filled.
    """

    node_id: NodeId
    epoch: int
    at_us: int
    url: str
    domain: str
    total_bytes: int
    free_bytes: int
    reserve_bytes: int
    health: str
    read_only: bool
    load: int
    software: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEchoed(Event):
    """A reader of the heartbeats says something to itself: what it reads is live. Same topic.

    Everybody else ignores it.
    """

    reader: str
    number: int


@dataclass(frozen=True, slots=True)
class MappedNode:
    """A node as the placement map shows it. `state`: alive, suspect, lost or draining."""

    node_id: NodeId
    url: str
    domain: str
    state: str
    weight: float
    free_bytes: int


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """Nodes chosen to hold a bundle, and why (one short sentence)."""

    nodes: tuple[NodeId, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ClassSets:
    """The replica sets of one storage class: K for small bundles, K for large ones."""

    storage_class: str
    replicas: int
    quorum: int
    small: tuple[ReplicaSet, ...]
    large: tuple[ReplicaSet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementDecided(Event):
    """The whole placement map at one epoch. Topic `fileflux.placement.map`."""

    epoch: int
    at_us: int
    nodes: tuple[MappedNode, ...]
    classes: tuple[ClassSets, ...]
