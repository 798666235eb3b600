"""When a map is published, and what is in it. Pure: the agents tell the time and send.

A map goes out when it differs from the last one, at most once a second, and again every 30 s.
Free space alone is no difference: it changes with every heartbeat, the weight that policy makes of
it in steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from fileflux.core.model import StorageClass
from fileflux.events.schema import ClassSets, MappedNode, PlacementDecided
from fileflux.placement.membership import Intents, Membership, NodeView
from fileflux.placement.policy import (
    LARGE_SET_COUNT,
    SMALL_SET_COUNT,
    effective_weight,
    replica_sets,
)

PUBLISH_INTERVAL_S: Final = 1.0
REPEAT_INTERVAL_S: Final = 30.0
EMPTY_AFTER_S: Final = 10.0
"""A map without nodes says that somebody leads and hears nobody: not before they had time."""

_Gist = tuple[tuple[NodeView, float], ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A map that should be published, and what of its nodes it depends on."""

    decided: PlacementDecided
    gist: _Gist


class MapMaker:
    """Makes maps from `membership` for one leader. Times: seconds of the monotonic clock."""

    def __init__(self, classes: Mapping[str, StorageClass], membership: Membership) -> None:
        self._classes = classes
        self._membership = membership
        self._gist: _Gist | None = None
        self._published_at_s = float("-inf")
        self._leads_since_s = float("-inf")
        self._epoch = 0

    def take_over(self, last: PlacementDecided | None, *, now_s: float) -> None:
        """Lead from the highest map that was read: its nodes, and epochs above its own.

        The next map is due at once, so that a former leader's late one is below it.
        """
        if last is not None:
            self._epoch = max(self._epoch, last.epoch)
            self._membership.seed(last)
        self._gist = None
        self._published_at_s = float("-inf")
        self._leads_since_s = now_s

    def repeat(self) -> None:
        """The next map is due at once: readers that start now find none."""
        self._published_at_s = float("-inf")

    def due(self, *, now_s: float, now_us: int, intents: Intents) -> Proposal | None:
        """Return the map to publish now, with its epoch; None: nothing to say.

        Call `published` when the broker has it; until then it is due again and again.
        """
        silent_s = now_s - self._published_at_s
        if silent_s < PUBLISH_INTERVAL_S:
            return None
        nodes = self._membership.nodes(now_s, intents)
        gist = _gist(nodes)
        if not nodes and now_s - self._leads_since_s < EMPTY_AFTER_S:
            return None
        if gist == self._gist and silent_s < REPEAT_INTERVAL_S:
            return None
        decided = decide(nodes, self._classes, epoch=self._epoch + 1, at_us=now_us)
        return Proposal(decided, gist)

    def published(self, proposal: Proposal, *, now_s: float) -> None:
        self._epoch = proposal.decided.epoch
        self._gist = proposal.gist
        self._published_at_s = now_s


def decide(
    nodes: tuple[NodeView, ...],
    classes: Mapping[str, StorageClass],
    *,
    epoch: int,
    at_us: int,
) -> PlacementDecided:
    """Return the map of these nodes. Nothing but its arguments decides what is in it."""
    return PlacementDecided(
        epoch=epoch,
        at_us=at_us,
        nodes=tuple(_mapped(node) for node in nodes),
        classes=tuple(_class_sets(nodes, storage_class) for storage_class in classes.values()),
    )


def _mapped(node: NodeView) -> MappedNode:
    return MappedNode(
        node_id=node.node_id,
        url=node.url,
        domain=node.domain,
        state=node.state,
        weight=node.weight,
        free_bytes=node.free_bytes,
    )


def _class_sets(nodes: tuple[NodeView, ...], storage_class: StorageClass) -> ClassSets:
    name = storage_class.name
    return ClassSets(
        storage_class=name,
        replicas=storage_class.replicas,
        quorum=storage_class.quorum,
        small=replica_sets(nodes, storage_class, SMALL_SET_COUNT, f"{name}/small"),
        large=replica_sets(nodes, storage_class, LARGE_SET_COUNT, f"{name}/large"),
    )


def _gist(nodes: tuple[NodeView, ...]) -> _Gist:
    return tuple((replace(node, free_bytes=0, load=0.0), effective_weight(node)) for node in nodes)
