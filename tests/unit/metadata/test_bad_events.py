"""F16 and F17 for the materializer: events doubled, shuffled and lost; records that are poison."""

import random
from collections import Counter
from collections.abc import Callable
from unittest.mock import Mock

import pytest
from tests.model.lane_world import NODES, LaneWorld, commit_of, open_world
from tests.model.rebuild_world import audited

from fileflux.core.clock import ManualClock
from fileflux.events.codec import encode_events
from fileflux.events.dead_letter import read_dead_letter
from fileflux.events.memory import MemoryBroker
from fileflux.events.schema import UploadsSealed
from fileflux.events.topics import BUNDLES_COMMITTED, UPLOADS_SEALED, dead_letter_topic
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader

UPLOADS = 400
COPIES = 3
WINDOW = 50
DROPPED = 0.1
ROUNDS_MAX = 40
POISON_OF_A_KIND = 40

Message = tuple[str, bytes]


async def world_of(seed: int) -> tuple[LaneWorld, MemoryBroker, MemoryDatabase]:
    clock = ManualClock()
    broker = MemoryBroker(clock=clock, lanes=1)
    database = MemoryDatabase(clock)
    world = await open_world(broker, database, MemoryReader(database), clock, seed=seed)
    return world, broker, database


def messages_of(seal: UploadsSealed) -> list[Message]:
    """What ingest and two nodes publish of an upload."""
    commits = [commit_of(seal, one, node) for one in seal.bundles for node in NODES[:2]]
    return [
        (UPLOADS_SEALED, encode_events([seal])),
        *((BUNDLES_COMMITTED, encode_events([commit])) for commit in commits),
    ]


def shuffled(messages: list[Message], rng: random.Random) -> list[Message]:
    """Each comes up to a window later than it should."""
    places = {place: place + rng.uniform(0, WINDOW) for place in range(len(messages))}
    return [messages[place] for place in sorted(places, key=places.__getitem__)]


async def test_f16_events_that_come_thrice_shuffled_or_not_at_all_have_one_effect() -> None:
    """What got lost is sent again, as whoever waits for an answer does."""
    rng = random.Random(16)
    world, _, _ = await world_of(16)
    seals = [await world.upload(b"k%d" % (n % 97), quorum=2) for n in range(UPLOADS)]
    before = await world.record_count()
    one = await world.materializer(fetch_wait_s=0.001)
    missing, sent = seals, 0
    for _ in range(ROUNDS_MAX):
        thrice = [one for seal in missing for one in messages_of(seal) for _ in range(COPIES)]
        for topic, value in shuffled(thrice, rng):
            sent += 1
            if rng.random() >= DROPPED:
                await world.publish_bytes(topic, value, 0)
        for _ in range(len(thrice) // 400 + 2):
            await one.turn()
        missing = [seal for seal in missing if await world.statuses(seal) is None]
        if not missing:
            break

    assert sent >= UPLOADS * COPIES * 3
    assert [await world.statuses(seal) for seal in seals] == [["ok"]] * UPLOADS
    assert await world.record_count() - before == UPLOADS, "one record for each"


async def test_f17_poison_changes_nothing_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each record of it is set aside once, with its bytes; every upload around it takes effect."""
    monkeypatch.setattr("fileflux.metadata.committer.log", Mock())  # Coloured tracebacks are slow.
    rng = random.Random(17)
    world, broker, database = await world_of(17)
    poison = await _poison(world, rng)
    seals = [await world.upload(b"k%d" % n, quorum=2) for n in range(len(poison))]
    alone, _, untouched = await world_of(17)
    other = [await alone.upload(b"k%d" % n, quorum=2) for n in range(len(poison))]
    for made, messages in ((world, poison), (alone, [])):
        one = await made.materializer(fetch_wait_s=0.001)
        for number, seal in enumerate(seals if made is world else other):
            for topic, value in (*messages[number : number + 1], *messages_of(seal)):
                await made.publish_bytes(topic, value, 0)
            await one.turn()
        await one.turn()

    assert [await world.statuses(seal) for seal in seals] == [["ok"]] * len(seals)
    assert Counter(_aside(broker)) == Counter(poison)
    assert len(poison) == 5 * POISON_OF_A_KIND
    for table, rows in audited(untouched).items():
        assert audited(database)[table].keys() == rows.keys(), table


def _aside(broker: MemoryBroker) -> list[Message]:
    return [
        (topic, read_dead_letter(record).value)
        for topic in (UPLOADS_SEALED, BUNDLES_COMMITTED)
        for record in broker.records(dead_letter_topic(topic))
    ]


async def _poison(world: LaneWorld, rng: random.Random) -> list[Message]:
    """Records that are none of ours: all kinds, shuffled."""
    seal = await world.upload(b"poisoned")
    (bundle,) = seal.bundles
    good = {
        UPLOADS_SEALED: encode_events([seal]),
        BUNDLES_COMMITTED: encode_events([commit_of(seal, bundle, NODES[0])]),
    }
    kinds: tuple[Callable[[bytes], bytes], ...] = (
        lambda _: rng.randbytes(rng.randrange(0, 4_000)),
        lambda raw: raw[: rng.randrange(1, len(raw))],
        lambda raw: bytes((rng.randrange(2, 256),)) + raw[1:],
        lambda raw: raw + rng.randbytes(rng.randrange(1, 9)),
    )
    made = [
        (topic, kind(good[topic]))
        for kind in kinds
        for topic in good
        for _ in range(POISON_OF_A_KIND // 2)
    ]
    for number in range(POISON_OF_A_KIND):
        field = ("node_epoch", "size", "crc")[number % 3]
        bad = commit_of(seal, bundle, NODES[1], **{field: -1 - number})
        made.append((BUNDLES_COMMITTED, encode_events([bad])))
    rng.shuffle(made)
    return made
