"""How far the inventory was read: whether anybody knows all that this node holds. Pure."""

from collections.abc import Sequence

from fileflux.core.ids import BundleId
from fileflux.core.node_messages import InventoryItem


class InventoryReading:
    """Follows the pages that were sent by this process, from the first on and without a gap."""

    def __init__(self) -> None:
        self._read_to: BundleId | None = None

    def sent(self, after: BundleId | None, page: Sequence[InventoryItem], *, is_last: bool) -> bool:
        """Note a page that was sent; return whether the inventory was sent whole by now.

        A page that is asked for again closes no gap and opens none.
        """
        if after is not None and (self._read_to is None or after > self._read_to):
            return False
        end = page[-1].bundle_id if page else after or BundleId(b"")
        self._read_to = end if self._read_to is None else max(self._read_to, end)
        return is_last
