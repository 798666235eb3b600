"""The port to the bundles of one node, and what goes through it.

Two implementations share one contract suite: `extent_store` on disk, `memory_store` for tests and
the simulation, where a power cut takes away what was not synced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fileflux.core.bundle_view import BundleIndexView
from fileflux.core.checksum import Buffer
from fileflux.core.ids import BundleId
from fileflux.core.node_messages import DropItem, InventoryItem
from fileflux.storage_node.positions import StoredPosition


@dataclass(frozen=True, slots=True)
class IncomingBundle:
    """A pulled bundle, every byte of it verified against its seal."""

    data: Buffer
    view: BundleIndexView

    @property
    def bundle_id(self) -> BundleId:
        return self.view.header.bundle_id


class StoredBundle(Protocol):
    """A bundle that the node holds. Its bytes are not verified here: the reader does that."""

    @property
    def view(self) -> BundleIndexView: ...

    async def read(self, offset: int, length: int) -> Buffer:
        """Return these bytes of the record; raise BundleCorrupt when it ends early."""


class BundleStore(Protocol):
    """Bundles on one node. A bundle is written once and never modified."""

    async def write(self, bundles: Sequence[IncomingBundle]) -> None:
        """Return when all of them survive a power cut: one sync for all.

        A bundle that is held already stays as it is. Raise NodeFull, with nothing written, or
        NodeFenced, with nothing believed.
        """

    async def find(self, bundle_id: BundleId) -> InventoryItem | None:
        """Return size and crc of the seal if the bundle is held."""

    async def open(self, bundle_id: BundleId) -> StoredBundle:
        """Return the bundle for reading; raise NoSuchBundle or BundleCorrupt."""

    async def drop(self, items: Sequence[DropItem]) -> None:
        """Mark chunks as garbage, durably. A bundle of garbage only is held no more."""

    async def inventory(self, after: BundleId | None, limit: int) -> list[InventoryItem]:
        """Return the next bundles that are held, by id."""

    def position(self) -> StoredPosition | None:
        """Return the position that was remembered, as far as it is durable."""

    def remember(self, position: StoredPosition) -> None:
        """Keep the position with the index; it may lag behind, never lead."""
