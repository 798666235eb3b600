"""The map in memory follows its topic and never expires."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from fileflux.core.clock import ManualClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.model import SizeClass, StorageClass
from fileflux.events.codec import encode_events
from fileflux.events.memory import MemoryBroker
from fileflux.events.schema import ClassSets, MappedNode, PlacementDecided, ReplicaSet
from fileflux.events.topics import PLACEMENT_MAP
from fileflux.placement.map_view import LOOK_BACK_RECORDS, MapView

STANDARD = StorageClass("STANDARD", 1, 1)
BUNDLE = BundleId(bytes(16))


def decided(epoch: int, *, at_us: int = 0, nodes: int = 1) -> PlacementDecided:
    names = [NodeId(f"n{epoch}-{number}") for number in range(nodes)]
    sets = tuple(ReplicaSet((name,), "why") for name in names)
    mapped = tuple(MappedNode(n, f"http://{n}", "", "alive", 1.0, 1) for n in names)
    classes = (ClassSets("STANDARD", 1, 1, sets, sets),)
    return PlacementDecided(epoch=epoch, at_us=at_us, nodes=mapped, classes=classes)


class World:
    def __init__(self) -> None:
        self.clock = ManualClock(now_us=1_000_000_000)
        self.broker = MemoryBroker(clock=self.clock)
        self.view = MapView(self.broker, clock=self.clock)

    async def publish(self, *maps: PlacementDecided | bytes) -> None:
        publisher = await self.broker.safe_publisher()
        for made in maps:
            value = made if isinstance(made, bytes) else encode_events([made])
            await publisher.publish(PLACEMENT_MAP, value, partition=0)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.view.close()


async def test_the_last_map_of_the_topic_is_there_after_the_start(world: World) -> None:
    await world.publish(*[decided(epoch) for epoch in range(1, 100)])
    await world.view.start()

    assert await world.view.wait_ready(timeout_s=5)
    await world.view.catch_up()
    assert world.view.current.epoch == 99
    assert world.view.node_url(NodeId("n99-0")) == "http://n99-0"
    choice = world.view.choose(BUNDLE, 0, STANDARD, SizeClass.SMALL)
    assert choice is not None
    assert (choice.nodes, choice.epoch) == (("n99-0",), 99)


async def test_a_new_map_replaces_the_old_one(world: World) -> None:
    await world.publish(decided(1))
    await world.view.start()
    await world.view.wait_ready(timeout_s=5)
    await world.publish(decided(2))

    await world.until(lambda: world.view.current.epoch == 2)


async def test_a_late_map_of_a_former_leader_is_ignored(world: World) -> None:
    await world.publish(decided(5), decided(4))
    await world.view.start()
    await world.view.catch_up()

    assert world.view.current.epoch == 5


async def test_the_highest_epoch_is_found_behind_late_maps(world: World) -> None:
    late = [decided(3) for _ in range(LOOK_BACK_RECORDS - 1)]
    await world.publish(decided(1), decided(7), *late)
    await world.view.start()
    await world.view.catch_up()

    assert world.view.current.epoch == 7


async def test_a_map_is_used_however_old_it_is(world: World) -> None:
    """Placement may be down for minutes, and uploads go on."""
    await world.publish(decided(1, at_us=1_000_000_000))
    await world.view.start()
    await world.view.wait_ready(timeout_s=5)
    world.broker.stop()
    world.clock.advance(86_400)

    assert world.view.staleness_s == pytest.approx(86_400)
    assert world.view.choose(BUNDLE, 0, STANDARD, SizeClass.SMALL) is not None


async def test_the_last_map_survives_a_wiped_topic_until_a_later_one_comes(world: World) -> None:
    await world.publish(decided(50, at_us=1_000_000_000))
    await world.view.start()
    await world.view.wait_ready(timeout_s=5)
    world.broker.wipe()
    assert world.view.current.epoch == 50
    await world.publish(decided(1, at_us=1_100_000_000))

    await world.until(lambda: world.view.current.epoch == 1)


async def test_before_the_first_map_nobody_is_chosen(world: World) -> None:
    await world.view.start()

    assert not await world.view.wait_ready(timeout_s=0.01)
    assert world.view.choose(BUNDLE, 0, STANDARD, SizeClass.SMALL) is None


async def test_an_empty_map_makes_nobody_ready(world: World) -> None:
    await world.publish(decided(1, nodes=0))
    await world.view.start()
    await world.view.catch_up()

    assert not await world.view.wait_ready(timeout_s=0.01)
    assert world.view.current.epoch == 1


async def test_a_record_that_cannot_be_read_is_passed_over(world: World) -> None:
    await world.publish(decided(1), b"\x01poison", b"", decided(2))
    await world.view.start()
    await world.view.catch_up()

    assert world.view.current.epoch == 2


async def test_catching_up_says_when_the_broker_is_down(world: World) -> None:
    await world.view.start()
    world.broker.stop()

    with pytest.raises(BrokerUnavailable):
        await world.view.catch_up()


async def test_time_without_a_map_is_measured(world: World) -> None:
    await world.publish(decided(1))
    await world.view.start()
    await world.view.catch_up()
    world.clock.advance(100)
    assert world.view.unread_s == pytest.approx(100)
    await world.publish(decided(1))

    await world.until(lambda: world.view.unread_s < 1)
