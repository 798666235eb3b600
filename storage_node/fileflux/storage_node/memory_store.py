"""The in-memory twin of the extent store: for unit tests and the seeded simulation.

What a write has not returned from is not durable: `power_cut` takes it away, and with it whatever
the index had not been synced with, exactly as far as the port promises.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from fileflux.core.bundle_view import BundleIndexView
from fileflux.core.errors import BundleCorrupt, NodeFenced, NodeFull, NoSuchBundle
from fileflux.core.ids import BundleId
from fileflux.core.node_messages import DropItem, InventoryItem
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.positions import StoredPosition


class MemoryStoredBundle:
    """`data` may be damaged by a test."""

    def __init__(self, data: bytearray, view: BundleIndexView) -> None:
        self.data = data
        self.view = view

    async def read(self, offset: int, length: int) -> bytes:
        piece = bytes(self.data[offset : offset + length])
        if len(piece) != length:
            raise BundleCorrupt(f"bundle {self.view.header.bundle_id.hex()} ends early")
        return piece


async def _one_turn() -> None:
    await asyncio.sleep(0)


class MemoryStore:
    """A `BundleStore`. `sync` stands for the time of an fsync; `capacity_bytes` for the disk."""

    def __init__(
        self, *, capacity_bytes: int = 2**40, sync: Callable[[], Awaitable[None]] = _one_turn
    ) -> None:
        self.capacity_bytes = capacity_bytes
        self.fenced_reason: str | None = None
        self.sync_count = 0
        self._sync = sync
        self._bundles: dict[BundleId, MemoryStoredBundle] = {}
        self._garbage: dict[BundleId, set[int]] = {}
        self._position: StoredPosition | None = None
        self._durable_position: StoredPosition | None = None
        self._life = 0

    @property
    def used_bytes(self) -> int:
        return sum(len(bundle.data) for bundle in self._bundles.values())

    async def write(self, bundles: Sequence[IncomingBundle]) -> None:
        self._check_fence()
        fresh = {b.bundle_id: b for b in bundles if b.bundle_id not in self._bundles}
        if self.used_bytes + sum(len(b.data) for b in fresh.values()) > self.capacity_bytes:
            raise NodeFull("the node is full")
        life = self._life
        await self._sync()
        self._check_fence()
        if life != self._life:
            raise NodeFenced("the node was cut off while it wrote")
        self.sync_count += 1
        for bundle_id, bundle in fresh.items():
            self._bundles[bundle_id] = MemoryStoredBundle(bytearray(bundle.data), bundle.view)

    async def find(self, bundle_id: BundleId) -> InventoryItem | None:
        held = self._bundles.get(bundle_id)
        return None if held is None else _item(held)

    async def open(self, bundle_id: BundleId) -> MemoryStoredBundle:
        held = self._bundles.get(bundle_id)
        if held is None:
            raise NoSuchBundle(f"bundle {bundle_id.hex()} is not held")
        return held

    async def drop(self, items: Sequence[DropItem]) -> None:
        for item in items:
            held = self._bundles.get(item.bundle_id)
            if held is None:
                continue
            present = {place.number for place in held.view.chunks()}
            garbage = self._garbage.setdefault(item.bundle_id, set())
            garbage |= present.intersection(item.numbers)
            if garbage == present:
                del self._bundles[item.bundle_id], self._garbage[item.bundle_id]

    async def inventory(self, after: BundleId | None, limit: int) -> list[InventoryItem]:
        ids = sorted(i for i in self._bundles if after is None or i > after)
        return [_item(self._bundles[bundle_id]) for bundle_id in ids[:limit]]

    def position(self) -> StoredPosition | None:
        return self._position

    def remember(self, position: StoredPosition) -> None:
        self._position = position

    # What tests and the simulation do to it.

    def save_position(self) -> None:
        """The index's checkpoint: from now on the position survives a power cut."""
        self._durable_position = self._position

    def power_cut(self) -> None:
        """Lose every write that has not returned, and the position since its checkpoint."""
        self._life += 1
        self._position = self._durable_position

    def damage(self, bundle_id: BundleId, at: int) -> None:
        """Flip a bit of a stored bundle."""
        self._bundles[bundle_id].data[at] ^= 1

    def lose(self, bundle_id: BundleId) -> None:
        """Forget a bundle, as a replaced disk does."""
        self._bundles.pop(bundle_id, None)

    def _check_fence(self) -> None:
        if self.fenced_reason is not None:
            raise NodeFenced(self.fenced_reason)


def _item(held: MemoryStoredBundle) -> InventoryItem:
    header = held.view.header
    return InventoryItem(header.bundle_id, *header.sealed)
