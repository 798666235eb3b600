"""The msgpack bodies of the node's HTTP contract: inventories and drops. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from fileflux.core.errors import FormatInvalid
from fileflux.core.ids import ID_SIZE_BYTES, BundleId

INVENTORY_PAGE_MAX: Final = 10_000
DROP_ITEMS_MAX: Final = 10_000
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
_U32_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """A bundle that the node holds, with the size and crc of its seal."""

    bundle_id: BundleId
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class DropItem:
    """Chunks of a bundle that nobody references any more."""

    bundle_id: BundleId
    numbers: tuple[int, ...]


def encode_inventory(items: Sequence[InventoryItem]) -> bytes:
    raw: bytes = msgpack.packb([(item.bundle_id, item.size, item.crc) for item in items])
    return raw


def decode_inventory(raw: bytes | bytearray) -> list[InventoryItem]:
    """Return the page; raise FormatInvalid for anything else."""
    items = []
    for row in _rows(raw, 3):
        bundle_id, size, crc = row
        if not (_is_id(bundle_id) and _is_number(size, 2**63) and _is_number(crc, _U32_MAX)):
            raise FormatInvalid("not an inventory")
        items.append(InventoryItem(BundleId(bundle_id), size, crc))
    return items


def encode_drop(items: Sequence[DropItem]) -> bytes:
    raw: bytes = msgpack.packb([(item.bundle_id, item.numbers) for item in items])
    return raw


def decode_drop(raw: bytes | bytearray) -> list[DropItem]:
    """Return what is to be dropped; raise FormatInvalid for anything else."""
    items = []
    for bundle_id, numbers in _rows(raw, 2):
        if not (_is_id(bundle_id) and type(numbers) is tuple):
            raise FormatInvalid("not a list of chunks to drop")
        if not all(_is_number(number, _U32_MAX) for number in numbers):
            raise FormatInvalid("a chunk's number is no number")
        items.append(DropItem(BundleId(bundle_id), numbers))
    return items


def _rows(raw: bytes | bytearray, width: int) -> tuple[tuple[Any, ...], ...]:
    if len(raw) > MESSAGE_BYTES_MAX:
        raise FormatInvalid("a message of that size was never ours")
    items_max = min(INVENTORY_PAGE_MAX, len(raw))
    try:
        rows = msgpack.unpackb(
            raw, use_list=False, max_array_len=items_max, max_map_len=0, max_ext_len=0
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise FormatInvalid("not msgpack, cut off, or too large") from error
    if type(rows) is not tuple or not all(type(r) is tuple and len(r) == width for r in rows):
        raise FormatInvalid("not a list of rows")
    return rows


def _is_id(value: object) -> bool:
    return type(value) is bytes and len(value) == ID_SIZE_BYTES


def _is_number(value: object, largest: int) -> bool:
    return type(value) is int and 0 <= value <= largest
