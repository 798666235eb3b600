"""Checkpoints are signed once each, in a row, of what was published; their topic has them all."""

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.model.archive_world import EVERY_S, KEY, ArchiveWorld, all_steps, open_archive_world
from tests.model.audit_world import turns

from fileflux.core.failpoints import FailpointError
from fileflux.events.topics import AUDIT_CHECKPOINTS
from fileflux.metadata.checkpoint import (
    NO_PREVIOUS,
    Checkpoint,
    decode_checkpoint,
    encode_checkpoint,
)
from fileflux.metadata.sequencer import STREAM

PUBLIC = KEY.public_key().public_bytes_raw()


@pytest.fixture
async def world() -> ArchiveWorld:
    return await open_archive_world()


def check_row(world: ArchiveWorld, signed: list[Checkpoint]) -> None:
    """They are numbered, linked, signed, and name the hashes of the published records."""
    hashes = {record.position: record.chain_hash for record in world.published()}
    previous = NO_PREVIOUS
    for number, one in enumerate(signed, 1):
        assert (one.number, one.previous, one.stream) == (number, previous, STREAM)
        assert one.is_signed
        assert one.chain_hash == hashes[one.position]
        previous = one.digest


async def test_a_checkpoint_is_signed_when_time_has_passed_and_something_is_new(
    world: ArchiveWorld,
) -> None:
    sequencer = await world.sequencer()
    await world.write(3, sequencer)
    await world.write(3, sequencer)
    assert [one.position for one in world.signed()] == [5], "the first at once, then by the clock"
    world.wait(EVERY_S)
    await turns(sequencer)
    world.wait(EVERY_S)
    await turns(sequencer)

    assert [one.position for one in world.signed()] == [5, 8], "nothing new, no checkpoint"
    check_row(world, world.signed())
    assert {one.public_key for one in world.signed()} == {PUBLIC}


async def test_many_records_do_not_wait_for_the_clock(world: ArchiveWorld) -> None:
    sequencer = await world.sequencer(every_records=4)
    for _ in range(4):
        await world.write(2, sequencer)

    assert [one.position for one in world.signed()] == [4, 8]


async def test_what_is_not_published_is_not_signed(world: ArchiveWorld) -> None:
    sequencer = await world.sequencer()
    world.audit.broker.stop()
    await world.write(3, sequencer)
    world.wait(EVERY_S)
    await turns(sequencer)
    assert await world.reader.last_checkpoint(STREAM) is None

    world.audit.broker.start()
    await turns(sequencer)
    check_row(world, world.signed())
    assert len(world.signed()) == 1


async def test_another_sequencer_goes_on_with_the_row(world: ArchiveWorld) -> None:
    await world.write(3, await world.sequencer())
    await world.write(3, await world.sequencer())

    assert [one.position for one in world.signed()] == [5, 8]
    check_row(world, world.signed())


async def test_two_that_sign_at_once_take_a_number_each(world: ArchiveWorld) -> None:
    await world.write(3, await world.sequencer())
    await world.audit.write(2)
    await turns(await world.audit.sequencer())
    head = await world.reader.audit_head(STREAM)
    signers = [await world.checkpointer() for _ in range(5)]
    await asyncio.gather(*(one.step(head) for one in signers))
    await asyncio.gather(*(one.step(head) for one in signers))

    check_row(world, world.signed()[:2])
    assert {one.number for one in world.signed()} == {1, 2}


async def test_a_new_key_goes_on_with_the_row_and_the_old_one_stays_listed(
    world: ArchiveWorld,
) -> None:
    await world.write(3, await world.sequencer())
    new = Ed25519PrivateKey.generate()
    world.wait(EVERY_S)
    await world.write(3, await world.sequencer(new))

    check_row(world, world.signed())
    keys = [key for key, _ in await world.reader.audit_keys()]
    assert keys == [PUBLIC, new.public_key().public_bytes_raw()]


async def test_a_wiped_topic_gets_every_checkpoint_again(world: ArchiveWorld) -> None:
    sequencer = await world.sequencer()
    for _ in range(3):
        await world.write(3, sequencer)
        world.wait(EVERY_S)
    before = world.signed()
    world.audit.broker.wipe(AUDIT_CHECKPOINTS)
    await world.write(3, sequencer)

    assert world.signed()[: len(before)] == before
    check_row(world, world.signed())
    assert len(world.signed()) == len(before) + 1


async def test_a_topic_whose_start_is_gone_is_filled_in_behind_once(world: ArchiveWorld) -> None:
    """Its first record stays another one: that must not send all of them again for ever."""
    sequencer = await world.sequencer()
    for _ in range(3):
        await world.write(3, sequencer)
        world.wait(EVERY_S)
    world.audit.broker.expire(AUDIT_CHECKPOINTS, 0, 1)
    for _ in range(4):
        await world.write(3, sequencer)
        world.wait(EVERY_S)

    numbers = [one.number for one in world.signed()]
    assert numbers == [2, 3, 1, 2, 3, 4, 5, 6, 7]


async def test_a_record_that_is_no_checkpoint_stops_nobody(world: ArchiveWorld) -> None:
    sequencer = await world.sequencer()
    await world.write(3, sequencer)
    publisher = await world.audit.broker.safe_publisher()
    await publisher.publish(AUDIT_CHECKPOINTS, b"somebody's", partition=0)
    world.wait(EVERY_S)
    await world.write(3, sequencer)
    await world.write(3, sequencer)

    assert await world.audit.faults() == []
    values = [one.value for one in world.audit.broker.records(AUDIT_CHECKPOINTS)]
    signed = [decode_checkpoint(value).number for value in values if value != b"somebody's"]
    assert signed == [1, 1, 2]


def forget_checkpoints(world: ArchiveWorld) -> None:
    """As a rebuild leaves it: all records, no checkpoint, nothing known of the archive."""
    tables = world.audit.database.tables
    names = ("checkpoints", "audit_keys", "archive_heads")
    tables.commit({(name, key): None for name in names for key in tables.rows(name)})


@pytest.mark.parametrize("is_wiped", [False, True], ids=["from the topic", "from the archive"])
async def test_a_rebuilt_database_takes_the_row_over_and_goes_on(
    world: ArchiveWorld, is_wiped: bool
) -> None:
    sequencer = await world.sequencer()
    for _ in range(3):
        await world.write(3, sequencer)
        world.wait(EVERY_S)
        await all_steps(await world.archiver(keep_s=0))
    before = world.signed()
    forget_checkpoints(world)
    if is_wiped:
        world.audit.broker.wipe(AUDIT_CHECKPOINTS)
    await world.write(3, await world.sequencer())

    assert world.signed()[:3] == before
    assert len(world.signed()) == 4
    check_row(world, world.signed())
    world.wait(EVERY_S)
    await all_steps(await world.archiver(keep_s=0))
    archived = [name for name in world.archive.objects if "/checkpoints/" in name]
    assert max(archived).startswith("main/checkpoints/upto-00000000000000000004")


async def test_while_a_row_is_taken_over_the_archiver_goes_as_far_and_complains_of_nothing(
    world: ArchiveWorld,
) -> None:
    """A long row takes minutes; the archive has all of it, the database the first of it."""
    sequencer = await world.sequencer()
    for _ in range(3):
        await world.write(3, sequencer)
        world.wait(EVERY_S)
    await all_steps(await world.archiver(keep_s=0))
    tables = world.audit.database.tables
    rows = dict(tables.rows("checkpoints"))
    forget_checkpoints(world)
    archiver = await world.archiver(keep_s=0)
    reached = []
    for number in range(1, 4):
        tables.commit({("checkpoints", (STREAM, number)): rows[STREAM, number]})
        await all_steps(archiver)
        reached.append((await world.reader.archive_head(STREAM)).next_checkpoint)

    assert reached == [2, 3, 4]
    assert len([name for name in world.archive.objects if "/checkpoints/" in name]) == 1


async def test_of_topic_and_archive_the_longer_row_is_taken_over(world: ArchiveWorld) -> None:
    """Both were told at different moments: numbers that somebody has seen are not signed again."""
    sequencer = await world.sequencer()
    for _ in range(3):
        await world.write(3, sequencer)
        world.wait(EVERY_S)
    await all_steps(await world.archiver(keep_s=0))
    before = world.signed()
    forget_checkpoints(world)
    world.audit.broker.lose_tail(AUDIT_CHECKPOINTS, 0, 2)
    await world.write(3, await world.sequencer())

    assert world.signed()[:3] == before
    check_row(world, world.signed())


async def test_a_take_over_that_was_killed_goes_on(world: ArchiveWorld) -> None:
    sequencer = await world.sequencer()
    for _ in range(3):
        await world.write(3, sequencer)
        world.wait(EVERY_S)
    before = world.signed()
    tables = world.audit.database.tables
    tables.commit({("checkpoints", (STREAM, number)): None for number in (2, 3)})
    await world.write(3, await world.sequencer())

    assert world.signed()[:3] == before
    assert len(world.signed()) == 4
    check_row(world, world.signed())


async def test_beside_a_row_of_other_records_or_keys_nothing_is_signed(world: ArchiveWorld) -> None:
    await world.write(3, await world.sequencer())
    before = world.signed()
    forget_checkpoints(world)
    other = await world.sequencer(Ed25519PrivateKey.generate())
    await world.write(3, other)

    assert world.signed() == before
    assert await world.reader.last_checkpoint(STREAM) is None
    assert await world.audit.faults() == []


@pytest.mark.parametrize("point", ["sequencer.before_checkpoint", "sequencer.after_checkpoint"])
async def test_killed_at_either_step_the_row_goes_on(
    world: ArchiveWorld, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def hit(name: str) -> None:
        if name == point:
            raise FailpointError(name)

    with monkeypatch.context() as patched:
        patched.setattr("fileflux.metadata.checkpointer.failpoint", hit)
        with pytest.raises(FailpointError):
            await world.write(3, await world.sequencer())
    await world.write(3, await world.sequencer())

    check_row(world, world.signed())
    assert world.signed()[-1].position == 8


async def test_a_commit_of_which_nobody_knows_is_no_second_checkpoint(
    world: ArchiveWorld,
) -> None:
    sequencer = await world.sequencer(every_records=1)
    world.audit.database.faults.ambiguous_commits = 0.4
    for _ in range(10):
        await world.write(1, sequencer)
    world.audit.database.faults.ambiguous_commits = 0.0
    await turns(sequencer)

    check_row(world, world.signed())
    assert world.signed()[-1].position == world.published()[-1].position


@pytest.mark.parametrize(
    "change",
    [
        {"position": 9},
        {"number": 2},
        {"chain_hash": bytes(32)},
        {"time": "2020-01-01T00:00:00.000000Z"},
        {"stream": "other"},
        {"previous": bytes(31) + b"\x01"},
        {"public_key": bytes(32)},
        {"signature": bytes(64)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_checkpoint_of_which_anything_was_changed_is_not_signed(
    world: ArchiveWorld, change: dict[str, object]
) -> None:
    await world.write(3, await world.sequencer())
    (signed,) = world.signed()

    assert decode_checkpoint(encode_checkpoint(signed)) == signed
    assert not replace(signed, **change).is_signed  # type: ignore[arg-type]
