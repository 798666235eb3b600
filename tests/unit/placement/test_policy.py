"""Replica sets: distinct, spread, deterministic, moved as little as possible, never unusable."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fileflux.core.ids import NodeId
from fileflux.core.model import GIB, StorageClass
from fileflux.placement.membership import ALIVE, NodeView
from fileflux.placement.policy import replica_sets

COUNT = 16
CLASSES = st.builds(
    lambda r, w: StorageClass("C", replicas=r, quorum=min(r, w)),
    st.integers(1, 5),
    st.integers(1, 5),
)
PROBLEMS = ("", "", "", "suspect", "lost", "draining", "full", "read-only")


def node(number: int, **changes: object) -> NodeView:
    made = NodeView(
        node_id=NodeId(f"node-{number:03}"),
        url=f"http://node-{number}",
        domain=f"site-{number % 2}/rack-{number % 4}/host-{number}",
        state=ALIVE,
        weight=1.0,
        free_bytes=100 * GIB,
        load=0.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # As given.


@st.composite
def clusters(draw: st.DrawFn) -> list[NodeView]:
    count = draw(st.integers(0, 12))
    return [
        node(
            number,
            domain="/".join(
                f"{level}-{draw(st.integers(0, 3))}"
                for level in ("site", "rack", "host")[: draw(st.integers(0, 3))]
            ),
            problem=draw(st.sampled_from(PROBLEMS)),
            weight=draw(st.sampled_from([0.5, 1.0, 2.0])),
            free_bytes=draw(st.integers(GIB, 10_000 * GIB)),
            load=draw(st.floats(0, 5_000)),
        )
        for number in range(count)
    ]


def usable_count(nodes: list[NodeView]) -> int:
    return sum(1 for one in nodes if not one.problem)


@given(clusters(), CLASSES)
def test_a_set_holds_distinct_usable_nodes_as_many_as_there_are_up_to_r(
    nodes: list[NodeView], storage_class: StorageClass
) -> None:
    usable = {one.node_id for one in nodes if not one.problem}
    sets = replica_sets(nodes, storage_class, COUNT, "seed")

    if len(usable) < storage_class.quorum:
        assert sets == ()
        return
    assert len(sets) == COUNT
    for made in sets:
        assert len(set(made.nodes)) == len(made.nodes)
        assert len(made.nodes) == min(storage_class.replicas, len(usable))
        assert set(made.nodes) <= usable
        assert made.reason


@given(clusters(), CLASSES)
def test_a_set_spreads_over_the_highest_level_that_has_enough_domains(
    nodes: list[NodeView], storage_class: StorageClass
) -> None:
    assume(usable_count(nodes) >= storage_class.replicas)
    paths = {n.node_id: [*filter(None, n.domain.split("/")), n.node_id] for n in nodes}
    usable = [n.node_id for n in nodes if not n.problem]
    level = next(
        depth
        for depth in range(1, 5)
        if len({tuple(paths[n][:depth]) for n in usable}) >= storage_class.replicas
    )

    for made in replica_sets(nodes, storage_class, COUNT, "seed"):
        assert len({tuple(paths[n][:level]) for n in made.nodes}) == storage_class.replicas


@given(clusters(), CLASSES, st.randoms())
def test_the_same_nodes_in_any_order_give_the_same_sets(
    nodes: list[NodeView], storage_class: StorageClass, random: object
) -> None:
    shuffled = list(nodes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # A random.Random.

    assert replica_sets(nodes, storage_class, COUNT, "s") == replica_sets(
        shuffled, storage_class, COUNT, "s"
    )


@settings(max_examples=200)
@given(st.integers(4, 12), st.integers(1, 3), st.data())
def test_a_node_that_goes_leaves_every_set_alone_that_it_was_not_in(
    count: int, replicas: int, data: st.DataObject
) -> None:
    """One domain per node, so that the level of the spread stays."""
    nodes = [node(number, domain="") for number in range(count)]
    storage_class = StorageClass("C", replicas, 1)
    gone = data.draw(st.sampled_from(nodes))
    before = replica_sets(nodes, storage_class, COUNT, "seed")
    after = replica_sets([n for n in nodes if n is not gone], storage_class, COUNT, "seed")

    for old, new in zip(before, after, strict=True):
        kept = [n for n in old.nodes if n != gone.node_id]
        assert list(new.nodes)[: len(kept)] == kept
        assert len(set(new.nodes) - set(old.nodes)) == len(old.nodes) - len(kept)


@settings(max_examples=200)
@given(st.integers(2, 4), st.integers(2, 8), st.integers(1, 2), st.data())
def test_a_node_that_comes_displaces_at_most_one_node_of_a_set(
    racks: int, count: int, replicas: int, data: st.DataObject
) -> None:
    assume(replicas <= min(racks, count))
    nodes = [node(number, domain=f"rack-{number % racks}") for number in range(count)]
    newcomer = node(99, domain=f"rack-{data.draw(st.integers(0, racks - 1))}")
    storage_class = StorageClass("C", replicas, 1)
    assume(len({n.domain for n in nodes}) >= replicas)
    before = replica_sets(nodes, storage_class, COUNT, "seed")
    after = replica_sets([*nodes, newcomer], storage_class, COUNT, "seed")

    for old, new in zip(before, after, strict=True):
        assert set(new.nodes) - set(old.nodes) <= {newcomer.node_id}


def test_nodes_get_their_share_by_free_space() -> None:
    """A node with four times the room is asked about four times as often."""
    nodes = [node(n, domain="", free_bytes=GIB * (400 if n == 0 else 100)) for n in range(10)]
    sets = replica_sets(nodes, StorageClass("C", 1, 1), 4_000, "seed")
    counts = Counter(made.nodes[0] for made in sets)

    large = counts[NodeId("node-000")]
    rest = [count for node_id, count in counts.items() if node_id != "node-000"]
    assert 3.0 < large / (sum(rest) / len(rest)) < 5.0
    assert max(rest) / min(rest) < 1.5


def test_a_loaded_node_gets_less() -> None:
    nodes = [node(n, domain="", load=2_000.0 if n == 0 else 0.0) for n in range(4)]
    sets = replica_sets(nodes, StorageClass("C", 1, 1), 2_000, "seed")
    counts = Counter(made.nodes[0] for made in sets)

    assert counts[NodeId("node-000")] < 0.3 * counts[NodeId("node-001")]


def test_a_little_less_free_space_moves_nothing() -> None:
    nodes = [node(n, free_bytes=100 * GIB) for n in range(8)]
    fuller = [replace(one, free_bytes=99 * GIB) for one in nodes]
    storage_class = StorageClass("C", 3, 2)

    assert replica_sets(nodes, storage_class, 256, "s") == replica_sets(
        fuller, storage_class, 256, "s"
    )


def test_classes_and_sizes_do_not_share_their_sets() -> None:
    nodes = [node(n) for n in range(12)]
    storage_class = StorageClass("C", 3, 2)

    assert replica_sets(nodes, storage_class, COUNT, "a/small") != replica_sets(
        nodes, storage_class, COUNT, "a/large"
    )


def test_two_sites_are_not_enough_for_three_replicas_so_racks_are() -> None:
    nodes = [node(n) for n in range(8)]
    (made, *_) = replica_sets(nodes, StorageClass("C", 3, 2), 1, "seed")

    assert "4 domains like site-" in made.reason
    assert "/rack-" in made.reason


def test_fewer_nodes_than_replicas_are_used_and_said() -> None:
    nodes = [node(0), node(1), node(2, problem="suspect"), node(3, problem="full")]
    sets = replica_sets(nodes, StorageClass("C", 3, 2), 2, "seed")

    assert sets[0].nodes == ("node-000", "node-001")
    assert sets[0].reason == ("only 2 of 3 nodes usable: node-002 is suspect, node-003 is full")


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_nodes_than_the_quorum_give_no_set(count: int) -> None:
    assert replica_sets([node(n) for n in range(count)], StorageClass("C", 3, 2), 4, "s") == ()
