"""When a map goes out: on change, once a second at most, again every 30 s; epochs only rise."""

import itertools

from fileflux.core.ids import NodeId
from fileflux.core.model import GIB, StorageClass
from fileflux.events.schema import NodeHeartbeat, PlacementDecided
from fileflux.placement.map_maker import MapMaker
from fileflux.placement.membership import Intents, Membership

CLASSES = {"STANDARD": StorageClass("STANDARD", 3, 2), "SINGLE": StorageClass("SINGLE", 1, 1)}


class Placement:
    """A leader without a broker: what it publishes is kept in `maps`."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.intents: Intents = {}
        self.membership = Membership(now_s=self.now_s)
        self.maker = MapMaker(CLASSES, self.membership)
        self.maker.take_over(None, now_s=self.now_s)
        self.maps: list[PlacementDecided] = []

    def pass_s(self, seconds: float, nodes: int, *, free_gib: int = 100) -> list[PlacementDecided]:
        """Let time pass while `nodes` nodes speak every second; return the maps it brought."""
        before = len(self.maps)
        for _ in range(round(seconds / 0.25)):
            self.now_s += 0.25
            if self.now_s % 1 == 0:
                self.speak(nodes, free_gib)
            self.publish()
        return self.maps[before:]

    def speak(self, nodes: int, free_gib: int) -> None:
        self.membership.note_stream(self.now_s)
        for number in range(nodes):
            self.membership.hear(_heartbeat(number, free_gib), self.now_s)

    def publish(self) -> None:
        proposal = self.maker.due(
            now_s=self.now_s, now_us=int(self.now_s * 1e6), intents=self.intents
        )
        if proposal is not None:
            self.maps.append(proposal.decided)
            self.maker.published(proposal, now_s=self.now_s)


def _heartbeat(number: int, free_gib: int) -> NodeHeartbeat:
    return NodeHeartbeat(
        node_id=NodeId(f"n{number}"),
        epoch=1,
        at_us=0,
        url=f"http://n{number}",
        domain=f"rack-{number}",
        total_bytes=1_000 * GIB,
        free_bytes=free_gib * GIB,
        reserve_bytes=0,
        health="ONLINE",
        read_only=False,
        load=0,
        software="1",
    )


def test_a_map_goes_out_on_change_and_else_every_thirty_seconds() -> None:
    placement = Placement()
    first = placement.pass_s(5, nodes=3)
    quiet = placement.pass_s(61, nodes=3)
    grown = placement.pass_s(5, nodes=4)

    assert (len(first), len(quiet), len(grown)) == (1, 2, 1)
    assert [made.epoch for made in placement.maps] == [1, 2, 3, 4]
    assert len(grown[0].nodes) == 4


def test_a_map_goes_out_at_most_once_a_second() -> None:
    placement = Placement()
    times = []
    for round_number in range(40):
        placement.now_s += 0.25
        placement.speak(3 + round_number, 100)
        before = len(placement.maps)
        placement.publish()
        times += [placement.now_s] * (len(placement.maps) - before)

    assert len(times) == 10
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))


def test_free_space_that_shrinks_a_little_is_no_change() -> None:
    placement = Placement()
    placement.pass_s(3, nodes=3, free_gib=100)

    assert placement.pass_s(10, nodes=3, free_gib=99) == []
    assert len(placement.pass_s(10, nodes=3, free_gib=10)) == 1


def test_an_operators_wish_is_a_change() -> None:
    placement = Placement()
    placement.pass_s(3, nodes=4)
    placement.intents = {NodeId("n0"): ("drain", 1.0)}
    (made,) = placement.pass_s(3, nodes=4)

    assert made.nodes[0].state == "draining"
    for sets in made.classes:
        assert not [s for s in (*sets.small, *sets.large) if "n0" in s.nodes]


def test_a_map_holds_the_sets_of_every_class() -> None:
    placement = Placement()
    (made,) = placement.pass_s(3, nodes=3)

    standard, single = made.classes
    assert (standard.storage_class, standard.replicas, standard.quorum) == ("STANDARD", 3, 2)
    assert (len(standard.small), len(standard.large)) == (16, 256)
    assert {len(s.nodes) for s in standard.small} == {3}
    assert {len(s.nodes) for s in single.large} == {1}


def test_epochs_go_on_above_the_highest_that_was_read() -> None:
    former = Placement()
    last = former.pass_s(3, nodes=3)[-1]
    successor = Placement()
    successor.maker.take_over(
        PlacementDecided(epoch=41, at_us=0, nodes=last.nodes, classes=last.classes),
        now_s=successor.now_s,
    )
    (made, *_) = successor.pass_s(1, nodes=0)

    assert made.epoch == 42
    assert [node.node_id for node in made.nodes] == ["n0", "n1", "n2"]


def test_a_leader_that_leads_again_publishes_at_once() -> None:
    placement = Placement()
    placement.pass_s(5, nodes=3)
    placement.maker.take_over(placement.maps[-1], now_s=placement.now_s)

    assert [made.epoch for made in placement.pass_s(1, nodes=3)] == [2]


def test_a_map_that_the_broker_did_not_take_is_due_again() -> None:
    placement = Placement()
    placement.now_s += 1
    placement.speak(3, 100)
    dues = [placement.maker.due(now_s=placement.now_s + n, now_us=0, intents={}) for n in range(3)]

    assert [due.decided.epoch for due in dues if due is not None] == [1, 1, 1]


def test_without_any_node_an_empty_map_says_after_a_while_that_somebody_leads() -> None:
    placement = Placement()

    assert placement.pass_s(9, nodes=0) == []
    assert [made.nodes for made in placement.pass_s(3, nodes=0)] == [()]
