"""What only the in-memory broker can do: faults by seed, a stopped, wiped or shortened broker."""

import asyncio
import random

import pytest

from fileflux.core.clock import LoopClock, ManualClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.events.memory import MemoryBroker, MemoryFaults
from fileflux.events.topics import AUDIT, BUNDLES_COMMITTED

TOPIC = BUNDLES_COMMITTED


async def published(faults: MemoryFaults, *, seed: int = 7, safe: bool = False) -> list[int]:
    """Return what is in the log after 200 numbers were published, each acknowledged or not."""
    broker = MemoryBroker(clock=LoopClock(), rng=random.Random(seed), faults=faults)
    publisher = await (broker.safe_publisher() if safe else broker.fast_publisher())
    for number in range(200):
        try:
            await publisher.publish(TOPIC, b"%d" % number, partition=0)
        except BrokerUnavailable:
            continue
    await asyncio.sleep(0.1)
    return [int(record.value) for record in broker.records(TOPIC)]


async def test_without_faults_all_is_there_once_and_in_order() -> None:
    assert await published(MemoryFaults()) == list(range(200))


async def test_dropped_records_are_missing() -> None:
    values = await published(MemoryFaults(drop=0.3))

    assert 100 < len(values) < 180
    assert values == sorted(set(values))


async def test_duplicated_records_are_there_twice() -> None:
    values = await published(MemoryFaults(duplicate=0.3))

    assert len(values) > 220
    assert sorted(set(values)) == list(range(200))


async def test_reordered_records_are_all_there_in_another_order() -> None:
    values = await published(MemoryFaults(reorder=0.3))

    assert sorted(values) == list(range(200))
    assert values != sorted(values)


async def test_refused_records_may_be_there_nevertheless() -> None:
    """The publisher was told that it failed: only the state can tell."""
    values = await published(MemoryFaults(refuse=0.5))

    assert 130 < len(values) < 170


async def test_a_safe_publisher_loses_and_reorders_nothing_that_was_acknowledged() -> None:
    faults = MemoryFaults(drop=0.3, reorder=0.3, duplicate=0.2, delay=0.1, delay_s_max=0.001)

    values = await published(faults, safe=True)

    assert sorted(set(values)) == list(range(200))
    assert values == sorted(values)


async def test_a_delay_lets_a_later_record_pass() -> None:
    broker = MemoryBroker(clock=LoopClock(), rng=random.Random(1))
    broker.faults = MemoryFaults(delay=0.5, delay_s_max=0.02)
    publisher = await broker.fast_publisher()
    await asyncio.gather(*[publisher.publish(TOPIC, b"%d" % n, partition=0) for n in range(20)])

    values = [int(record.value) for record in broker.records(TOPIC)]
    assert sorted(values) == list(range(20))
    assert values != sorted(values)


async def test_the_same_seed_gives_the_same_faults() -> None:
    faults = MemoryFaults(drop=0.2, duplicate=0.2, refuse=0.1)

    assert await published(faults, seed=3) == await published(faults, seed=3)
    assert await published(faults, seed=3) != await published(faults, seed=4)


async def test_faults_may_be_limited_to_topics() -> None:
    broker = MemoryBroker(
        clock=ManualClock(), faults=MemoryFaults(drop=1, topics=frozenset({TOPIC}))
    )
    publisher = await broker.fast_publisher()
    await publisher.publish(TOPIC, b"", partition=0)
    await publisher.publish(AUDIT, b"", partition=0)

    assert (len(broker.records(TOPIC)), len(broker.records(AUDIT))) == (0, 1)


async def test_a_stopped_broker_takes_and_gives_nothing_until_it_is_started() -> None:
    broker = MemoryBroker(clock=ManualClock())
    publisher = await broker.fast_publisher()
    source = await broker.source([(TOPIC, 0)])
    await publisher.publish(TOPIC, b"kept", partition=0)
    broker.stop()

    assert await source.fetch(wait_s=0.01) == []
    with pytest.raises(BrokerUnavailable):
        await publisher.publish(TOPIC, b"", partition=0)
    with pytest.raises(BrokerUnavailable):
        await source.bounds(TOPIC, 0)
    waiting = asyncio.create_task(source.fetch(wait_s=10))
    await asyncio.sleep(0)
    broker.start()

    assert [record.value for record in await waiting] == [b"kept"]


async def test_a_wiped_broker_is_read_from_its_start() -> None:
    broker = MemoryBroker(clock=ManualClock())
    publisher = await broker.fast_publisher()
    source = await broker.source([(TOPIC, 0)])
    for _ in range(3):
        await publisher.publish(TOPIC, b"old", partition=0)
    assert len(await source.fetch()) == 3

    broker.wipe()
    await publisher.publish(TOPIC, b"new", partition=0)

    assert [record.value for record in await source.fetch()] == [b"new"]


async def test_a_lost_tail_gives_its_offsets_to_other_records() -> None:
    broker = MemoryBroker(clock=ManualClock())
    publisher = await broker.fast_publisher()
    for value in (b"a", b"b", b"c"):
        await publisher.publish(TOPIC, value, partition=0)
    broker.lose_tail(TOPIC, 0, 2)
    await publisher.publish(TOPIC, b"d", partition=0)

    assert [(r.value, r.position.offset) for r in broker.records(TOPIC)] == [(b"a", 0), (b"d", 1)]


async def test_expired_records_leave_a_first_offset_behind() -> None:
    broker = MemoryBroker(clock=ManualClock())
    publisher = await broker.fast_publisher()
    source = await broker.source([(TOPIC, 0)])
    for value in (b"a", b"b", b"c"):
        await publisher.publish(TOPIC, value, partition=0)
    broker.expire(TOPIC, 0, 2)

    assert await source.bounds(TOPIC, 0) == (2, 3)
    assert await source.read_one(TOPIC, 0, 1) is None
    assert [record.value for record in await source.fetch()] == [b"c"]
