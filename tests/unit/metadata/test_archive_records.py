"""The archive alone, when broker and database are gone: what it holds is replayed to its end."""

import pytest
from tests.model.archive_world import AFTER_S, KEEP_S, all_steps, open_archive_world
from tests.model.rebuild_world import audited, rebuild

from fileflux.metadata.archive_records import ArchiveRecords
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.rebuild_target import RebuildRefused


async def read_all(source: ArchiveRecords, position: int = 1) -> list[NumberedRecord]:
    return [record async for run in source.read(position) for record in run]


async def test_every_archived_record_is_read_once_and_in_order_from_any_position() -> None:
    world = await open_archive_world()
    sequencer, archiver = await world.sequencer(), await world.archiver()
    for _ in range(3):
        await world.write(5, sequencer)
        world.wait(AFTER_S + KEEP_S)
        await all_steps(archiver)
    source = ArchiveRecords(world.archive)
    assert len(world.segments()) == 3

    published = world.published()
    assert await read_all(source) == published
    assert await read_all(source, 7) == published[6:]
    assert await read_all(source, len(published) + 1) == []
    made = MemoryDatabase()
    done = await rebuild(source, made)
    assert (done.position, audited(made)) == (len(published), audited(world.audit.database))


async def test_an_empty_archive_rebuilds_nothing_and_says_so() -> None:
    world = await open_archive_world()
    with pytest.raises(RebuildRefused, match="the stream has no record"):
        await rebuild(ArchiveRecords(world.archive), MemoryDatabase())
