"""The map as readers use it: the choice of a set, look-ups, which map is kept."""

from collections import Counter

import pytest

from fileflux.core.ids import BundleId, NodeId, set_index
from fileflux.core.model import SizeClass, StorageClass
from fileflux.events.schema import ClassSets, MappedNode, PlacementDecided, ReplicaSet
from fileflux.placement.map import EMPTY_MAP, PlacementMap, newer

STANDARD = StorageClass("STANDARD", 3, 2)
NODES = tuple(
    MappedNode(NodeId(f"n{n}"), f"http://n{n}", "", "suspect" if n == 3 else "alive", 1.0, 1)
    for n in range(4)
)


def a_set(*numbers: int) -> ReplicaSet:
    return ReplicaSet(tuple(NodeId(f"n{n}") for n in numbers), "a reason")


def decided(epoch: int = 7, at_us: int = 0) -> PlacementDecided:
    small = (a_set(0, 1, 2), a_set(1, 2, 0), a_set(2, 0, 1))
    large = (a_set(0, 2, 1),)
    classes = (
        ClassSets("STANDARD", 3, 2, small, large),
        ClassSets("DOWN", 4, 4, (), ()),
    )
    return PlacementDecided(epoch=epoch, at_us=at_us, nodes=NODES, classes=classes)


MAP = PlacementMap(decided())


def bundle(number: int) -> BundleId:
    return BundleId(number.to_bytes(16, "big"))


def test_a_bundle_goes_to_the_set_that_its_hash_names() -> None:
    for number in range(20):
        for attempt in range(3):
            choice = MAP.choose(bundle(number), attempt, STANDARD, SizeClass.SMALL)
            assert choice is not None
            expected = set_index(bundle(number), attempt, 3)
            assert (choice.set_number, choice.epoch) == (expected, 7)
            assert choice.nodes == decided().classes[0].small[expected].nodes


def test_every_set_is_chosen_about_equally_often() -> None:
    numbers = Counter()  # type: Counter[int]
    for number in range(3_000):
        choice = MAP.choose(bundle(number), 0, STANDARD, SizeClass.SMALL)
        assert choice is not None
        numbers[choice.set_number] += 1

    assert min(numbers.values()) > 900


def test_large_bundles_have_sets_of_their_own() -> None:
    choice = MAP.choose(bundle(1), 0, STANDARD, SizeClass.LARGE)

    assert choice is not None
    assert (choice.nodes, choice.set_number) == (("n0", "n2", "n1"), 0)


def test_nodes_to_avoid_are_left_out() -> None:
    choice = MAP.choose(bundle(1), 0, STANDARD, SizeClass.LARGE, {NodeId("n2")})

    assert choice is not None
    assert choice.nodes == ("n0", "n1")
    everybody = [node.node_id for node in NODES]
    assert MAP.choose(bundle(1), 0, STANDARD, SizeClass.LARGE, everybody) is None


@pytest.mark.parametrize("name", ["DOWN", "UNKNOWN"])
def test_a_class_without_sets_gives_no_choice(name: str) -> None:
    assert MAP.choose(bundle(1), 0, StorageClass(name, 1, 1), SizeClass.SMALL) is None


def test_the_empty_map_chooses_nobody() -> None:
    assert EMPTY_MAP.choose(bundle(1), 0, STANDARD, SizeClass.SMALL) is None


def test_a_node_is_found_whatever_its_state() -> None:
    assert MAP.node_url(NodeId("n3")) == "http://n3"
    assert (MAP.is_alive(NodeId("n0")), MAP.is_alive(NodeId("n3"))) == (True, False)
    assert (MAP.node_url(NodeId("x")), MAP.is_alive(NodeId("x"))) == (None, False)


@pytest.mark.parametrize(
    ("epoch", "later_s", "is_kept"),
    [
        (8, 0, True),
        (8, -3_600, True),  # A leader with a slow clock is still the later leader.
        (7, 10, False),
        (6, 59, False),  # A former leader's late map.
        (6, 61, True),  # The topic was wiped: epochs began again.
        (7, 61, False),
    ],
)
def test_the_higher_epoch_is_kept_unless_the_topic_began_again(
    epoch: int, later_s: int, is_kept: bool
) -> None:
    now_us = 10_000_000_000
    current = PlacementMap(decided(7, now_us))
    candidate = decided(epoch, now_us + later_s * 1_000_000)

    assert (newer(current, candidate).decided is candidate) == is_kept
