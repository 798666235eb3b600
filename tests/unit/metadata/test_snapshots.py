"""A rebuild that begins with a snapshot ends where one from the first record does, or refuses."""

import hashlib
import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.metadata_changes import NODES, Maker
from tests.model.rebuild_world import audited, number, write
from tests.model.snapshot_world import SnapshotWorld

from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BundleId
from fileflux.metadata.archive_blocks import ArchivedBlocks
from fileflux.metadata.audit_log import read_database, verify
from fileflux.metadata.digest import digest_of
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.rebuild import EVERYTHING, Until
from fileflux.metadata.rebuild_target import RebuildRefused, RebuildTarget, refuse_unfinished
from fileflux.metadata.rows import BundleRow, ReplicaRow
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.snapshot import MemorySnapshot
from fileflux.metadata.snapshot_format import (
    FORMAT,
    VERSION,
    Part,
    decode_manifest,
    encode_manifest,
)
from fileflux.metadata.snapshot_load import SnapshotInvalid, SnapshotLoader, choose, list_snapshots
from fileflux.metadata.snapshot_write import SnapshotRefused


async def made(world: SnapshotWorld, **options: Any) -> MemoryDatabase:
    database = MemoryDatabase()
    await world.rebuild(database, MemoryReader(database), **options)
    return database


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1 << 32), batch=st.integers(1, 40))
async def test_a_snapshot_and_the_rest_are_the_same_as_all_records(seed: int, batch: int) -> None:
    world = SnapshotWorld()
    await world.storm(seed, 30)
    taken = await world.take()
    await world.archive_all()
    await world.storm(seed + 1, 20)

    short = await made(world, snapshot=True, records_per_batch=batch)
    long = await made(world, snapshot=False)
    assert audited(short) == audited(long)
    ours, theirs = [await digest_of(MemorySnapshot(one)) for one in (short, world.database)]
    assert (ours.whole, ours.head.chain_hash) == (theirs.whole, theirs.head.chain_hash)
    assert taken.tables.keys() >= ours.tables.keys()
    reader = MemoryReader(short, ArchivedBlocks(world.archive))
    found = await verify(read_database(reader), head=await reader.audit_head(STREAM))
    assert found.faults == ()
    assert found.record_count == theirs.head.next_position - 1


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1 << 32), batch=st.integers(1, 40))
async def test_rows_that_were_ahead_of_their_numbers_are_overtaken_by_the_replay(
    seed: int, batch: int
) -> None:
    """A busy database always has transactions that are not numbered yet."""
    world = SnapshotWorld()
    await world.storm(seed, 20)
    maker, rng = Maker(seed), random.Random(seed)
    bucket = maker.bucket("busy")
    await write(world.database, maker.user(), bucket)
    await number(world.database, world.reader)
    for _ in range(12):
        key = rng.choice((b"a", b"b"))
        change = maker.put(bucket, key) if rng.random() < 0.6 else maker.delete(bucket, key)
        await write(world.database, change)
    assert await MemorySnapshot(world.database).waiting() > 0
    taken = await world.take()
    assert taken.position < taken.whole_at
    await world.archive_all()
    await write(world.database, maker.put(bucket, b"c"))
    await number(world.database, world.reader)

    short = await made(world, snapshot=True, records_per_batch=batch)
    assert audited(short) == audited(await made(world, snapshot=False))
    with pytest.raises(RebuildRefused, match="no snapshot to begin with"):
        await choose(world.archive, None, Until(position=taken.whole_at - 1))
    assert await choose(world.archive, None, Until(position=taken.whole_at)) == taken
    with pytest.raises(RebuildRefused, match="no snapshot to begin with"):
        await choose(world.archive, None, Until(at_us=taken.whole_us - 1))
    assert await choose(world.archive, taken.position, Until(at_us=taken.whole_us)) == taken


async def test_a_moment_in_which_a_name_is_given_or_taken_is_passed_over() -> None:
    """Names are unique: a replay that is behind would meet the later owner of one."""
    world = SnapshotWorld()
    await world.storm(1, 10)
    maker = Maker(2)
    await write(world.database, maker.user("zoe", maker.id()))
    taken = await world.take()
    head = await world.reader.audit_head(STREAM)
    assert taken.position == taken.whole_at == head.next_position - 1
    assert not await world.reader.pending_audit(limit=1)


async def test_a_source_that_ends_before_the_snapshot_is_whole_is_refused() -> None:
    world = SnapshotWorld()
    await world.storm(3, 20)
    taken = await world.take()
    await world.archive_all()
    database = MemoryDatabase()
    reader = MemoryReader(database)
    ahead = decode_manifest(world.archive.objects[taken.name])
    fields = {name: getattr(ahead, name) for name in ahead.__dataclass_fields__}
    await SnapshotLoader(world.archive, database, reader).load(
        type(ahead)(**{**fields, "whole_at": taken.position + 1})
    )
    target = RebuildTarget(database, reader)
    await target.begin()
    with pytest.raises(RebuildRefused, match="is whole from"):
        await target.finish()
    with pytest.raises(RebuildRefused, match="is being rebuilt"):
        await refuse_unfinished(reader)


async def test_a_changed_part_is_found_before_anything_is_stored() -> None:
    world = SnapshotWorld()
    await world.storm(4, 20)
    taken = await world.take()
    await world.archive_all()
    name = taken.parts[0].name
    world.archive.objects[name] = world.archive.objects[taken.parts[1].name]
    database = MemoryDatabase()
    with pytest.raises(SnapshotInvalid, match="another digest"):
        await SnapshotLoader(world.archive, database, MemoryReader(database)).load(taken)
    assert not await MemoryReader(database).holds_anything()
    del world.archive.objects[name]
    with pytest.raises(SnapshotInvalid, match="cannot be used"):
        await SnapshotLoader(world.archive, database, MemoryReader(database)).load(taken)


async def test_rows_that_a_manifest_does_not_vouch_for_leave_a_database_nobody_uses() -> None:
    world = SnapshotWorld()
    await world.storm(5, 20)
    taken = await world.take()
    await world.archive_all()
    fields = {name: getattr(taken, name) for name in taken.__dataclass_fields__}
    wrong = type(taken)(**{**fields, "parts": taken.parts[1:]})
    database = MemoryDatabase()
    reader = MemoryReader(database)
    with pytest.raises(SnapshotInvalid, match="another digest"):
        await SnapshotLoader(world.archive, database, reader).load(wrong)
    with pytest.raises(RebuildRefused, match="drop it"):
        await RebuildTarget(database, reader).begin()
    with pytest.raises(RebuildRefused):
        await refuse_unfinished(reader)


async def test_bundles_and_replicas_come_along() -> None:
    """The nodes' inventories are asked afterwards, and may say less: a node that is away."""
    world = SnapshotWorld()
    await world.storm(8, 20)
    bundle_id = BundleId(b"b" * 16)
    bundle = BundleRow(
        bundle_id=bundle_id, size_class=1, state="live", wanted=3, size=9, crc=8, at_us=7
    )
    replicas = {
        ("replicas", (bundle_id, node)): ReplicaRow(
            bundle_id=bundle_id, node_id=node, epoch=2, size=9, crc=8
        )
        for node in NODES
    }
    world.database.tables.commit({("bundles", (bundle_id,)): bundle, **replicas})
    await world.take()
    await world.archive_all()
    short = await made(world, snapshot=True)
    for table in ("bundles", "replicas"):
        assert short.tables.rows(table) == world.database.tables.rows(table)


async def test_a_snapshot_of_another_history_is_refused() -> None:
    world, other = SnapshotWorld(), SnapshotWorld()
    await world.storm(6, 20)
    await other.storm(7, 20)
    taken = await world.take()
    await other.archive_all()
    database = MemoryDatabase()
    with pytest.raises(SnapshotInvalid, match="belongs to another FileFlux"):
        await SnapshotLoader(other.archive, database, MemoryReader(database)).load(taken)
    assert not await MemoryReader(database).holds_anything()


async def test_the_list_says_of_each_snapshot_what_is_wrong_with_it() -> None:
    world = SnapshotWorld()
    with pytest.raises(SnapshotRefused, match="nothing to begin with"):
        await world.take()
    await world.storm(8, 10)
    early = await world.take()
    assert [one.problem for one in await list_snapshots(world.archive)] == [
        "the archive has not the records up to its position yet"
    ]
    await world.archive_all()
    await world.storm(9, 10)
    late = await world.take()
    bad = late.name[:-5] + "0.json"
    world.archive.objects[bad] = world.archive.objects[late.name]
    found = {one.name: one.problem for one in await list_snapshots(world.archive)}
    assert found[early.name] == ""
    assert found[late.name] == "the archive has not the records up to its position yet"
    assert found[bad] == "it holds the manifest of another snapshot"
    assert await choose(world.archive, None, EVERYTHING) == early
    with pytest.raises(RebuildRefused, match=f"at position {late.position}"):
        await choose(world.archive, late.position, EVERYTHING)
    with pytest.raises(EventInvalid, match="manifest was changed"):
        decode_manifest(world.archive.objects[early.name].replace(b"objects", b"objectz"))


async def test_a_manifest_cannot_name_another_file() -> None:
    """It comes from outside: a part is read by its name."""
    world = SnapshotWorld()
    await world.storm(9, 10)
    taken = await world.take()
    fields = {name: getattr(taken, name) for name in taken.__dataclass_fields__}
    parts = (Part("main/snapshot-parts/../../secret.jsonl.gz", "00", 1),)
    with pytest.raises(EventInvalid, match="parts that are none"):
        decode_manifest(encode_manifest(type(taken)(**{**fields, "parts": parts})))


@pytest.mark.parametrize(
    "bad",
    [
        {"whole_at": "7"},
        {"whole_at": 1},
        {"whole_us": None},
        {"made_us": 1 << 62},
        {"parts": [[7, "00", 1]]},
        {"parts": [["", "00", "1"]]},
        {"tables": {"objects": ["1", "00"]}},
        {"tables": {"secrets": [1, "00"]}},
        {"tables": 3},
    ],
    ids=str,
)
async def test_a_manifest_of_other_shapes_is_refused_with_a_sentence(bad: dict[str, Any]) -> None:
    """Its digest is right: somebody made it so."""
    world = SnapshotWorld()
    await world.storm(9, 10)
    taken = await world.take()
    body = orjson.loads(world.archive.objects[taken.name].split(b"\n")[1]) | bad
    raw = orjson.dumps(body)
    head = {"format": FORMAT, "version": VERSION, "digest": hashlib.sha256(raw).hexdigest()}
    world.archive.objects[taken.name] = orjson.dumps(head) + b"\n" + raw + b"\n"
    with pytest.raises(EventInvalid):
        decode_manifest(world.archive.objects[taken.name])
    (listed,) = await list_snapshots(world.archive)
    assert listed.manifest is None
