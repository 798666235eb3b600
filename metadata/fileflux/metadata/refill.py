"""Refill `replicas` from the nodes: what they hold is theirs to say, and stands in no event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fileflux.core.errors import Unavailable
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.node_messages import InventoryItem
from fileflux.metadata.rebuild_target import RebuildTarget
from fileflux.metadata.rows import ReplicaRow

ITEMS_PER_PAGE: Final = 5_000


class Inventories(Protocol):
    """Asks nodes for their inventories; `NodeClient` does."""

    async def inventory(
        self, node_url: str, after: BundleId | None, limit: int
    ) -> list[InventoryItem]: ...


@dataclass(frozen=True, slots=True)
class Refilled:
    """What a node said. `problem`: why it did not say all; its replicas then are those told."""

    node_id: NodeId
    replicas: int
    problem: str | None = None


async def refill(
    inventories: Inventories, nodes: Mapping[NodeId, str], target: RebuildTarget
) -> list[Refilled]:
    """Store every bundle of every node, by its URL. A node that does not answer is named."""
    return [
        await _refill(inventories, node_id, nodes[node_id], target) for node_id in sorted(nodes)
    ]


async def _refill(
    inventories: Inventories, node_id: NodeId, url: str, target: RebuildTarget
) -> Refilled:
    count, after = 0, None
    try:
        while items := await inventories.inventory(url, after, ITEMS_PER_PAGE):
            await target.store_replicas(_rows(node_id, items))
            count, after = count + len(items), items[-1].bundle_id
    except Unavailable as error:
        return Refilled(node_id, count, str(error))
    return Refilled(node_id, count)


def _rows(node_id: NodeId, items: Sequence[InventoryItem]) -> list[ReplicaRow]:
    """An inventory does not tell in which epoch a bundle came: 0."""
    return [
        ReplicaRow(bundle_id=item.bundle_id, node_id=node_id, epoch=0, size=item.size, crc=item.crc)
        for item in items
    ]
