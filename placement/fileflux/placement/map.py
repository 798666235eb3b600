"""The placement map as its readers use it. Pure.

A stale map is harmless: nodes refuse what they cannot take, and commits are the proof. So a map
never expires; readers keep the one with the highest epoch.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from fileflux.core.ids import BundleId, NodeId, set_index
from fileflux.core.model import SizeClass, StorageClass
from fileflux.events.schema import ClassSets, MappedNode, PlacementDecided
from fileflux.placement.membership import ALIVE

RESTART_AFTER_US: Final = 60_000_000
"""A leader publishes every 30 s. A map so much younger, with a lower epoch, is of a topic that was
wiped and began again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A replica set for one bundle, and where it stands: epoch and number of the set."""

    nodes: tuple[NodeId, ...]
    epoch: int
    set_number: int
    reason: str


class PlacementMap:
    """One decision of placement, indexed."""

    def __init__(self, decided: PlacementDecided) -> None:
        self.decided = decided
        self._nodes = {node.node_id: node for node in decided.nodes}
        self._classes = {sets.storage_class: sets for sets in decided.classes}

    @property
    def epoch(self) -> int:
        return self.decided.epoch

    @property
    def nodes(self) -> tuple[MappedNode, ...]:
        return self.decided.nodes

    def node(self, node_id: NodeId) -> MappedNode | None:
        return self._nodes.get(node_id)

    def node_url(self, node_id: NodeId) -> str | None:
        """Return where the node was last heard, whatever its state."""
        node = self._nodes.get(node_id)
        return None if node is None else node.url

    def is_alive(self, node_id: NodeId) -> bool:
        node = self._nodes.get(node_id)
        return node is not None and node.state == ALIVE

    def class_sets(self, storage_class: str) -> ClassSets | None:
        return self._classes.get(storage_class)

    def choose(
        self,
        bundle_id: BundleId,
        attempt: int,
        storage_class: StorageClass,
        size_class: SizeClass,
        avoid: Collection[NodeId] = (),
    ) -> Choice | None:
        """Return the set of this bundle at this attempt, without nodes of `avoid`.

        None: the map knows no such class, has no quorum for it, or nobody is left.
        """
        sets = self._classes.get(storage_class.name)
        if sets is None:
            return None
        numbered = sets.small if size_class is SizeClass.SMALL else sets.large
        if not numbered:
            return None
        number = set_index(bundle_id, attempt, len(numbered))
        nodes = tuple(node for node in numbered[number].nodes if node not in avoid)
        if not nodes:
            return None
        return Choice(
            nodes=nodes, epoch=self.epoch, set_number=number, reason=numbered[number].reason
        )


EMPTY_MAP: Final = PlacementMap(PlacementDecided(epoch=0, at_us=0, nodes=(), classes=()))
"""Before the first map was read: nobody is chosen."""


def newer(current: PlacementMap, decided: PlacementDecided) -> PlacementMap:
    """Return the map to keep: the higher epoch, or the one of a topic that began again."""
    began_again = decided.at_us > current.decided.at_us + RESTART_AFTER_US
    if decided.epoch > current.epoch or (began_again and decided.epoch < current.epoch):
        return PlacementMap(decided)
    return current
