"""When a map is published, and what is in it. Pure: the agents tell the time and send.

A map goes out when it differs from the last one, at most once a second, and again every 30 s.
Free space alone is no difference: it changes with every heartbeat.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fileflux.core.model import StorageClass
from fileflux.events.schema import ClassSets, MappedNode, PlacementDecided
from fileflux.placement.membership import Intents, Membership, NodeView
from fileflux.placement.policy import LARGE_SET_COUNT, SMALL_SET_COUNT, replica_sets

PUBLISH_INTERVAL_S: Final = 1.0
REPEAT_INTERVAL_S: Final = 30.0


class MapMaker:
    """Makes maps from `membership` for one leader. Times: seconds of the monotonic clock."""

    def __init__(self, classes: Mapping[str, StorageClass], membership: Membership) -> None:
        self._classes = classes
        self._membership = membership
        self._last: PlacementDecided | None = None
        self._last_at_s: float | None = None
        self._epoch = 0

    def take_over(self, last: PlacementDecided | None) -> None:
        """Lead from the highest map that was read: its nodes, and epochs above its own."""
        if last is not None and last.epoch > self._epoch:
            self._epoch = last.epoch
            self._membership.seed(last)
        self._last = None
        self._last_at_s = None

    def due(self, *, now_s: float, now_us: int, intents: Intents) -> PlacementDecided | None:
        """Return the map to publish now, with its epoch; None: nothing to say yet.

        Call `published` when the broker has it; until then the same map is due again.
        """
        if self._last_at_s is not None and now_s - self._last_at_s < PUBLISH_INTERVAL_S:
            return None
        nodes = self._membership.nodes(now_s, intents)
        if not nodes:
            return None
        decided = decide(nodes, self._classes, epoch=self._epoch + 1, at_us=now_us)
        is_repeat = self._last_at_s is not None and now_s - self._last_at_s < REPEAT_INTERVAL_S
        if is_repeat and self._last is not None and _gist(decided) == _gist(self._last):
            return None
        return decided

    def published(self, decided: PlacementDecided, *, now_s: float) -> None:
        self._epoch = decided.epoch
        self._last = decided
        self._last_at_s = now_s


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


def _gist(decided: PlacementDecided) -> PlacementDecided:
    nodes = tuple(replace(node, free_bytes=0) for node in decided.nodes)
    return replace(decided, epoch=0, at_us=0, nodes=nodes)
