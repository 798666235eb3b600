"""Inventories and drops: read as they were written, anything else refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.errors import FormatInvalid
from fileflux.core.node_messages import (
    MESSAGE_BYTES_MAX,
    DropItem,
    InventoryItem,
    decode_drop,
    decode_inventory,
    encode_drop,
    encode_inventory,
)

ids = st.binary(min_size=16, max_size=16)
u32 = st.integers(0, 2**32 - 1)


@given(st.lists(st.builds(InventoryItem, ids, st.integers(0, 2**40), u32), max_size=20))
def test_an_inventory_is_read_as_it_was_written(items: list[InventoryItem]) -> None:
    assert decode_inventory(encode_inventory(items)) == items


@given(st.lists(st.builds(DropItem, ids, st.lists(u32, max_size=5).map(tuple)), max_size=20))
def test_a_drop_is_read_as_it_was_written(items: list[DropItem]) -> None:
    assert decode_drop(encode_drop(items)) == items


@given(st.binary(max_size=100))
def test_random_bytes_are_refused_or_an_empty_list(raw: bytes) -> None:
    for decode in (decode_inventory, decode_drop):
        try:
            assert decode(raw) == []
        except FormatInvalid:
            continue


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x91\xa1x",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        encode_inventory([InventoryItem(b"short", 1, 2)]),  # type: ignore[arg-type]
        encode_inventory([InventoryItem(b"i" * 16, -1, 2)]),  # type: ignore[arg-type]
        encode_inventory([InventoryItem(b"i" * 16, 1, 2**40)]),  # type: ignore[arg-type]
        encode_inventory([InventoryItem(b"i" * 16, True, 2)]),  # type: ignore[arg-type]
        bytes(MESSAGE_BYTES_MAX + 1),
    ],
)
def test_what_is_no_inventory_is_refused(raw: bytes) -> None:
    with pytest.raises(FormatInvalid):
        decode_inventory(raw)


@pytest.mark.parametrize(
    "item",
    [
        DropItem(b"short", (1,)),  # type: ignore[arg-type]
        DropItem(b"i" * 16, (-1,)),  # type: ignore[arg-type]
        DropItem(b"i" * 16, ("a",)),  # type: ignore[arg-type]
        DropItem(b"i" * 16, 5),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_drop_is_refused(item: DropItem) -> None:
    with pytest.raises(FormatInvalid):
        decode_drop(encode_drop([item]))
