"""Whatever happened: a restored bucket is what it was, and nothing else changes."""

import random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.model.rebuild_world import GivenRecords, audited, number, rebuild, storm
from tests.model.restore_world import RestoreWorld, garbage, living, picture, picture_at

from fileflux.metadata.content_back import UNKNOWN
from fileflux.metadata.digest import digest_of
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.restore_bucket import RestoreRefused
from fileflux.metadata.snapshot import MemorySnapshot


async def stormy(seed: int, *, count: int = 60) -> RestoreWorld:
    world = RestoreWorld(MemoryDatabase())
    await storm(world.database, world.reader, seed=seed, count=count)
    return world


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32), cut=st.floats(0, 1))
async def test_a_restored_bucket_is_what_it_was_at_any_earlier_position(
    seed: int, cut: float
) -> None:
    """Every key down to the slices of a GET: nobody has removed garbage, so all of it is there."""
    world = await stormy(seed)
    records = await world.records()
    position = 1 + int(cut * (len(records) - 1))
    chunks = garbage(world.database) | living(world.database)
    for bucket in ("red", "blue"):
        wanted = await picture_at(records[:position], bucket)
        if wanted is None:
            with pytest.raises(RestoreRefused, match="there was no bucket"):
                await world.restore(bucket, position)
            continue
        await world.restore(bucket, position, deletes_newer=True)
        assert {fate.reason for fate in world.fates if fate.kind == "impossible"} <= {UNKNOWN}
        for fate in world.fates:
            event(fate.kind)
            if fate.kind == "impossible":
                wanted.pop(fate.key)
        now = picture(world.database, bucket) or {}
        assert {key: seen for key, seen in now.items() if key in wanted} == wanted
        assert now.keys() - wanted.keys() <= {f.key for f in world.fates if f.kind == "impossible"}
        assert garbage(world.database) | living(world.database) == chunks
        assert not garbage(world.database) & living(world.database)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 32))
async def test_a_second_restore_changes_nothing_and_a_dry_run_says_what_the_first_does(
    seed: int,
) -> None:
    world = await stormy(seed)
    position = random.Random(seed).randrange(1, len(await world.records()))
    if await picture_at((await world.records())[:position], "red") is None:
        return
    before = audited(world.database)
    told = await world.restore("red", position, deletes_newer=True, dry_run=True)
    planned = list(world.fates)
    assert audited(world.database) == before

    done = await world.restore("red", position, deletes_newer=True)
    assert world.fates == planned
    assert (done.counts, done.sizes) == (told.counts, told.sizes)
    seen, count = picture(world.database, "red"), len(await world.records())
    again = await world.restore("red", position, deletes_newer=True)
    assert again.counts.keys() <= {"unchanged", "impossible"}
    assert picture(world.database, "red") == seen
    assert len(await world.records()) == count + 2  # The hold, taken and released.
    assert not await world.reader.holds()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 32))
async def test_a_history_with_restores_rebuilds_to_the_same_rows_and_digest(seed: int) -> None:
    """I9, with restores of restores: the stream alone tells what came back."""
    world = await stormy(seed, count=40)
    rng = random.Random(seed)
    for _ in range(3):
        position = rng.randrange(1, len(await world.records()))
        bucket = rng.choice(("red", "blue"))
        if await picture_at((await world.records())[:position], bucket) is None:
            continue
        await world.restore(bucket, position, deletes_newer=rng.random() < 0.5)
    await number(world.database, world.reader)
    made = MemoryDatabase()
    await rebuild(GivenRecords(await world.records()), made)

    assert audited(made) == audited(world.database)
    ours, theirs = [await digest_of(MemorySnapshot(one)) for one in (world.database, made)]
    assert ours.whole == theirs.whole
    assert not garbage(world.database) & living(world.database)
