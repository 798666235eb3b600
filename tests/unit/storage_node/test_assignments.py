"""Every assignment of ours is answered, by what is true; nobody else's is touched."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from fileflux.core.clock import ManualClock, SystemClock
from fileflux.core.errors import BrokerUnavailable, NodeFull, NoSuchBundle
from fileflux.core.ids import NodeId
from fileflux.core.node_client import PullSink
from fileflux.events.codec import decode_events, encode_events
from fileflux.events.consume import Consumer, Delivery
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import Position, Record
from fileflux.events.schema import BundleAssigned, BundleCommitted, BundleRefused, Event
from fileflux.events.topics import BUNDLES_ASSIGNED, BUNDLES_COMMITTED
from fileflux.storage_node.answers import Answers
from fileflux.storage_node.assignments import OPEN_ASSIGNMENTS_MAX, Assignments
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.memory_store import MemoryStore
from fileflux.storage_node.pulls import Pulls
from fileflux.storage_node.samples import sample_assignment, sample_bundle

NODE = NodeId("6f2d8a54-95a1-4c39-9a0a-0d3c4c0f7e11")


class Staging:
    """Serves bundles by the URL `http://staging/<hex id>`; what is not there is gone."""

    def __init__(self, bundles: Sequence[IncomingBundle]) -> None:
        self.bundles = {url_of(bundle): bytes(bundle.data) for bundle in bundles}
        self.pull_count = 0
        self.before_pull: Callable[[], Awaitable[None]] | None = None

    async def pull(self, url: str, sink: PullSink) -> None:
        self.pull_count += 1
        if self.before_pull is not None:
            await self.before_pull()
        if url not in self.bundles:
            raise NoSuchBundle(url)
        raw = self.bundles[url]
        sink.begin(len(raw))[:] = raw
        sink.arrived(len(raw))


def url_of(bundle: IncomingBundle) -> str:
    return f"http://staging/{bundle.bundle_id.hex()}"


class Node:
    """One node over an in-memory broker, store and staging."""

    def __init__(self, bundles: Sequence[IncomingBundle], **store: object) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(clock=SystemClock())
        self.store = MemoryStore(**store)  # type: ignore[arg-type]
        self.staging = Staging(bundles)
        self.fence = Fence()
        self.offset = 0

    async def start(self) -> "Node":
        self.answers = Answers(await self.broker.fast_publisher())
        self.assignments = Assignments(
            node_id=NODE,
            node_epoch=4,
            store=self.store,
            pulls=Pulls(self.staging),
            answers=self.answers,
            fence=self.fence,
            clock=self.clock,
        )
        # What is assigned later than this start needs no look into the index.
        self.clock.advance(1)
        return self

    def assigned(self, bundle: IncomingBundle, **changes: object) -> BundleAssigned:
        made = sample_assignment(bundle, NODE, self.clock, source_url=url_of(bundle))
        return replace(made, **changes)  # type: ignore[arg-type]

    def delivery(self, *events: Event) -> Delivery:
        self.offset += 1
        position = Position(BUNDLES_ASSIGNED, 0, self.offset - 1)
        return Delivery(Record(position, None, encode_events(events), (), self.offset), events)

    async def deal_with(self, *events: Event) -> None:
        await self.assignments.take([self.delivery(*events)])
        await self.settle()

    async def settle(self) -> None:
        async with asyncio.timeout(10):
            while self.assignments.load:
                await asyncio.sleep(0)

    def records(self, lane: int = 0) -> list[list[Event]]:
        return [decode_events(r.value) for r in self.broker.records(BUNDLES_COMMITTED, lane)]

    def events(self, lane: int = 0) -> list[Event]:
        return [event for record in self.records(lane) for event in record]

    def outcomes(self, lane: int = 0) -> list[tuple[bytes, str]]:
        return [
            (event.bundle_id, event.reason if isinstance(event, BundleRefused) else "committed")
            for event in self.events(lane)
            if isinstance(event, (BundleCommitted, BundleRefused))
        ]


async def node_with(*bundles: IncomingBundle, **store: object) -> Node:
    return await Node(bundles, **store).start()


async def test_an_assignment_is_pulled_stored_and_confirmed_in_its_lane() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    await node.deal_with(node.assigned(bundle, lane=2))

    (committed,) = node.events(2)
    size, crc = bundle.view.header.sealed
    assert isinstance(committed, BundleCommitted)
    assert (committed.bundle_id, committed.size, committed.crc) == (bundle.bundle_id, size, crc)
    assert (committed.node_id, committed.node_epoch) == (NODE, 4)
    assert committed.seal_id == bundle.view.header.seal_id
    assert committed.received_us <= committed.pulled_us <= committed.durable_us
    assert await node.store.find(bundle.bundle_id) is not None


async def test_nothing_is_confirmed_before_it_is_durable() -> None:
    bundle = sample_bundle(1)
    syncing, may_end = asyncio.Event(), asyncio.Event()

    async def sync() -> None:
        syncing.set()
        await may_end.wait()

    node = await node_with(bundle, sync=sync)
    await node.assignments.take([node.delivery(node.assigned(bundle))])
    await syncing.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    assert node.events() == []

    may_end.set()
    await node.settle()
    assert node.outcomes() == [(bundle.bundle_id, "committed")]


async def test_what_waits_shares_a_sync_and_a_record_per_lane() -> None:
    bundles = [sample_bundle(seed, lengths=(10,)) for seed in range(60)]
    node = await node_with(*bundles)
    await node.deal_with(*(node.assigned(b, lane=n % 2) for n, b in enumerate(bundles)))

    assert len(node.outcomes(0)) == len(node.outcomes(1)) == 30
    assert node.store.sync_count <= 4
    assert len(node.records(0)) <= node.store.sync_count
    assert len(node.records(1)) <= node.store.sync_count


async def test_an_assignment_that_comes_again_is_confirmed_again_without_a_pull() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    await node.deal_with(node.assigned(bundle))
    await node.deal_with(node.assigned(bundle, attempt=1, lane=3))

    assert node.outcomes(0) == node.outcomes(3) == [(bundle.bundle_id, "committed")]
    assert node.staging.pull_count == 1
    assert node.store.sync_count == 1


async def test_two_assignments_of_one_bundle_at_once_are_one_bundle_and_two_answers() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    await node.deal_with(node.assigned(bundle), node.assigned(bundle, lane=1, attempt=1))

    assert node.outcomes(0) == node.outcomes(1) == [(bundle.bundle_id, "committed")]
    assert len(await node.store.inventory(None, 10)) == 1
    assert node.staging.pull_count == 1


async def test_what_was_assigned_before_the_start_is_looked_for_first() -> None:
    """After a crash the slot is read again from a little earlier."""
    bundle = sample_bundle(1)
    node = await node_with()
    await node.store.write([bundle])
    await node.deal_with(node.assigned(bundle, assigned_us=node.clock.now_us() - 10_000_000))

    assert node.outcomes() == [(bundle.bundle_id, "committed")]
    assert node.staging.pull_count == 0


async def test_a_held_bundle_that_was_sealed_differently_is_never_confirmed() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    await node.deal_with(node.assigned(bundle))
    await node.deal_with(node.assigned(bundle, attempt=1, crc=1))

    assert node.outcomes()[1] == (bundle.bundle_id, "corrupt")


async def test_others_assignments_and_other_events_are_ignored() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    refused = BundleRefused(
        bundle_id=bundle.bundle_id,
        seal_id=bundle.view.header.seal_id,
        node_id=NODE,
        reason="full",
    )
    await node.deal_with(node.assigned(bundle, node_id=NodeId("another")), refused)

    assert node.staging.pull_count == 0
    assert node.events() == []
    assert node.store.position() is not None


async def test_an_expired_assignment_is_skipped() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    await node.deal_with(node.assigned(bundle, expires_at_us=node.clock.now_us() - 1))

    assert node.staging.pull_count == 0
    assert node.events() == []


async def test_bytes_that_are_gone_are_refused_at_once() -> None:
    bundle = sample_bundle(1)
    node = await node_with()
    await node.deal_with(node.assigned(bundle))

    assert node.outcomes() == [(bundle.bundle_id, "gone")]


async def test_corrupt_bytes_are_refused() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    node.staging.bundles[url_of(bundle)] = bytes(len(bundle.data))
    await node.deal_with(node.assigned(bundle))

    assert node.outcomes() == [(bundle.bundle_id, "corrupt")]


async def test_a_fenced_node_refuses_new_bundles_and_confirms_old_ones() -> None:
    held, fresh = sample_bundle(1), sample_bundle(2)
    node = await node_with(held, fresh)
    await node.deal_with(node.assigned(held))
    node.fence.fail_disk("a test says so")
    await node.deal_with(node.assigned(held, attempt=1), node.assigned(fresh))

    assert sorted(node.outcomes()[1:]) == sorted(
        [(held.bundle_id, "committed"), (fresh.bundle_id, "fenced")]
    )


async def test_on_a_full_node_what_still_fits_is_taken() -> None:
    small, big = sample_bundle(1, lengths=(10,)), sample_bundle(2, lengths=(50_000,))
    node = await node_with(small, big, capacity_bytes=20_000)
    await node.deal_with(node.assigned(big), node.assigned(small))

    assert sorted(node.outcomes()) == sorted(
        [(big.bundle_id, "full"), (small.bundle_id, "committed")]
    )


async def test_an_answer_that_the_broker_refused_is_given_again_when_asked_again() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    node.broker.stop()
    await node.deal_with(node.assigned(bundle))
    assert node.store.position() is not None, "it is dealt with: whoever waits asks again"

    node.broker.start()
    await node.deal_with(node.assigned(bundle, attempt=1))
    assert node.outcomes() == [(bundle.bundle_id, "committed")]


async def test_the_position_waits_for_the_oldest_unanswered_record() -> None:
    slow, fast = sample_bundle(1), sample_bundle(2)
    node = await node_with(slow, fast)
    may_go = asyncio.Event()
    pulls_of_slow = iter([may_go.wait, None])

    async def before_pull() -> None:
        wait = next(pulls_of_slow)
        if wait is not None:
            await wait()

    node.staging.before_pull = before_pull
    await node.assignments.take([node.delivery(node.assigned(slow))])
    await asyncio.sleep(0)
    await node.assignments.take([node.delivery(node.assigned(fast)), node.delivery()])
    async with asyncio.timeout(5):
        while node.assignments.load > 1:
            await asyncio.sleep(0)
    assert node.outcomes() == [(fast.bundle_id, "committed")]
    assert node.store.position() is None

    may_go.set()
    await node.settle()
    position = node.store.position()
    assert position is not None
    assert position.offset == 3


async def test_reading_stops_while_too_many_are_open() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    may_go = asyncio.Event()

    async def before_pull() -> None:
        await may_go.wait()

    node.staging.before_pull = before_pull
    many = [node.delivery(node.assigned(bundle)) for _ in range(OPEN_ASSIGNMENTS_MAX + 5)]
    taking = asyncio.create_task(node.assignments.take(many))
    for _ in range(200):
        await asyncio.sleep(0)
    assert node.assignments.load == OPEN_ASSIGNMENTS_MAX
    assert not taking.done()

    may_go.set()
    async with asyncio.timeout(20):
        await taking
    await node.settle()
    assert len(node.outcomes()) == len(many)


async def test_draining_gives_up_what_does_not_end_and_leaves_it_to_be_read_again() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)

    async def before_pull() -> None:
        await asyncio.Event().wait()

    node.staging.before_pull = before_pull
    await node.assignments.take([node.delivery(node.assigned(bundle))])
    await node.assignments.drain(deadline_s=0.05)
    await node.settle()

    assert node.events() == []
    assert node.store.position() is None


async def test_an_unexpected_failure_of_one_assignment_harms_no_other() -> None:
    one, other = sample_bundle(1), sample_bundle(2)
    node = await node_with(one, other)
    broken = iter([True, False])

    async def before_pull() -> None:
        if next(broken):
            raise RuntimeError("a bug")

    node.staging.before_pull = before_pull
    await node.deal_with(node.assigned(one), node.assigned(other))

    assert node.outcomes() == [(other.bundle_id, "committed")]


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_happens_to_events_every_confirmed_bundle_is_held(seed: int) -> None:
    """Doubled, reordered, foreign, expired, on a node with little room: one truth."""
    rng = random.Random(seed)
    bundles = [sample_bundle(100 * seed + n, lengths=(rng.randrange(1, 4_000),)) for n in range(30)]
    node = await node_with(*rng.sample(bundles, 24), capacity_bytes=rng.choice([10_000, 10**9]))
    events = [
        node.assigned(
            bundle,
            attempt=attempt,
            lane=rng.randrange(4),
            node_id=rng.choice([NODE, NODE, NODE, NodeId("another")]),
            expires_at_us=node.clock.now_us() + rng.choice([10**9, 10**9, -1]),
        )
        for attempt in range(3)
        for bundle in bundles
    ]
    rng.shuffle(events)
    for at in range(0, len(events), 7):
        await node.assignments.take([node.delivery(*events[at : at + 7])])
    await node.settle()

    sealed = {bundle.bundle_id: bundle.view.header.sealed for bundle in bundles}
    expected = [e for e in events if e.node_id == NODE and e.expires_at_us > node.clock.now_us()]
    answered = [event for lane in range(4) for event in node.events(lane)]
    assert len(answered) == len(expected)
    for event in answered:
        if isinstance(event, BundleCommitted):
            held = await node.store.find(event.bundle_id)
            assert held is not None
            assert (held.size, held.crc) == (event.size, event.crc) == sealed[event.bundle_id]


async def test_poison_among_assignments_is_set_aside_and_the_rest_dealt_with() -> None:
    bundle = sample_bundle(1)
    node = await node_with(bundle)
    publisher = await node.broker.fast_publisher()
    await publisher.publish(BUNDLES_ASSIGNED, b"\xff\xffnonsense", partition=0)
    await publisher.publish(BUNDLES_ASSIGNED, encode_events([node.assigned(bundle)]), partition=0)
    source = await node.broker.source([(BUNDLES_ASSIGNED, 0)])
    dead_letters = DeadLetters(await node.broker.safe_publisher(), clock=node.clock)
    consumer = Consumer(source, node.assignments.take, dead_letters=dead_letters, clock=node.clock)
    await consumer.step()
    await node.settle()

    assert node.outcomes() == [(bundle.bundle_id, "committed")]
    assert len(node.broker.records(f"{BUNDLES_ASSIGNED}.dead-letter")) == 1


class FullOnce(MemoryStore):
    """Refuses the first batch, whatever it is."""

    refused: Mapping[str, int] = {}

    async def write(self, bundles: Sequence[IncomingBundle]) -> None:
        if len(bundles) > 1:
            raise NodeFull("too much at once")
        await super().write(bundles)


async def test_a_batch_that_does_not_fit_is_tried_one_by_one() -> None:
    bundles = [sample_bundle(seed) for seed in range(5)]
    node = Node(bundles)
    node.store = FullOnce()
    await node.start()
    await node.deal_with(*map(node.assigned, bundles))

    assert sorted(node.outcomes()) == sorted((b.bundle_id, "committed") for b in bundles)


async def test_answers_survive_a_publisher_that_raises() -> None:
    class Broken:
        async def publish(self, *_: object, **__: object) -> Position:
            raise BrokerUnavailable("away")

    answers = Answers(Broken())  # type: ignore[arg-type]
    refused = BundleRefused(
        bundle_id=sample_bundle(1).bundle_id,
        seal_id=sample_bundle(1).view.header.seal_id,
        node_id=NODE,
        reason="full",
    )
    async with asyncio.timeout(5):
        await answers.send(0, refused)
        await answers.close()
