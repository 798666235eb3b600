"""Heartbeats and operators' intent become states: alive, suspect, lost, draining."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.ids import NodeId
from fileflux.core.model import GIB, MIB
from fileflux.events.schema import MappedNode, NodeHeartbeat, PlacementDecided
from fileflux.placement.membership import FORGET_AFTER_S, NODES_MAX, Intents, Membership, NodeView

A, B = NodeId("a"), NodeId("b")
NONE: Intents = {}


def heartbeat(node_id: NodeId = A, **changes: object) -> NodeHeartbeat:
    made = NodeHeartbeat(
        node_id=node_id,
        epoch=1,
        at_us=0,
        url=f"http://{node_id}",
        domain=f"rack/{node_id}",
        total_bytes=100 * GIB,
        free_bytes=60 * GIB,
        reserve_bytes=10 * GIB,
        health="ONLINE",
        read_only=False,
        load=0,
        software="1",
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # As given.


class Cluster:
    """A membership, and a second node B that keeps the stream going."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.members = Membership(now_s=self.now_s)

    def hear(self, node_id: NodeId = A, **changes: object) -> bool:
        return self.members.hear(heartbeat(node_id, **changes), self.now_s)

    def pass_s(self, seconds: float, *speaking: NodeId) -> None:
        """Let time pass in steps of a second; these nodes send their heartbeats meanwhile."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + 1.0)
            for node_id in speaking:
                self.hear(node_id)

    def view(self, node_id: NodeId = A, intents: Intents = NONE) -> NodeView:
        nodes = {node.node_id: node for node in self.members.nodes(self.now_s, intents)}
        return nodes[node_id]

    def states(self, intents: Intents = NONE) -> dict[NodeId, str]:
        return {node.node_id: node.state for node in self.members.nodes(self.now_s, intents)}


@pytest.mark.parametrize(
    ("silent_s", "state"),
    [(0, "alive"), (2.9, "alive"), (3, "suspect"), (29, "suspect"), (30, "lost"), (3_600, "lost")],
)
def test_a_silent_node_is_suspect_then_lost(silent_s: float, state: str) -> None:
    cluster = Cluster()
    cluster.hear(A)
    cluster.pass_s(silent_s, B)

    assert cluster.view(A).state == state
    assert cluster.view(A).problem == ("" if state == "alive" else state)


def test_a_node_that_speaks_again_is_alive_again() -> None:
    cluster = Cluster()
    cluster.hear(A)
    cluster.pass_s(60, B)
    cluster.hear(A)

    assert cluster.states() == {A: "alive", B: "alive"}


def test_a_silent_stream_makes_no_node_suspect() -> None:
    """After a broker's outage of a minute nobody is to blame but the broker."""
    cluster = Cluster()
    for node_id in (A, B):
        cluster.hear(node_id)
    cluster.now_s += 60

    assert cluster.states() == {A: "alive", B: "alive"}
    cluster.hear(B)
    assert cluster.states() == {A: "alive", B: "alive"}
    cluster.pass_s(3, B)
    assert cluster.states() == {A: "suspect", B: "alive"}


def test_a_stream_with_nothing_but_echoes_still_tells_who_is_silent() -> None:
    cluster = Cluster()
    cluster.hear(A)
    for _ in range(20):
        cluster.now_s += 2
        cluster.members.note_stream(cluster.now_s)

    assert cluster.states() == {A: "lost"}


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 50)), min_size=1, max_size=20))
def test_an_epoch_that_goes_backwards_is_ignored(beats: list[tuple[int, int]]) -> None:
    cluster = Cluster()
    highest, load = 0, 0
    for epoch, free_gib in beats:
        counts = cluster.hear(A, epoch=epoch, free_bytes=(10 + free_gib) * GIB)
        assert counts == (epoch >= highest)
        if counts:
            highest, load = epoch, free_gib

    assert cluster.view(A).free_bytes == load * GIB


def test_free_space_is_what_lies_above_the_reserve() -> None:
    cluster = Cluster()
    cluster.hear(A, free_bytes=5 * GIB, reserve_bytes=10 * GIB)

    assert cluster.view(A).free_bytes == 0
    assert cluster.view(A).problem == "full"


def test_a_full_node_is_used_again_only_when_there_is_room() -> None:
    """At the limit itself it would be full and not full every second."""
    cluster = Cluster()
    problems = []
    for free_mib in (100, 63, 100, 127, 128, 100):
        cluster.hear(A, free_bytes=free_mib * MIB, reserve_bytes=0)
        problems.append(cluster.view(A).problem)

    assert problems == ["", "full", "full", "full", "", ""]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"health": "FAULTED"}, "its pool is FAULTED"),
        ({"health": "UNAVAIL"}, "its pool is UNAVAIL"),
        ({"health": "DEGRADED"}, ""),
        ({"read_only": True}, "read-only"),
    ],
)
def test_a_node_that_cannot_write_gets_nothing(changes: dict[str, object], problem: str) -> None:
    cluster = Cluster()
    cluster.hear(A, **changes)

    assert (cluster.view(A).state, cluster.view(A).problem) == ("alive", problem)


def test_a_degraded_pool_gets_half() -> None:
    cluster = Cluster()
    cluster.hear(A, health="DEGRADED")

    assert cluster.view(A, {A: ("active", 3.0)}).weight == 1.5


def test_what_operators_want_decides_over_a_healthy_node() -> None:
    cluster = Cluster()
    cluster.hear(A)

    drained = cluster.view(A, {A: ("drain", 1.0)})
    assert (drained.state, drained.problem) == ("draining", "draining")
    assert cluster.view(A, {A: ("active", 0.0)}).problem == "of weight 0"
    assert cluster.view(A, {A: ("active", 2.0)}).weight == 2.0


def test_a_removed_node_is_forgotten_once_it_is_gone() -> None:
    cluster = Cluster()
    cluster.hear(A)
    removed = {A: ("remove", 1.0)}
    cluster.pass_s(5, B)
    assert cluster.states(removed)[A] == "suspect"
    cluster.pass_s(30, B)

    assert cluster.states(removed) == {B: "alive"}


def test_a_removed_node_that_still_speaks_is_shown_as_draining() -> None:
    """Its bundles can still be read from there."""
    cluster = Cluster()
    cluster.hear(A)

    assert cluster.states({A: ("remove", 1.0)}) == {A: "draining"}


def test_a_lost_node_is_forgotten_after_a_week() -> None:
    cluster = Cluster()
    cluster.hear(A)
    for _ in range(int(FORGET_AFTER_S) + 2):
        cluster.now_s += 1
        cluster.members.note_stream(cluster.now_s)

    assert cluster.states() == {}


def test_what_was_sent_before_we_listened_says_what_a_node_is_not_that_it_lives() -> None:
    cluster = Cluster()
    cluster.members.hear(heartbeat(A), cluster.now_s, is_history=True)
    assert cluster.states() == {A: "suspect"}
    cluster.hear(A)

    assert cluster.states() == {A: "alive"}


def test_a_new_leader_keeps_the_nodes_of_the_last_map() -> None:
    cluster = Cluster()
    nodes = (
        MappedNode(A, "http://a", "rack/a", "alive", 1.0, 50 * GIB),
        MappedNode(B, "http://b", "rack/b", "lost", 1.0, 50 * GIB),
    )
    cluster.members.seed(PlacementDecided(epoch=9, at_us=0, nodes=nodes, classes=()))

    assert cluster.states() == {A: "alive", B: "lost"}
    assert cluster.view(A).url == "http://a"
    cluster.hear(B)
    cluster.pass_s(3, B)
    assert cluster.states() == {A: "suspect", B: "alive"}


def test_a_map_says_nothing_about_a_node_that_was_heard() -> None:
    cluster = Cluster()
    cluster.hear(A, url="http://moved", epoch=7)
    nodes = (MappedNode(A, "http://a", "rack/a", "lost", 1.0, 0),)
    cluster.members.seed(PlacementDecided(epoch=9, at_us=0, nodes=nodes, classes=()))

    assert (cluster.view(A).url, cluster.view(A).state) == ("http://moved", "alive")
    assert not cluster.hear(A, epoch=6)


def test_more_than_a_hundred_nodes_may_speak_every_three_seconds() -> None:
    cluster = Cluster()
    many = [NodeId(f"n{number}") for number in range(101)]
    for node_id in many:
        cluster.hear(node_id)
    cluster.pass_s(8, many[0])

    assert set(cluster.states().values()) == {"alive"}
    cluster.pass_s(1, many[0])
    assert cluster.states()[many[1]] == "suspect"


def test_no_more_nodes_are_kept_than_the_limit() -> None:
    cluster = Cluster()
    for number in range(NODES_MAX):
        assert cluster.hear(NodeId(str(number)))

    assert not cluster.hear(NodeId("one more"))
    assert cluster.hear(NodeId("0"))


def test_load_is_smoothed() -> None:
    cluster = Cluster()
    cluster.hear(A, load=0)
    cluster.hear(A, load=100)

    assert cluster.view(A).load == pytest.approx(20)
