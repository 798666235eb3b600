"""The leading worker, on a broker in memory and without Faust: `deliver` stands in for it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fileflux.core.clock import ManualClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.core.ids import NodeId
from fileflux.core.model import GIB, StorageClass
from fileflux.events.codec import decode_events, encode_events
from fileflux.events.memory import MemoryBroker, MemoryFaults
from fileflux.events.schema import NodeHeartbeat, PlacementDecided, StreamEchoed
from fileflux.events.topics import NODES_HEARTBEATS, PLACEMENT_MAP
from fileflux.placement.intents import IntentWatch, MemoryIntents
from fileflux.placement.leader import ECHO_LATE_S, NOBODY_FILLS_S, NOBODY_LEADS_S, Leader
from fileflux.placement.map_view import MapView

CLASSES = {"STANDARD": StorageClass("STANDARD", 3, 2)}


class Worker:
    """A placement process without Faust."""

    def __init__(self, name: str, broker: MemoryBroker, clock: ManualClock) -> None:
        self.name = name
        self.broker = broker
        self.clock = clock
        self.intents = MemoryIntents()
        self.watch = IntentWatch(self.intents, interval_s=5, clock=clock)
        self.view = MapView(broker, clock=clock)
        self.read_from = 0

    async def start(self) -> None:
        await self.view.start()
        self.leader = Leader(
            name=self.name,
            classes=CLASSES,
            publisher=await self.broker.safe_publisher(),
            view=self.view,
            intents=self.watch,
            clock=self.clock,
        )

    def deliver(self) -> None:
        """What Faust does: give the leader what is new on the topic."""
        records = self.broker.records(NODES_HEARTBEATS)[self.read_from :]
        self.read_from += len(records)
        self.leader.take([record.value for record in records])

    async def steps(self, seconds: float, *, nodes: int) -> None:
        for _ in range(round(seconds / 0.25)):
            self.clock.advance(0.25)
            if self.clock.monotonic_s() % 1 == 0:
                await speak(self.broker, nodes)
            if self.leader.is_leading:
                self.deliver()
            await self.leader.step()


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(clock=self.clock)
        self.workers: list[Worker] = []

    async def worker(self, name: str) -> Worker:
        made = Worker(name, self.broker, self.clock)
        await made.start()
        self.workers.append(made)
        return made

    def maps(self) -> list[PlacementDecided]:
        events = [e for r in self.broker.records(PLACEMENT_MAP) for e in decode_events(r.value)]
        return [event for event in events if isinstance(event, PlacementDecided)]

    def echoes(self) -> list[StreamEchoed]:
        events = [e for r in self.broker.records(NODES_HEARTBEATS) for e in decode_events(r.value)]
        return [event for event in events if isinstance(event, StreamEchoed)]


async def haunt(broker: MemoryBroker, *epochs: int) -> None:
    """Publish maps without nodes, as a former leader that does not know better."""
    publisher = await broker.safe_publisher()
    for epoch in epochs:
        made = PlacementDecided(epoch=epoch, at_us=1, nodes=(), classes=())
        await publisher.publish(PLACEMENT_MAP, encode_events([made]), partition=0)


async def speak(broker: MemoryBroker, nodes: int) -> None:
    publisher = await broker.fast_publisher()
    for number in range(nodes):
        beat = NodeHeartbeat(
            node_id=NodeId(f"n{number}"),
            epoch=1,
            at_us=0,
            url=f"http://n{number}",
            domain=f"rack-{number}",
            total_bytes=1_000 * GIB,
            free_bytes=500 * GIB,
            reserve_bytes=0,
            health="ONLINE",
            read_only=False,
            load=0,
            software="1",
        )
        await publisher.publish(NODES_HEARTBEATS, encode_events([beat]), partition=0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    for worker in made.workers:
        await worker.view.close()


async def test_heartbeats_become_a_map(world: World) -> None:
    worker = await world.worker("w1")
    worker.leader.assigned(leads=True)
    await worker.steps(4, nodes=3)

    (made, *_) = world.maps()
    assert made.epoch == 1
    assert [node.node_id for node in world.maps()[-1].nodes] == ["n0", "n1", "n2"]
    assert len(world.maps()[-1].classes[0].small) == 16


async def test_a_stand_by_publishes_nothing(world: World) -> None:
    worker = await world.worker("w1")
    await worker.steps(10, nodes=3)

    assert (world.maps(), world.echoes()) == ([], [])


async def test_a_leader_says_nothing_before_it_heard_its_own_echo(world: World) -> None:
    """What was sent before it led may be minutes old: it is not news."""
    worker = await world.worker("w1")
    await speak(world.broker, 3)
    worker.leader.assigned(leads=True)
    world.clock.advance(2)
    await worker.leader.step()
    await worker.leader.step()
    assert world.maps() == []

    worker.deliver()
    await worker.leader.step()
    assert [(n.node_id, n.state) for n in world.maps()[0].nodes] == [
        ("n0", "suspect"),
        ("n1", "suspect"),
        ("n2", "suspect"),
    ]


async def test_a_second_worker_takes_over_with_higher_epochs_and_the_same_nodes(
    world: World,
) -> None:
    first, second = await world.worker("w1"), await world.worker("w2")
    first.leader.assigned(leads=True)
    await first.steps(5, nodes=3)
    last = world.maps()[-1]
    second.read_from = len(world.broker.records(NODES_HEARTBEATS))
    second.leader.assigned(leads=True)
    await second.steps(1, nodes=0)

    taken_over = world.maps()[-1]
    assert taken_over.epoch == last.epoch + 1
    assert [(n.node_id, n.state) for n in taken_over.nodes] == [
        ("n0", "alive"),
        ("n1", "alive"),
        ("n2", "alive"),
    ]


async def test_a_worker_that_lost_the_partition_is_quiet(world: World) -> None:
    worker = await world.worker("w1")
    worker.leader.assigned(leads=True)
    await worker.steps(5, nodes=3)
    count = len(world.maps())
    worker.leader.assigned(leads=False)
    await worker.steps(60, nodes=3)

    assert len(world.maps()) == count


async def test_a_former_leaders_map_is_replaced_within_seconds(world: World) -> None:
    """It was asleep, woke up and published: readers keep the higher epoch, which was its own."""
    worker = await world.worker("w1")
    worker.leader.assigned(leads=True)
    await worker.steps(5, nodes=3)
    await haunt(world.broker, *range(2, 9))
    await worker.view.catch_up()
    assert worker.view.current.epoch == 8
    await worker.steps(5, nodes=3)
    await worker.view.catch_up()

    assert [node.state for node in worker.view.current.nodes] == ["alive"] * 3
    assert worker.view.current.epoch == 9


async def test_a_leader_that_slept_says_nothing_before_it_heard_its_own_echo_again(
    world: World,
) -> None:
    first, second = await world.worker("w1"), await world.worker("w2")
    first.leader.assigned(leads=True)
    await first.steps(5, nodes=3)
    second.leader.assigned(leads=True)
    await second.steps(5, nodes=3)
    await first.view.catch_up()
    count = len(world.maps())
    for _ in range(100):
        world.clock.advance(1)
        await first.leader.step()

    assert len(world.maps()) == count
    assert "Faust" in str(first.leader.problem())


async def test_a_leader_that_was_revoked_while_it_read_the_last_map_reads_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever led in between may have published above what it read."""
    worker = await world.worker("w1")
    await haunt(world.broker, 10)
    read, real = asyncio.Event(), worker.view.catch_up

    async def slow_catch_up() -> None:
        await real()
        await read.wait()

    monkeypatch.setattr(worker.view, "catch_up", slow_catch_up)
    worker.leader.assigned(leads=True)
    taking_over = asyncio.create_task(worker.leader.step())
    while worker.view.current.epoch != 10:
        await asyncio.sleep(0)
    worker.leader.assigned(leads=False)
    worker.leader.assigned(leads=True)
    read.set()
    await taking_over
    assert world.echoes() == [], "it does not lead before it read the last map"
    await haunt(world.broker, 20)
    await worker.steps(4, nodes=3)

    ours = [made.epoch for made in world.maps() if made.nodes]
    assert ours[0] == 21


async def test_a_leader_that_was_revoked_while_it_read_the_last_map_stands_by(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await world.worker("w1")
    read = asyncio.Event()
    monkeypatch.setattr(worker.view, "catch_up", read.wait)
    worker.leader.assigned(leads=True)
    taking_over = asyncio.create_task(worker.leader.step())
    await asyncio.sleep(0)
    worker.leader.assigned(leads=False)
    read.set()
    await taking_over
    await worker.steps(40, nodes=3)

    assert (world.maps(), world.echoes()) == ([], [])


async def test_poison_among_heartbeats_is_dropped(world: World) -> None:
    worker = await world.worker("w1")
    worker.leader.assigned(leads=True)
    worker.leader.take([b"", b"\x01poison", b"\xff" * 100])
    await worker.steps(4, nodes=3)

    assert len(world.maps()[-1].nodes) == 3


async def test_a_brokers_outage_is_waited_for_and_makes_nobody_suspect(world: World) -> None:
    worker = await world.worker("w1")
    worker.leader.assigned(leads=True)
    await worker.steps(5, nodes=3)
    world.broker.stop()
    world.clock.advance(40)
    with pytest.raises(BrokerUnavailable):
        await worker.leader.step()
    assert worker.leader.problem() is None
    world.broker.start()
    world.clock.advance(2)
    await worker.leader.step()
    worker.deliver()
    await worker.leader.step()

    assert {node.state for node in world.maps()[-1].nodes} == {"alive"}


async def test_an_echo_that_stays_away_says_that_faust_is_stuck(world: World) -> None:
    worker = await world.worker("w1")
    worker.leader.assigned(leads=True)
    await worker.steps(5, nodes=3)
    assert worker.leader.problem() is None
    for _ in range(20):
        world.clock.advance(1)
        await worker.leader.step()

    problem = worker.leader.problem()
    assert problem is not None
    assert "Faust" in problem
    worker.deliver()
    assert worker.leader.problem() is None


async def test_an_echo_that_the_broker_did_not_take_is_no_fault_of_faust(world: World) -> None:
    worker = await world.worker("w1")
    worker.leader.assigned(leads=True)
    await worker.steps(5, nodes=3)
    world.broker.faults = MemoryFaults(refuse=1.0)
    for _ in range(30):
        world.clock.advance(ECHO_LATE_S / 10)
        with pytest.raises(BrokerUnavailable):
            await worker.leader.step()
        world.clock.advance(1)

    assert worker.leader.problem() is None


async def test_a_stand_by_says_when_nobody_leads(world: World) -> None:
    worker = await world.worker("w1")
    world.clock.advance(NOBODY_LEADS_S - 1)
    assert worker.leader.problem() is None
    world.clock.advance(2)

    assert "nobody leads" in str(worker.leader.problem())


async def test_a_wiped_map_is_published_again_within_seconds(world: World) -> None:
    worker = await world.worker("w1")
    worker.leader.assigned(leads=True)
    await worker.steps(5, nodes=3)
    world.broker.wipe(PLACEMENT_MAP)
    assert not world.maps()
    await worker.steps(4, nodes=3)

    assert len(world.maps()[-1].nodes) == 3


async def test_a_stand_by_says_soon_that_nobody_fills_a_wiped_topic(world: World) -> None:
    leader, stand_by = await world.worker("w1"), await world.worker("w2")
    leader.leader.assigned(leads=True)
    await leader.steps(5, nodes=3)
    await stand_by.view.catch_up()
    world.broker.wipe(PLACEMENT_MAP)
    await stand_by.steps(NOBODY_FILLS_S - 1, nodes=3)
    assert stand_by.leader.problem() is None
    await stand_by.steps(4, nodes=3)
    assert "wiped" in str(stand_by.leader.problem())
    await leader.steps(3, nodes=3)
    await stand_by.steps(3, nodes=3)

    assert stand_by.leader.problem() is None


async def _away() -> bool:
    raise BrokerUnavailable("away")


async def test_a_stand_by_does_not_count_the_time_in_which_the_broker_tells_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that comes back empty may go away again: a restart would not bring it back."""
    leader, stand_by = await world.worker("w1"), await world.worker("w2")
    leader.leader.assigned(leads=True)
    await leader.steps(5, nodes=3)
    await stand_by.view.catch_up()
    world.broker.wipe(PLACEMENT_MAP)
    await stand_by.steps(4, nodes=3)
    with monkeypatch.context() as away:
        away.setattr(stand_by.view, "was_wiped", _away)
        await stand_by.steps(NOBODY_FILLS_S * 2, nodes=3)
        assert stand_by.leader.problem() is None
    await stand_by.steps(NOBODY_FILLS_S - 1, nodes=3)
    assert stand_by.leader.problem() is None
    await stand_by.steps(4, nodes=3)
    assert "wiped" in str(stand_by.leader.problem())


async def test_a_stand_by_on_a_new_cluster_waits_for_the_first_map(world: World) -> None:
    worker = await world.worker("w1")
    await worker.steps(NOBODY_FILLS_S * 2, nodes=3)

    assert worker.leader.problem() is None


async def test_who_drained_in_the_last_map_drains_while_the_database_is_down(
    world: World,
) -> None:
    first, second = await world.worker("w1"), await world.worker("w2")
    first.intents.rows[NodeId("n0")] = ("drain", 1.0)
    await first.watch.refresh()
    first.leader.assigned(leads=True)
    await first.steps(5, nodes=4)
    second.leader.assigned(leads=True)
    await second.steps(5, nodes=4)

    assert world.maps()[-1].epoch > 1
    assert next(node.state for node in world.maps()[-1].nodes) == "draining"


async def test_the_intent_that_was_read_last_stays_while_it_cannot_be_read(world: World) -> None:
    class Down(MemoryIntents):
        async def node_intents(self) -> dict[NodeId, tuple[str, float]]:
            raise ConnectionRefusedError

    worker = await world.worker("w1")
    worker.intents.rows[NodeId("n0")] = ("drain", 1.0)
    await worker.watch.refresh()
    worker.watch._intents = Down()
    await worker.watch.refresh()

    assert worker.watch.current == {NodeId("n0"): ("drain", 1.0)}
