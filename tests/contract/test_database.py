"""One suite for every database: what writers may rely on (`metadata/ports.py`, `Database`)."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.model.metadata_changes import ACTOR, AT_US, NODES
from tests.model.metadata_ports import Metadata, memory_metadata, postgres_metadata

from fileflux.core.changes import Change, CreateKey, DeleteUser, SetNodeIntent
from fileflux.core.errors import LaneLost
from fileflux.core.ids import BundleId, NodeId, SealId
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.audit_record import SYSTEM_STREAM, unpack_pending
from fileflux.metadata.chain import first_head, number_blocks, unpack_block
from fileflux.metadata.migrate import migrate
from fileflux.metadata.overlay import NO_HOLDER
from fileflux.metadata.ports import LanePosition, Transaction
from fileflux.metadata.rows import (
    PARTS_READ_MAX,
    UPLOADS_READ_MAX,
    Footprint,
    ReplicaRow,
    Rows,
    Settlement,
)

LANE = ("uploads.sealed", 3)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
async def metadata(request: pytest.FixtureRequest) -> AsyncIterator[Metadata]:
    if request.param == "memory":
        async with memory_metadata() as made:
            yield made
        return
    dsn = request.getfixturevalue("postgres_dsn")
    await migrate(dsn, rng=random.Random(1))
    async with postgres_metadata(dsn) as made:
        yield made


async def load(metadata: Metadata, needs: Footprint) -> Rows:
    return await metadata.database.run(lambda transaction: transaction.load_rows(needs))


def settlement(seal_id: SealId, *, aborted: bool = False) -> Settlement:
    return Settlement(seal_id=seal_id, outcomes=(), aborted=aborted, settled_us=AT_US)


def meet_once(count: int) -> Callable[[], Awaitable[None]]:
    """Return what waits until `count` transactions have come; those that are run again pass."""
    barrier, arrived = asyncio.Barrier(count), Counter[str]()

    async def meet() -> None:
        arrived["all"] += 1
        if arrived["all"] <= count:
            await barrier.wait()

    return meet


# Rows


async def test_rows_of_every_table_come_back_as_they_were_stored(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    put, later = maker.put(bucket, b"\x00\xff k"), maker.put(bucket, b"later", is_async=True)
    upload = maker.create_multipart(bucket, b"big")
    part = maker.part(upload, 7)
    node_id, access_key = NodeId(metadata.name), metadata.name
    base: dict[str, Any] = {"actor": ACTOR, "at_us": AT_US}
    key = CreateKey(
        upload_id=maker.id(),
        user_id=metadata.user_id,
        access_key=access_key,
        secret=b"\x00",
        **base,
    )
    intent = SetNodeIntent(
        upload_id=maker.id(), node_id=node_id, intent="drain", weight=0.5, **base
    )
    changes = [put, maker.accept(later), upload, part, key, intent]
    writes, outcomes = await metadata.decide(*changes)
    assert all(outcome.ok for outcome in outcomes)

    rows = await load(
        metadata,
        Footprint(
            bucket_ids=frozenset({bucket.bucket_id}),
            objects=frozenset({(bucket.bucket_id, put.key)}),
            multiparts={upload.upload_id: None},
            user_ids=frozenset({metadata.user_id}),
            access_keys=frozenset({access_key}),
            node_ids=frozenset({node_id}),
            async_ids=frozenset({later.upload_id}),
        ),
    )
    stored = {name: write.row for name, write in writes.rows.items()}
    assert rows.objects == {
        (bucket.bucket_id, put.key): stored["objects", (bucket.bucket_id, put.key)]
    }
    assert rows.uploads == {upload.upload_id: stored["uploads", (upload.upload_id,)]}
    assert rows.parts == {(upload.upload_id, 7): stored["parts", (upload.upload_id, 7)]}
    assert rows.keys == {access_key: stored["access_keys", (access_key,)]}
    assert rows.nodes == {node_id: stored["nodes", (node_id,)]}
    assert rows.async_uploads == {later.upload_id: stored["async_uploads", (later.upload_id,)]}
    assert rows.buckets[bucket.bucket_id].name == bucket.bucket
    assert rows.users[metadata.user_id].name == metadata.name
    assert rows.bucket_names == {bucket.bucket: bucket.bucket_id}
    assert rows.user_names == {metadata.name: metadata.user_id}


async def test_what_is_not_there_is_absent(metadata: Metadata) -> None:
    maker = metadata.maker
    missing = Footprint(
        bucket_ids=frozenset({maker.id()}),
        bucket_names=frozenset({"nobody's"}),
        objects=frozenset({(maker.id(), b"k")}),
        sources=frozenset({(maker.id(), b"k")}),
        multiparts={maker.id(): None, maker.id(): frozenset({1})},
        emptiness=frozenset({maker.id()}),
        user_ids=frozenset({maker.id()}),
        user_names=frozenset({"nobody"}),
        leaving_users=frozenset({maker.id()}),
        access_keys=frozenset({"none"}),
        node_ids=frozenset({NodeId("none")}),
        async_ids=frozenset({maker.id()}),
        contents=frozenset({maker.id()}),
    )
    rows = await load(metadata, missing)
    clock_us = await metadata.reader.clock_us()

    assert 0 <= clock_us - rows.clock_us < 60_000_000
    assert rows.stamp_max == 0
    for name in ("buckets", "bucket_names", "objects", "uploads", "parts", "users", "keys"):
        assert not getattr(rows, name), name
    assert not rows.non_empty
    assert not any(rows.owned_buckets.values())


async def test_a_removed_row_is_gone_and_its_floor_is_read(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    base: dict[str, Any] = {"actor": ACTOR, "at_us": AT_US}
    other = metadata.user("other")
    await metadata.do(maker.put(bucket, b"k"), other)
    removed = [
        (maker.delete(bucket, b"k"), Footprint(objects=frozenset({(bucket.bucket_id, b"k")}))),
        (
            DeleteUser(upload_id=maker.id(), user_id=other.user_id, **base),
            Footprint(user_names=frozenset({other.name})),
        ),
    ]
    for change, needs in removed:
        writes, outcomes = await metadata.decide(change)
        assert outcomes[0].ok
        rows = await load(metadata, needs)
        assert not rows.objects
        assert not rows.users
        assert rows.stamp_max >= writes.stamp


async def test_a_buckets_floor_covers_whatever_was_in_it(metadata: Metadata) -> None:
    """Removed keys and ended uploads; and its name keeps a floor for a namesake."""
    maker, bucket = metadata.maker, await metadata.made_bucket()
    upload = maker.create_multipart(bucket, b"k")
    emptiness = Footprint(emptiness=frozenset({bucket.bucket_id}))
    await metadata.do(maker.put(bucket, b"k"), upload)
    for change in (maker.delete(bucket, b"k"), maker.abort(upload)):
        writes, _ = await metadata.decide(change)
        assert (await load(metadata, emptiness)).stamp_max >= writes.stamp
    writes, outcomes = await metadata.decide(maker.delete_bucket(bucket))

    assert outcomes[0].ok
    rows = await load(metadata, Footprint(bucket_names=frozenset({bucket.bucket})))
    assert not rows.bucket_names
    assert rows.stamp_max >= writes.stamp


async def test_a_bucket_is_empty_but_for_the_keys_that_are_asked_for(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    upload = maker.create_multipart(bucket, b"u")
    part = maker.part(upload, 1)
    await metadata.do(maker.put(bucket, b"a"), upload, part)
    asked = Footprint(
        emptiness=frozenset({bucket.bucket_id}), objects=frozenset({(bucket.bucket_id, b"a")})
    )
    rows = await load(metadata, asked)

    assert rows.non_empty == set()
    assert rows.open_uploads == {bucket.bucket_id: {upload.upload_id}}
    assert rows.uploads.keys() == {upload.upload_id}
    assert rows.parts.keys() == {(upload.upload_id, 1)}
    await metadata.do(maker.put(bucket, b"b"))
    assert (await load(metadata, asked)).non_empty == {bucket.bucket_id}


async def test_a_leaving_users_belongings_are_counted(metadata: Metadata) -> None:
    maker = metadata.maker
    await metadata.made_bucket()
    await metadata.made_bucket("two")
    keys = [
        CreateKey(
            upload_id=maker.id(),
            actor=ACTOR,
            at_us=AT_US,
            user_id=metadata.user_id,
            access_key=f"{metadata.name}{n}",
            secret=b"s",
        )
        for n in range(2)
    ]
    await metadata.do(*keys)
    rows = await load(metadata, Footprint(leaving_users=frozenset({metadata.user_id})))

    assert rows.owned_buckets == {metadata.user_id: 2}
    assert rows.keys.keys() == {key.access_key for key in keys}


async def test_of_shared_content_enough_holders_are_read_to_know_the_last(
    metadata: Metadata,
) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    put = maker.put(bucket, b"a")
    await metadata.do(put)
    for number in range(6):
        rows = await load(metadata, Footprint(sources=frozenset({(bucket.bucket_id, b"a")})))
        source = rows.objects[(bucket.bucket_id, b"a")]
        await metadata.do(maker.copy(bucket, b"copy-%d" % number, source))

    for keys in ([b"a"], [b"copy-3"], [b"a", b"copy-0", b"copy-5"]):
        places = frozenset((bucket.bucket_id, key) for key in keys)
        rows = await load(metadata, Footprint(objects=places))
        holders = rows.holders[put.upload_id]
        own = {row.version_id for row in rows.objects.values()}
        assert holders[NO_HOLDER].manifest == put.manifest
        assert holders.keys() - own - {NO_HOLDER}


async def test_content_of_a_completed_upload_is_read_with_the_object_that_may_drop_it(
    metadata: Metadata,
) -> None:
    """And not with one that is only copied from."""
    maker, bucket = metadata.maker, await metadata.made_bucket()
    upload = maker.create_multipart(bucket, b"k")
    parts = [maker.part(upload, number) for number in (1, 2)]
    await metadata.do(upload, *parts, maker.complete(upload, parts))
    place = frozenset({(bucket.bucket_id, b"k")})

    dropped = await load(metadata, Footprint(objects=place))
    assert dropped.parts.keys() == {(upload.upload_id, 1), (upload.upload_id, 2)}
    copied = await load(metadata, Footprint(sources=place))
    assert copied.objects.keys() == dropped.objects.keys()
    assert not copied.parts


async def test_only_so_many_parts_are_read_to_be_dropped(metadata: Metadata) -> None:
    """Content is read whole or not at all; what was left behind is read whatever its size."""
    maker, bucket = metadata.maker, await metadata.made_bucket()
    uploads = [maker.create_multipart(bucket, b"%d" % n) for n in range(3)]
    for upload in uploads:
        parts = [maker.part(upload, n) for n in range(1, PARTS_READ_MAX // 2)]
        await metadata.do(upload, *parts)
        await metadata.do(maker.complete(upload, parts))
    places = frozenset((bucket.bucket_id, upload.key) for upload in uploads)
    rows = await load(metadata, Footprint(objects=places))
    read = Counter(upload_id for upload_id, _ in rows.parts)
    assert sorted(read.values()) == [PARTS_READ_MAX // 2 - 1] * 2

    outcomes = await metadata.do(*(maker.delete(bucket, upload.key) for upload in uploads))
    assert all(outcome.ok for outcome in outcomes)
    (left,) = {upload.upload_id for upload in uploads} - read.keys()
    rows = await load(metadata, Footprint(contents=frozenset({left})))
    assert rows.holders[left].keys() == {NO_HOLDER}
    assert len(rows.parts) == PARTS_READ_MAX // 2 - 1
    (outcome,) = await metadata.do(maker.drop(left))
    assert outcome.ok
    rows = await load(metadata, Footprint(contents=frozenset({left})))
    assert not rows.parts
    assert not rows.holders.get(left)


async def test_only_so_many_open_uploads_go_with_their_bucket(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    uploads = [maker.create_multipart(bucket, b"k") for _ in range(UPLOADS_READ_MAX + 5)]
    await metadata.do(*uploads)
    (outcome,) = await metadata.do(maker.delete_bucket(bucket))
    assert outcome.ok

    found = [await metadata.reader.find_upload(upload.upload_id) for upload in uploads]
    left = [upload for upload in found if upload is not None and upload.state == "open"]
    assert len(left) == 5
    outcomes = await metadata.do(*map(maker.abort_orphan, left))
    assert all(outcome.ok for outcome in outcomes)


async def test_named_parts_only_are_read_of_an_upload(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    upload = maker.create_multipart(bucket, b"k")
    await metadata.do(upload, *(maker.part(upload, number) for number in (1, 2, 3)))

    rows = await load(metadata, Footprint(multiparts={upload.upload_id: frozenset({2, 9})}))
    assert rows.parts.keys() == {(upload.upload_id, 2)}


# Transactions


async def test_an_exception_rolls_back_and_comes_out_as_it_is(metadata: Metadata) -> None:
    bucket = metadata.bucket()
    changes = [metadata.user(), bucket]

    async def work(transaction: Transaction) -> None:
        rows = await transaction.load_rows(footprint(changes))
        await transaction.store_writes(apply(rows, changes)[0])
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await metadata.database.run(work)
    assert await metadata.reader.find_buckets([bucket.bucket]) == {}


async def test_two_that_read_each_others_absence_do_not_both_write(metadata: Metadata) -> None:
    """Write skew: what SERIALIZABLE is for. The loser is run again and sees the winner."""
    seals = [SealId(metadata.maker.id()), SealId(metadata.maker.id())]
    meet, attempts = meet_once(2), Counter[int]()

    async def write(number: int) -> bool:
        async def work(transaction: Transaction) -> bool:
            attempts[number] += 1
            found = await transaction.load_settlements(seals)
            await meet()
            if not found:
                await transaction.store_settlements([settlement(seals[number])])
            return not found

        return await metadata.database.run(work)

    assert sorted(await asyncio.gather(write(0), write(1))) == [False, True]
    assert attempts.total() >= 3


async def test_no_object_lands_in_a_bucket_that_is_deleted_at_the_same_time(
    metadata: Metadata,
) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    meet = meet_once(2)

    async def attempt(*changes: Change) -> str:
        async def work(transaction: Transaction) -> str:
            rows = await transaction.load_rows(footprint(changes))
            await meet()
            writes, outcomes = apply(rows, changes)
            await transaction.store_writes(writes)
            return outcomes[0].status

        return await metadata.database.run(work)

    statuses = await asyncio.gather(
        attempt(maker.put(bucket, b"k")), attempt(maker.delete_bucket(bucket))
    )
    assert sorted(statuses) in (["BucketNotEmpty", "ok"], ["NoSuchBucket", "ok"])


async def test_one_bucket_name_goes_to_one_of_two_who_want_it_at_once(metadata: Metadata) -> None:
    await metadata.do(metadata.user())
    first, second = metadata.bucket(), metadata.bucket()

    outcomes = await asyncio.gather(metadata.do(first), metadata.do(second))
    assert sorted(o.status for (o,) in outcomes) == ["BucketAlreadyOwnedByYou", "ok"]


async def test_many_writers_of_one_key_each_see_the_one_before(metadata: Metadata) -> None:
    """The stamps of a key's versions strictly grow, one transaction each."""
    maker, bucket = metadata.maker, await metadata.made_bucket()
    puts = [maker.put(bucket, b"k") for _ in range(12)]
    outcomes = [outcome for (outcome,) in await asyncio.gather(*map(metadata.do, puts))]

    assert all(outcome.ok for outcome in outcomes)
    assert len({outcome.stamp for outcome in outcomes}) == len(puts)
    rows = await load(metadata, Footprint(objects=frozenset({(bucket.bucket_id, b"k")})))
    last = max(outcomes, key=lambda outcome: outcome.stamp)
    assert rows.objects[(bucket.bucket_id, b"k")].version_id == last.version_id


# Seals, bundles, replicas


async def test_a_seal_settles_once_and_the_first_writer_wins(metadata: Metadata) -> None:
    seal_id = SealId(metadata.maker.id())
    meet = meet_once(2)

    async def settle(*, aborted: bool) -> Settlement:
        async def work(transaction: Transaction) -> Settlement:
            found = await transaction.load_settlements([seal_id])
            await meet()
            if seal_id in found:
                return found[seal_id]
            mine = settlement(seal_id, aborted=aborted)
            await transaction.store_settlements([mine])
            return mine

        return await metadata.database.run(work)

    one, other = await asyncio.gather(settle(aborted=True), settle(aborted=False))
    assert one == other


async def test_outcomes_of_a_settlement_come_back(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    outcomes = await metadata.do(
        maker.put(bucket, b"k"), replace(maker.put(bucket, b"k"), bucket_id=maker.id())
    )
    wanted = replace(settlement(SealId(maker.id())), outcomes=tuple(outcomes))
    await metadata.database.run(lambda transaction: transaction.store_settlements([wanted]))

    found = await metadata.database.run(
        lambda transaction: transaction.load_settlements([wanted.seal_id, SealId(maker.id())])
    )
    assert found == {wanted.seal_id: wanted}


async def test_replicas_stored_twice_are_stored_once_and_the_last_one_counts(
    metadata: Metadata,
) -> None:
    bundle_id, other = BundleId(metadata.maker.id()), BundleId(metadata.maker.id())
    first = [
        ReplicaRow(bundle_id=bundle_id, node_id=node_id, epoch=1, size=10, crc=0xFFFFFFFF)
        for node_id in NODES[:2]
    ]
    moved = replace(first[0], epoch=2)
    for replicas in (first, first, [moved]):
        await metadata.database.run(lambda t, rows=replicas: t.store_replicas(rows))  # type: ignore[misc]

    found = await metadata.database.run(lambda t: t.load_replicas([bundle_id, other]))
    assert {row.node_id: row for row in found[bundle_id]} == {
        NODES[0]: moved,
        NODES[1]: first[1],
    }
    assert not found.get(other)


async def test_a_bundle_is_live_with_the_transaction_that_seals_it(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    put = maker.put(bucket, b"k")
    seal = maker.seal(put, states={})
    bundle_id = seal.seal.bundles[0].bundle_id
    before = await metadata.database.run(lambda t: t.load_bundle_states([bundle_id]))
    await metadata.do(put, seals=[seal])

    after = await metadata.database.run(lambda t: t.load_bundle_states([bundle_id]))
    assert (before, after) == ({}, {bundle_id: "live"})


async def test_a_sealing_transaction_reads_everything_at_once_its_own_replicas_too(
    metadata: Metadata,
) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    put = maker.put(bucket, b"k")
    await metadata.do(put, seals=[maker.seal(put, states={})])
    bundle_id = put.manifest.chunks[0].bundle_id
    mine = settlement(SealId(maker.id()))
    stored, own = (
        ReplicaRow(bundle_id=bundle_id, node_id=node_id, epoch=1, size=1, crc=1)
        for node_id in NODES[:2]
    )
    await metadata.database.run(lambda t: t.store_settlements([mine]))
    await metadata.database.run(lambda t: t.store_replicas([stored]))

    async def work(transaction: Transaction) -> None:
        await transaction.store_replicas([own])
        needs = Footprint(objects=frozenset({(bucket.bucket_id, b"k")}))
        found = await transaction.load_sealing([mine.seal_id], [bundle_id], needs)
        assert found.settlements == {mine.seal_id: mine}
        assert set(found.replicas[bundle_id]) == {stored, own}
        assert found.bundle_states == {bundle_id: "live"}
        assert found.rows.objects.keys() == needs.objects
        assert found.rows.clock_us > 0

    await metadata.database.run(work)


# Positions and numbers


async def test_a_position_moves_for_whoever_knows_its_turn(metadata: Metadata) -> None:
    topic = metadata.name
    start = LanePosition(topic, 3, turn=0, offset=None)
    first = LanePosition(topic, 3, turn=1, offset=17, before_us=AT_US, before_crc=0xFFFFFFFF)
    await metadata.database.run(lambda t: t.move_positions([start], [first]))
    assert await metadata.reader.lane_positions([(topic, 3)]) == {(topic, 3): first}

    stolen = replace(first, offset=99)
    with pytest.raises(LaneLost):
        await metadata.database.run(lambda t: t.move_positions([start], [stolen]))
    assert await metadata.reader.lane_positions([(topic, 3)]) == {(topic, 3): first}


async def test_whoever_lost_the_lane_writes_nothing_else(metadata: Metadata) -> None:
    topic, seal_id = metadata.name, SealId(metadata.maker.id())
    start = LanePosition(topic, 0, turn=0, offset=None)
    await metadata.database.run(lambda t: t.move_positions([start], [replace(start, turn=1)]))

    async def zombie(transaction: Transaction) -> None:
        await transaction.store_settlements([settlement(seal_id)])
        await transaction.move_positions([start], [replace(start, turn=1, offset=5)])

    with pytest.raises(LaneLost):
        await metadata.database.run(zombie)
    assert await metadata.database.run(lambda t: t.load_settlements([seal_id])) == {}


async def test_of_two_owners_of_a_lane_one_moves_it(metadata: Metadata) -> None:
    start = LanePosition(metadata.name, 0, turn=0, offset=None)
    meet = meet_once(2)

    async def move(offset: int) -> int:
        async def work(transaction: Transaction) -> int:
            await transaction.clock_us()
            await meet()
            after = replace(start, turn=1, offset=offset)
            await transaction.move_positions([start], [after])
            return offset

        return await metadata.database.run(work)

    ends = await asyncio.gather(move(1), move(2), return_exceptions=True)
    assert sorted(isinstance(end, LaneLost) for end in ends) == [False, True]
    (winner,) = (end for end in ends if isinstance(end, int))
    lanes = await metadata.reader.lane_positions([(metadata.name, 0)])
    assert lanes[(metadata.name, 0)].offset == winner


async def test_pending_records_are_numbered_once(metadata: Metadata) -> None:
    """Head, block, sequences and the pending rows move together, by compare-and-set."""
    maker, stream = metadata.maker, metadata.name
    bucket = await metadata.made_bucket()
    await metadata.do(maker.put(bucket, b"k"))
    mine = [
        pending
        for pending in await metadata.reader.pending_audit(limit=10_000)
        if bucket.bucket_id in {record.stream for record in unpack_pending(pending[2])}
    ]
    assert len(mine) == 2
    head = first_head(stream)
    block, after, sequences = number_blocks(head, mine, {})

    async def number(transaction: Transaction) -> None:
        await transaction.move_head(head, after)
        await transaction.number_pending([pending[0] for pending in mine], block, sequences)

    await metadata.database.run(number)
    with pytest.raises(LaneLost):
        await metadata.database.run(number)

    assert await metadata.reader.audit_head(stream) == after
    assert await metadata.reader.audit_blocks(stream, 1, limit=10) == [block]
    assert [record.stream for record in unpack_block(block)] == [
        SYSTEM_STREAM,
        bucket.bucket_id,
        bucket.bucket_id,
    ]
    left = {pending[0] for pending in await metadata.reader.pending_audit(limit=10_000)}
    assert not left & {pending[0] for pending in mine}
    assert await metadata.reader.bucket_sequences([bucket.bucket_id]) == {bucket.bucket_id: 3}


async def test_a_pending_block_that_is_gone_loses_the_turn(metadata: Metadata) -> None:
    """Though the head did not move: somebody else's number must not be doubled."""
    maker, bucket = metadata.maker, await metadata.made_bucket()
    await metadata.do(maker.put(bucket, b"k"))
    mine = [
        pending
        for pending in await metadata.reader.pending_audit(limit=10_000)
        if bucket.bucket_id in {record.stream for record in unpack_pending(pending[2])}
    ]
    head = first_head(metadata.name)
    block, after, sequences = number_blocks(head, mine, {})
    gone = [*(pending[0] for pending in mine), maker.id()]

    async def number(transaction: Transaction) -> None:
        await transaction.move_head(head, after)
        await transaction.number_pending(gone, block, sequences)

    with pytest.raises(LaneLost):
        await metadata.database.run(number)
    assert await metadata.reader.audit_head(metadata.name) == head
    assert await metadata.reader.audit_blocks(metadata.name, 1, limit=10) == []


async def test_usage_adds_up(metadata: Metadata) -> None:
    bucket_id, other = metadata.maker.id(), metadata.maker.id()
    for delta in ((3, 300), (-1, -100), (0, 5)):
        await metadata.database.run(lambda t, d=delta: t.add_usage({bucket_id: d}))  # type: ignore[misc]

    assert await metadata.reader.usage_of([bucket_id, other]) == {bucket_id: (2, 205)}
