"""The consume loop: order, retries, poison, drain."""

import asyncio
from collections.abc import Sequence

import pytest

from fileflux.core.clock import ManualClock
from fileflux.core.errors import BrokerUnavailable, LaneLost, MetadataBusy, PoisonLimitReached
from fileflux.core.ids import BundleId, NodeId, SealId
from fileflux.events.codec import encode_events
from fileflux.events.consume import Consumer, Delivery, Handler
from fileflux.events.dead_letter import DeadLetters, DlqLimit, read_dead_letter, replay
from fileflux.events.memory import MemoryBroker, MemoryFaults
from fileflux.events.schema import BundleRefused
from fileflux.events.topics import BUNDLES_COMMITTED, dead_letter_topic

TOPIC = BUNDLES_COMMITTED


class World:
    """A memory broker, and a consumer on partition 0 whose handler a test gives."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(clock=self.clock)
        self.handled: list[str] = []

    async def consumer(self, handle: Handler | None = None, *, limit: int = 20) -> Consumer:
        publisher = await self.broker.fast_publisher()
        return Consumer(
            await self.broker.source([(TOPIC, 0)]),
            handle or self.note,
            dead_letters=DeadLetters(publisher, clock=self.clock, limit=DlqLimit(limit)),
            clock=self.clock,
        )

    async def note(self, deliveries: Sequence[Delivery]) -> None:
        self.handled += names(deliveries)

    async def publish(self, *values: bytes | str) -> None:
        publisher = await self.broker.fast_publisher()
        for value in values:
            raw = value if isinstance(value, bytes) else encode_events([refused(value)])
            await publisher.publish(TOPIC, raw, partition=0, key=b"k", headers=[("h", b"v")])

    def dead(self) -> list[str]:
        return [read_dead_letter(r).cause for r in self.broker.records(dead_letter_topic(TOPIC))]


def refused(name: str) -> BundleRefused:
    ids = BundleId(b"b" * 16), SealId(b"s" * 16)
    return BundleRefused(bundle_id=ids[0], seal_id=ids[1], node_id=NodeId(name), reason="full")


def names(deliveries: Sequence[Delivery]) -> list[str]:
    return [str(getattr(event, "node_id", "")) for d in deliveries for event in d.events]


async def test_records_are_handled_in_order_as_one_batch() -> None:
    world = World()
    batches: list[list[str]] = []

    async def handle(deliveries: Sequence[Delivery]) -> None:
        batches.append(names(deliveries))

    await world.publish("a", "b", "c")
    consumer = await world.consumer(handle)

    assert await consumer.step() == 3
    assert batches == [["a", "b", "c"]]


async def test_what_cannot_be_decoded_is_set_aside_in_its_turn() -> None:
    world = World()
    await world.publish("a", b"\x01poison", "b")
    consumer = await world.consumer()

    await consumer.step()

    assert world.handled == ["a", "b"]
    (letter,) = map(read_dead_letter, world.broker.records(dead_letter_topic(TOPIC)))
    assert (letter.topic, letter.partition, letter.offset) == (TOPIC, 0, 1)
    assert (letter.key, letter.value, letter.headers) == (b"k", b"\x01poison", (("h", b"v"),))
    assert "decoded" in letter.cause


async def test_a_batch_with_poison_is_halved_until_the_poison_stands_alone() -> None:
    world = World()

    async def handle(deliveries: Sequence[Delivery]) -> None:
        if "poison" in names(deliveries):
            raise ZeroDivisionError
        await world.note(deliveries)

    await world.publish("a", "b", "poison", "c", "d", "e", "f")
    consumer = await world.consumer(handle)
    await consumer.step()

    assert world.handled == ["a", "b", "c", "d", "e", "f"]
    assert [cause for cause in world.dead() if "ZeroDivisionError" in cause] == world.dead() != []


async def test_a_passing_fault_is_waited_for_with_the_same_records() -> None:
    world = World()
    attempts: list[list[str]] = []

    async def handle(deliveries: Sequence[Delivery]) -> None:
        attempts.append(names(deliveries))
        if len(attempts) < 5:
            raise MetadataBusy("not now")

    await world.publish("a", "b")
    consumer = await world.consumer(handle)
    await consumer.step()

    assert attempts == [["a", "b"]] * 5
    assert world.dead() == []
    assert world.clock.monotonic_s() > 0.5


async def test_a_lost_lane_ends_the_loop() -> None:
    world = World()

    async def handle(_: Sequence[Delivery]) -> None:
        raise LaneLost("another owner")

    await world.publish("a")
    consumer = await world.consumer(handle)

    with pytest.raises(LaneLost):
        await consumer.run(asyncio.Event())
    assert world.dead() == []


async def test_too_much_poison_in_a_row_stops_the_consumer() -> None:
    """A bug that refuses everything must not empty the topic into the dead letters."""
    world = World()
    await world.publish("good", *[b"\x01poison"] * 4)
    consumer = await world.consumer(limit=3)

    with pytest.raises(PoisonLimitReached):
        await consumer.step()

    assert world.handled == ["good"]
    assert len(world.dead()) == 3


async def test_poison_between_good_records_never_reaches_the_limit() -> None:
    world = World()
    for _ in range(10):
        await world.publish(b"\x01poison", "good")
    consumer = await world.consumer(limit=2)

    await consumer.step()

    assert world.handled == ["good"] * 10
    assert len(world.dead()) == 10


async def test_a_dead_letter_that_cannot_be_published_is_tried_again() -> None:
    world = World()
    await world.publish(b"\x01poison")
    consumer = await world.consumer()
    world.broker.faults = MemoryFaults(refuse=0.7)

    await consumer.step()

    assert world.dead() != []


async def test_draining_handles_all_that_is_there() -> None:
    world = World()
    await world.publish(*[str(n) for n in range(1_200)])
    consumer = await world.consumer()

    assert await consumer.drain(deadline_s=30)
    assert world.handled == [str(n) for n in range(1_200)]


async def test_draining_ends_at_its_deadline_when_the_handler_does_not() -> None:
    world = World()

    async def handle(_: Sequence[Delivery]) -> None:
        await asyncio.Event().wait()

    await world.publish("a")
    consumer = await world.consumer(handle)

    assert not await consumer.drain(deadline_s=0.05)


async def test_the_loop_ends_after_the_batch_in_hand_when_it_is_told_to_stop() -> None:
    world = World()
    stopping = asyncio.Event()

    async def handle(deliveries: Sequence[Delivery]) -> None:
        stopping.set()
        await asyncio.sleep(0)
        await world.note(deliveries)

    await world.publish("a")
    consumer = await world.consumer(handle)
    async with asyncio.timeout(5):
        await consumer.run(stopping)

    assert world.handled == ["a"]


async def test_a_replayed_dead_letter_stands_where_it_stood_before() -> None:
    world = World()
    await world.publish(b"\x01poison")
    consumer = await world.consumer()
    await consumer.step()
    publisher = await world.broker.fast_publisher()

    assert await replay(world.broker.records(dead_letter_topic(TOPIC)), publisher) == 1

    before, after = world.broker.records(TOPIC)
    assert (after.key, after.value, after.headers) == (before.key, before.value, before.headers)


async def test_a_dead_letter_goes_nowhere_while_the_broker_is_down() -> None:
    world = World()
    await world.publish(b"\x01poison")
    (record,) = world.broker.records(TOPIC)
    letters = DeadLetters(await world.broker.fast_publisher(), clock=world.clock)
    world.broker.stop()

    with pytest.raises(BrokerUnavailable):
        await letters.set_aside(record, "cause")
