"""Ids and routing: services of different versions must agree on lanes, slots and sets."""

import random

import pytest

from fileflux.core.ids import (
    BundleId,
    Incarnation,
    NodeId,
    lane_of,
    new_id,
    parse_id,
    route_hash,
    set_index,
    slot_of,
)

SIXTEEN = bytes(range(16))


def test_the_routing_hash_has_fixed_test_vectors() -> None:
    assert route_hash(b"") == 0x786A02F742015903
    assert route_hash(SIXTEEN) == 0xBFBABBEF45554CCF
    assert route_hash(b"a", b"bc") == route_hash(b"abc") == 0xBA80A53F981C4D0D


def test_lane_slot_and_set_are_remainders_of_the_hash() -> None:
    assert lane_of(Incarnation(SIXTEEN), 4) == route_hash(SIXTEEN) % 4
    assert slot_of(NodeId("node-a"), 8) == route_hash(b"node-a") % 8
    assert set_index(BundleId(SIXTEEN), 1, 16) == route_hash(SIXTEEN + b"\0\0\0\1") % 16


def test_an_id_is_sixteen_bytes_and_thirty_two_digits() -> None:
    made = new_id(random.Random(1))

    assert parse_id(made.hex()) == made
    for wrong in ("", "00", "zz" * 16, made.hex() + "00"):
        with pytest.raises(ValueError, match=r"digit|hex"):
            parse_id(wrong)
