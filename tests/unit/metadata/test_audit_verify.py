"""`audit verify` over database, topic, archive, checkpoints: whole, or it says where it is not."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.model.archive_world import (
    AFTER_S,
    EVERY_S,
    KEEP_S,
    KEY,
    ArchiveWorld,
    all_steps,
    open_archive_world,
)

from fileflux.core.ids import BucketId
from fileflux.events.topics import AUDIT, AUDIT_CHECKPOINTS
from fileflux.metadata.archive_format import decode_segment, encode_segment, segment_of
from fileflux.metadata.audit_verify import Everywhere, NoSuchCheckpoint, verify_everywhere
from fileflux.metadata.chain import SYSTEM_STREAM, NumberedRecord, block_of, unpack_block
from fileflux.metadata.checkpoint import decode_checkpoint, encode_checkpoint
from fileflux.metadata.sequencer import STREAM

ROUNDS, PER_ROUND = 3, 4


@pytest.fixture
async def world() -> ArchiveWorld:
    """Three segments and as many checkpoints; the first segment's range left the database."""
    made = await open_archive_world()
    sequencer = await made.sequencer()
    for age_s in (KEEP_S, 0, 0):
        await made.write(PER_ROUND, sequencer)
        made.wait(AFTER_S + EVERY_S + age_s)
        await all_steps(await made.archiver())
    await made.write(1, sequencer)
    return made


async def verified(
    world: ArchiveWorld,
    *,
    keys: list[bytes] | None = None,
    with_archive: bool = True,
    from_checkpoint: int | None = None,
) -> Everywhere:
    broker = world.audit.broker
    return await verify_everywhere(
        world.reader if with_archive else world.audit.world.reader,
        topic=await broker.source([(AUDIT, 0)]),
        checkpoints=await broker.source([(AUDIT_CHECKPOINTS, 0)]),
        archive=world.archive if with_archive else None,
        stream=STREAM,
        keys=keys,
        clock=world.audit.clock,
        wait_s=0.0,
        from_checkpoint=from_checkpoint,
    )


def faults(found: Everywhere) -> dict[str, list[tuple[int, str]]]:
    assert found.archive is not None
    places = {
        "database": found.database,
        "topic": found.topic,
        "archive": found.archive,
        "checkpoints": found.checkpoints,
    }
    return {
        name: sorted({(fault.position, fault.kind) for fault in place.faults})
        for name, place in places.items()
        if place.faults
    }


async def test_what_is_whole_is_whole_everywhere(world: ArchiveWorld) -> None:
    found = await verified(world)

    assert faults(found) == {}
    assert found.is_whole
    assert found.archive is not None
    assert (found.database.record_count, found.archive.record_count) == (15, 14)
    assert found.checkpoints.record_count == 4
    assert found.signed_to == 15
    kept = await world.audit.world.reader.audit_blocks(STREAM, 1, limit=1)
    assert kept[0].first_position == 7, "part of it comes from the archive"


async def test_without_the_archive_what_left_the_database_is_missing(world: ArchiveWorld) -> None:
    found = await verified(world, with_archive=False)

    assert [(f.position, f.kind) for f in found.database.faults] == [(1, "missing")]
    assert found.not_looked_at == 14


async def test_a_segment_that_is_missing_is_found(world: ArchiveWorld) -> None:
    del world.archive.objects[world.segments()[1]]

    assert faults(await verified(world)) == {"archive": [(7, "missing")]}


async def test_a_segment_that_is_missing_where_the_database_has_none_is_found_twice(
    world: ArchiveWorld,
) -> None:
    del world.archive.objects[world.segments()[0]]
    found = faults(await verified(world))

    assert found["database"] == found["archive"] == [(1, "missing")]


async def test_a_segment_at_the_end_that_is_missing_is_found(world: ArchiveWorld) -> None:
    del world.archive.objects[world.segments()[-1]]

    assert faults(await verified(world)) == {"archive": [(11, "missing")]}


async def test_a_segment_that_was_cut_is_found(world: ArchiveWorld) -> None:
    name = world.segments()[1]
    world.archive.objects[name] = world.archive.objects[name][:-20]
    found = faults(await verified(world))

    assert (7, "changed") in found["archive"]


async def test_a_segment_with_another_history_is_found_where_it_begins(
    world: ArchiveWorld,
) -> None:
    """Somebody made it whole again after the change: digest, hashes and all."""
    name = world.segments()[1]
    records = list(decode_segment(world.archive.objects[name]).records)
    records[1] = replace(records[1], payload=records[1].payload.replace(b"user", b"uses"))
    for place in (2, 3):
        records[place] = replace(records[place], previous_hash=records[place - 1].chain_hash)
    world.archive.objects[name] = encode_segment(segment_of(STREAM, records))
    found = faults(await verified(world))

    assert found == {"archive": [(10, "changed")]}, "the record behind it names another hash"


async def test_two_segments_with_each_others_names_are_found(world: ArchiveWorld) -> None:
    objects, (_, one, other) = world.archive.objects, world.segments()
    objects[one], objects[other] = objects[other], objects[one]
    found = faults(await verified(world))

    assert {(7, "changed"), (11, "changed")} <= set(found["archive"])


async def test_records_that_were_given_to_another_bucket_are_found_wherever_they_lie(
    world: ArchiveWorld,
) -> None:
    """All of a bucket's, so that every sequence is as it should be, and every hash."""
    other = BucketId(bytes(range(16)))

    def moved(records: Sequence[NumberedRecord]) -> list[NumberedRecord]:
        named = [one for one in records if one.stream != SYSTEM_STREAM]
        assert len({one.stream for one in named}) == 1
        return [replace(one, stream=other) if one in named else one for one in records]

    tables = world.audit.database.tables
    for key, block in list(tables.rows("audit_blocks").items()):
        forged = block_of(STREAM, moved(unpack_block(block)))
        tables.commit({("audit_blocks", key): forged})
    name = world.segments()[0]
    records = decode_segment(world.archive.objects[name]).records
    world.archive.objects[name] = encode_segment(segment_of(STREAM, moved(records)))
    found = faults(await verified(world))

    bucket = {(position, "changed") for position in range(2, 16)}
    assert (set(found["database"]), found["archive"]) == (bucket, sorted(bucket)[:5])


def _change_line(world: ArchiveWorld, number: int, change: Callable[[bytes], bytes]) -> None:
    tables = world.audit.database.tables
    stored = tables.rows("checkpoints")[STREAM, number]
    tables.commit({("checkpoints", (STREAM, number)): replace(stored, line=change(stored.line))})


async def test_a_forged_checkpoint_is_found(world: ArchiveWorld) -> None:
    def forged(line: bytes) -> bytes:
        return encode_checkpoint(replace(decode_checkpoint(line), chain_hash=bytes(32)))

    _change_line(world, 2, forged)
    found = faults(await verified(world))

    assert set(found) == {"checkpoints"}
    assert (10, "forged") in found["checkpoints"]


async def test_a_checkpoint_that_is_not_readable_is_found(world: ArchiveWorld) -> None:
    _change_line(world, 2, lambda line: line[:-1])

    assert (0, "changed") in faults(await verified(world))["checkpoints"]


async def test_a_checkpoint_that_is_missing_is_found(world: ArchiveWorld) -> None:
    world.audit.database.tables.commit({("checkpoints", (STREAM, 2)): None})

    assert (14, "missing") in faults(await verified(world))["checkpoints"]


async def test_checkpoints_that_the_topic_or_the_archive_lacks_are_found(
    world: ArchiveWorld,
) -> None:
    broker = world.audit.broker
    del broker.log(AUDIT_CHECKPOINTS, 0).records[1]
    assert (10, "missing") in faults(await verified(world))["checkpoints"]

    broker.wipe(AUDIT_CHECKPOINTS)
    for name in [name for name in world.archive.objects if "/checkpoints/" in name][-1:]:
        del world.archive.objects[name]
    found = await verified(world)
    assert any("in the archive" in fault.detail for fault in found.checkpoints.faults)


async def test_only_the_keys_that_were_named_count(world: ArchiveWorld) -> None:
    ours = KEY.public_key().public_bytes_raw()
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()

    assert (await verified(world, keys=[ours, other])).is_whole
    assert {kind for _, kind in faults(await verified(world, keys=[other]))["checkpoints"]} == {
        "forged"
    }


# From a checkpoint on


async def test_behind_a_checkpoint_only_what_came_later_is_read(world: ArchiveWorld) -> None:
    found = await verified(world, from_checkpoint=2)

    assert faults(found) == {}
    assert found.start is not None
    assert found.start.position == 10
    assert found.archive is not None
    counts = (found.database.record_count, found.topic.record_count, found.archive.record_count)
    assert counts == (5, 5, 4)
    assert (found.checkpoints.record_count, found.signed_to) == (3, 15)


async def test_a_checkpoint_at_the_end_leaves_nothing_to_read(world: ArchiveWorld) -> None:
    found = await verified(world, from_checkpoint=4)

    assert faults(found) == {}
    assert (found.database.record_count, found.topic.record_count) == (0, 0)


async def test_damage_before_a_checkpoint_is_not_looked_at_and_behind_it_is_found(
    world: ArchiveWorld,
) -> None:
    del world.archive.objects[world.segments()[0]]
    assert (await verified(world, from_checkpoint=2)).is_whole

    del world.archive.objects[world.segments()[-1]]
    assert faults(await verified(world, from_checkpoint=2)) == {"archive": [(11, "missing")]}


async def test_a_topic_that_begins_behind_the_checkpoint_lacks_what_is_before(
    world: ArchiveWorld,
) -> None:
    await world.audit.broker.drop_records(AUDIT, 0, 12)

    assert faults(await verified(world, from_checkpoint=2)) == {"topic": [(11, "missing")]}


async def test_another_record_than_the_checkpoint_was_signed_for_is_found_by_its_successor(
    world: ArchiveWorld,
) -> None:
    """Nobody has the record itself read, so the next one tells."""
    tables = world.audit.database.tables
    key, block = list(tables.rows("audit_blocks").items())[1]
    records = unpack_block(block)
    assert records[0].position == 11
    forged = [replace(records[0], previous_hash=bytes(32))]
    for one in records[1:]:
        forged.append(replace(one, previous_hash=forged[-1].chain_hash))
    tables.commit({("audit_blocks", key): block_of(STREAM, forged)})
    found = faults(await verified(world, from_checkpoint=2))

    assert (10, "changed") in found["database"]


async def test_a_start_that_no_key_of_ours_signed_is_found(world: ArchiveWorld) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    found = faults(await verified(world, from_checkpoint=2, keys=[other]))

    assert (10, "forged") in found["checkpoints"]


async def test_there_is_no_start_at_a_checkpoint_that_nobody_signed(world: ArchiveWorld) -> None:
    with pytest.raises(NoSuchCheckpoint, match="checkpoint 9"):
        await verified(world, from_checkpoint=9)
    world.audit.database.tables.commit({("checkpoints", (STREAM, 2)): None})
    with pytest.raises(NoSuchCheckpoint):
        await verified(world, from_checkpoint=2)


async def test_a_newest_block_that_is_damaged_is_a_fault_and_not_an_end_of_the_verification(
    world: ArchiveWorld,
) -> None:
    tables = world.audit.database.tables
    key, block = list(tables.rows("audit_blocks").items())[-1]
    tables.commit({("audit_blocks", key): replace(block, payload=block.payload[:-1])})
    found = await verified(world)

    assert (block.first_position, "changed") in faults(found)["database"]
    assert not found.is_whole


@pytest.mark.parametrize("at", [0, 4, -1])
async def test_a_record_of_the_topic_that_is_none_is_a_fault_and_not_an_end_of_the_verification(
    world: ArchiveWorld, at: int
) -> None:
    records = world.audit.broker.log(AUDIT, 0).records
    position = range(1, len(records) + 1)[at]
    records[at] = replace(records[at], headers=())
    found = await verified(world)

    assert (position, "changed") in faults(found)["topic"]
    assert "database" not in faults(found)
    assert found.topic.unpublished == (1 if at == -1 else 0)


async def test_a_record_that_came_again_long_after_and_differs_is_found(
    world: ArchiveWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are verified one by one: what came again was not compared with what was seen first."""
    monkeypatch.setattr("fileflux.metadata.audit_log.RECORDS_PER_RUN", 4)
    records = world.audit.broker.log(AUDIT, 0).records
    again = records[-6:]
    records += [
        replace(one, position=replace(one.position, offset=len(records) + n))
        for n, one in enumerate(again)
    ]
    assert (await verified(world)).is_whole
    forged = records[-5]
    records[-5] = replace(forged, value=forged.value.replace(b'"open"', b'"opeN"'))
    assert records[-5].value != forged.value
    found = await verified(world)

    assert [kind for _, kind in faults(found)["topic"]] == ["changed"]
