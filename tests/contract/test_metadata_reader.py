"""One suite for every reader: what GET, LIST and the services ask (`metadata/ports.py`)."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from tests.model.metadata_changes import ACTOR, AT_US, NODES
from tests.model.metadata_ports import Metadata, memory_metadata, postgres_metadata

from fileflux.core.changes import (
    ConfigureBucket,
    CreateBucket,
    CreateKey,
    CreateMultipart,
    SetNodeIntent,
)
from fileflux.core.ids import BundleId, NodeId, SealId, UploadId
from fileflux.core.model import Manifest
from fileflux.metadata.audit_record import unpack_pending
from fileflux.metadata.chain import first_head, number_blocks
from fileflux.metadata.migrate import migrate
from fileflux.metadata.notification import ENTRY, Notification, to_entry
from fileflux.metadata.ports import AuditBlock, LanePosition, ListedKeys
from fileflux.metadata.rows import ReplicaRow, Settlement

LETTERS = (b"a", b"b", b"/", b"-", b"\xc3\xa9", b"\x00")


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


async def confirm(metadata: Metadata, bundle_id: BundleId, *node_ids: NodeId) -> None:
    rows = [ReplicaRow(bundle_id=bundle_id, node_id=n, epoch=1, size=1, crc=1) for n in node_ids]
    await metadata.database.run(lambda transaction: transaction.store_replicas(rows))


# Objects


async def test_gets_are_answered_in_their_order_whatever_is_missing(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    puts = [maker.put(bucket, key) for key in (b"a", b"\x00\xff")]
    await metadata.do(*puts)
    for put in puts:
        await confirm(metadata, put.manifest.chunks[0].bundle_id, NODES[0], NODES[2])

    wanted = [
        (bucket.bucket, b"\x00\xff"),
        (bucket.bucket, b"missing"),
        ("no such bucket", b"a"),
        (bucket.bucket, b"a"),
        (bucket.bucket, b"a"),
    ]
    found = await metadata.reader.find_objects(wanted)
    assert [answer.row and answer.row.key for answer in found] == [
        b"\x00\xff",
        None,
        None,
        b"a",
        b"a",
    ]
    assert [answer.bucket and answer.bucket.bucket_id for answer in found] == [
        bucket.bucket_id,
        bucket.bucket_id,
        None,
        bucket.bucket_id,
        bucket.bucket_id,
    ]
    row = found[3].row
    assert row is not None
    assert (row.version_id, row.etag, row.manifest) == (
        puts[0].upload_id,
        puts[0].etag,
        puts[0].manifest,
    )
    assert (row.meta, row.size) == (puts[0].meta, puts[0].size)
    bundle_id = puts[0].manifest.chunks[0].bundle_id
    assert {b: sorted(nodes) for b, nodes in found[3].replicas.items()} == {
        bundle_id: [NODES[0], NODES[2]]
    }
    assert await metadata.reader.find_objects([]) == []


@pytest.mark.parametrize("odd", ["nul\x00", "\ud800", "\U0010ffff", "'; --", "", "x" * 100_000])
async def test_a_name_that_no_row_can_have_names_nothing_and_harms_nobody(
    metadata: Metadata, odd: str
) -> None:
    bucket = await metadata.made_bucket()
    put = metadata.maker.put(bucket, b"a")
    await metadata.do(put)
    reader = metadata.reader

    found = await reader.find_objects([(odd, b"a"), (bucket.bucket, b"a"), (odd, b"a")])
    assert [answer.row and answer.row.version_id for answer in found] == [None, put.upload_id, None]
    assert (await reader.find_buckets([odd, bucket.bucket])).keys() == {bucket.bucket}
    assert await reader.find_key(odd) is None
    assert await reader.find_user(odd) is None


async def test_objects_without_a_bundle_and_with_several_are_found(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    empty = maker.put(bucket, b"empty", manifest=Manifest())
    large = maker.put(
        bucket,
        b"large",
        manifest=Manifest((*maker.chunks(8 << 20).chunks, *maker.chunks(5).chunks)),
    )
    await metadata.do(empty, large)
    found = await metadata.reader.find_objects(
        [(bucket.bucket, b"empty"), (bucket.bucket, b"large")]
    )

    manifests = [answer.row.manifest for answer in found if answer.row is not None]
    assert manifests == [Manifest(), large.manifest]


async def test_nodes_of_bundles_are_those_that_confirmed(metadata: Metadata) -> None:
    bundle_id, other = BundleId(metadata.maker.id()), BundleId(metadata.maker.id())
    await confirm(metadata, bundle_id, *NODES[:2])
    found = await metadata.reader.replicas_of([bundle_id, other])

    assert sorted(found[bundle_id]) == list(NODES[:2])
    assert not found.get(other)


# Buckets and listings


async def test_buckets_are_found_by_name_and_listed_by_owner(metadata: Metadata) -> None:
    await metadata.made_bucket()
    for name in ("b", "a"):
        await metadata.made_bucket(name)
    names = [metadata.name + name for name in ("", "a", "b")]

    assert [row.name for row in await metadata.reader.list_buckets(metadata.user_id)] == names
    found = await metadata.reader.find_buckets([names[2], "nobody's"])
    assert found.keys() == {names[2]}
    assert found[names[2]].owner_id == metadata.user_id
    assert await metadata.reader.list_buckets(metadata.maker.id()) == []


async def test_buckets_are_listed_without_their_notifications_and_found_by_whom_they_notify(
    metadata: Metadata,
) -> None:
    """A hundred parts for each of all buckets would be read to show their names."""
    telling = [await metadata.made_bucket(name) for name in ("", "one")]
    await metadata.made_bucket("silent")
    for bucket, destination in zip(telling, ("hook", "other"), strict=True):
        part = Notification(
            kind="queue",
            configuration_id="1",
            arn="arn",
            destination=destination,
            event_names=("s3:ObjectCreated:*",),
            subscription_id=metadata.maker.id(),
        )
        (outcome,) = await metadata.do(
            ConfigureBucket(
                upload_id=UploadId(metadata.maker.id()),
                actor=ACTOR,
                at_us=AT_US,
                bucket_id=bucket.bucket_id,
                bucket=bucket.bucket,
                entries={ENTRY: to_entry([part]), "colour": "red"},
            )
        )
        assert outcome.ok
    reader, owner_id = metadata.reader, metadata.user_id
    listed = await reader.list_buckets(owner_id)
    assert [ENTRY in row.config for row in listed] == [False] * 3
    assert [row.config.get("colour") for row in listed] == ["red", "red", None]
    assert ENTRY in (await reader.find_buckets([metadata.name]))[metadata.name].config
    found = await reader.buckets_notifying(owner_id, "hook")
    assert [(row.name, ENTRY in row.config) for row in found] == [(metadata.name, False)]
    assert await reader.buckets_notifying(owner_id, "nobody") == []
    assert await reader.buckets_notifying(metadata.maker.id(), "hook") == []


def group_of(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """Return the common prefix that stands for a key on a page; None: the key itself."""
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if at < 0 else key[: at + len(delimiter)]


def listing(
    keys: Sequence[bytes], *, prefix: bytes, delimiter: bytes, after: bytes
) -> list[tuple[bytes, bool]]:
    """Return (entry, is a key) of everything behind `after`: a listing's definition."""
    wanted = [key for key in keys if key.startswith(prefix) and key > after]
    groups = {key: group_of(key, prefix, delimiter) for key in wanted}
    rows = [(key, True) for key, group in groups.items() if group is None]
    rolled_up = {group for group in groups.values() if group is not None} - {after}
    return sorted(rows + [(group, False) for group in rolled_up])


def entries_of(page: ListedKeys) -> list[tuple[bytes, bool]]:
    rows = [(row.key, True) for row in page.rows]
    groups = [(prefix, False) for prefix in page.common_prefixes]
    assert rows == sorted(rows)
    assert groups == sorted(groups)
    return sorted(rows + groups)


@pytest.mark.parametrize("seed", range(3))
async def test_pages_are_the_listing_one_after_another(metadata: Metadata, seed: int) -> None:
    """Any keys, prefix, delimiter, start and page size; each entry once, in byte order."""
    rng = random.Random(seed)
    maker, bucket = metadata.maker, await metadata.made_bucket()
    keys = {b"".join(rng.choices(LETTERS, k=rng.randint(1, 6))) for _ in range(60)}
    await metadata.do(*(maker.put(bucket, key) for key in sorted(keys)))
    for _ in range(40):
        prefix = rng.choice((b"", b"", b"a", b"a/", b"/", b"\xc3\xa9", b"zz"))
        delimiter = rng.choice((b"", b"/", b"-", b"a/", b"\xc3\xa9"))
        after = rng.choice((b"", b"", b"a", b"a/", b"b-", rng.choice(sorted(keys))))
        given = {"prefix": prefix, "delimiter": delimiter}
        found: list[tuple[bytes, bool]] = []
        wanted = listing(sorted(keys), after=after, **given)
        is_truncated = True
        while is_truncated:
            size = rng.choice((1, 2, 5, 1_000))
            page = await metadata.reader.list_objects(
                bucket.bucket_id, after=after, max_keys=size, **given
            )
            entries = entries_of(page)
            assert len(entries) <= size
            assert page.next_after == (entries[-1][0] if entries else None)
            found += entries
            is_truncated = page.truncated
            after = page.next_after or after
            assert not is_truncated or entries, "a page that is cut off has something on it"
        assert found == wanted, (given, after)


async def test_a_listed_row_has_everything_but_its_manifest(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    await metadata.do(maker.put(bucket, b"k"))
    (found,) = await metadata.reader.find_objects([(bucket.bucket, b"k")])
    page = await metadata.reader.list_objects(
        bucket.bucket_id, prefix=b"", delimiter=b"", after=b"", max_keys=10
    )

    assert found.row is not None
    assert page.rows == (replace(found.row, manifest=Manifest()),)


@pytest.mark.parametrize("delimiter", [b"", b"/"])
async def test_no_page_and_no_bucket_are_empty(metadata: Metadata, delimiter: bytes) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    await metadata.do(maker.put(bucket, b"k"))

    for bucket_id, size in ((bucket.bucket_id, 0), (maker.id(), 5)):
        page = await metadata.reader.list_objects(
            bucket_id, prefix=b"", delimiter=delimiter, after=b"", max_keys=size
        )
        assert page == ListedKeys((), (), truncated=False, next_after=None)


# Multipart uploads


async def made_upload(metadata: Metadata, bucket: CreateBucket, key: bytes) -> CreateMultipart:
    upload = metadata.maker.create_multipart(bucket, key)
    await metadata.do(upload)
    return upload


async def test_an_upload_is_found_open_and_completed(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    upload = await made_upload(metadata, bucket, b"k")
    part = maker.part(upload, 1)
    await metadata.do(part)
    before = await metadata.reader.find_upload(upload.upload_id)
    (outcome,) = await metadata.do(maker.complete(upload, [part]))
    after = await metadata.reader.find_upload(upload.upload_id)

    assert before is not None
    assert after is not None
    assert (before.state, before.outcome) == ("open", None)
    assert (after.state, after.outcome) == ("completed", outcome)
    assert await metadata.reader.find_upload(maker.id()) is None


async def test_parts_are_listed_by_number_page_by_page(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    upload = await made_upload(metadata, bucket, b"k")
    parts = {n: maker.part(upload, n) for n in (3, 10, 1, 9_999)}
    await metadata.do(*parts.values())

    async def page(after: int, size: int) -> list[int]:
        found = await metadata.reader.list_parts(upload.upload_id, after=after, max_parts=size)
        assert all(row.etag == parts[row.part_number].etag for row in found)
        return [row.part_number for row in found]

    assert await page(0, 3) == [1, 3, 10]
    assert await page(3, 100) == [10, 9_999]
    assert await page(9_999, 100) == []
    manifests = await metadata.reader.part_manifests(upload.upload_id, [10, 1, 77])
    assert manifests == {n: parts[n].manifest for n in (1, 10)}


@pytest.mark.parametrize("seed", range(2))
async def test_open_uploads_are_listed_page_by_page(metadata: Metadata, seed: int) -> None:
    """Several of one key by their ids; ended ones are not there."""
    rng = random.Random(seed)
    maker, bucket = metadata.maker, await metadata.made_bucket()
    keys = [b"".join(rng.choices((b"a", b"b", b"/"), k=rng.randint(1, 4))) for _ in range(30)]
    uploads = [maker.create_multipart(bucket, key) for key in keys]
    await metadata.do(*uploads)
    ended = uploads[::7]
    await metadata.do(*map(maker.abort, ended))
    living = sorted((u.key, u.upload_id) for u in uploads if u not in ended)
    for prefix, delimiter in ((b"", b""), (b"a", b""), (b"", b"/"), (b"a/", b"/"), (b"zz", b"/")):
        matching = [place for place in living if place[0].startswith(prefix)]
        group = {key: group_of(key, prefix, delimiter) for key, _ in matching}
        found: list[tuple[bytes, bytes]] = []
        groups: list[bytes] = []
        key_after, upload_after, is_truncated = b"", b"", True
        while is_truncated:
            page, prefixes, is_truncated = await metadata.reader.list_uploads(
                bucket.bucket_id,
                prefix=prefix,
                delimiter=delimiter,
                key_after=key_after,
                upload_after=upload_after,
                max_uploads=rng.choice((1, 2, 4, 100)),
            )
            found += [(row.key, row.upload_id) for row in page]
            groups += prefixes
            last = max([*found[-1:], *((each, b"") for each in groups[-1:])], default=(b"", b""))
            key_after, upload_after = last
            assert not is_truncated or page or prefixes

        assert found == [place for place in matching if group[place[0]] is None]
        assert groups == sorted({each for each in group.values() if each is not None})


async def test_uploads_after_a_key_without_an_id_are_those_of_later_keys(
    metadata: Metadata,
) -> None:
    bucket = await metadata.made_bucket()
    for key in (b"a", b"a", b"b"):
        await made_upload(metadata, bucket, key)

    page, prefixes, truncated = await metadata.reader.list_uploads(
        bucket.bucket_id,
        prefix=b"",
        delimiter=b"",
        key_after=b"a",
        upload_after=b"",
        max_uploads=10,
    )
    assert ([row.key for row in page], prefixes, truncated) == ([b"b"], [], False)


# Accounts


async def test_who_a_key_belongs_to_is_found(metadata: Metadata) -> None:
    maker = metadata.maker
    await metadata.made_bucket()
    keys = [
        CreateKey(
            upload_id=maker.id(),
            actor=ACTOR,
            at_us=AT_US,
            user_id=metadata.user_id,
            access_key=metadata.name + name,
            secret=b"\x00\xff",
        )
        for name in ("two", "one")
    ]
    await metadata.do(*keys)
    found = await metadata.reader.find_key(keys[0].access_key)

    assert found is not None
    key, user = found
    assert (key.secret, key.active, key.user_id) == (b"\x00\xff", True, metadata.user_id)
    assert user == await metadata.reader.find_user(metadata.name)
    assert user.user_id == metadata.user_id
    names = [row.access_key for row in await metadata.reader.list_keys(metadata.user_id)]
    assert names == sorted(key.access_key for key in keys)
    assert await metadata.reader.find_key("none") is None
    assert await metadata.reader.find_user("nobody") is None
    assert await metadata.reader.list_keys(maker.id()) == []


async def test_an_asynchronous_uploads_state_is_found(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    put = maker.put(bucket, b"k", is_async=True)
    await metadata.do(maker.accept(put))
    accepted = await metadata.reader.find_async(put.upload_id)
    await metadata.do(put)

    assert (accepted, await metadata.reader.find_async(put.upload_id)) == ("accepted", "ok")
    assert await metadata.reader.find_async(maker.id()) is None


async def test_what_operators_want_of_a_node_is_read(metadata: Metadata) -> None:
    node_id = NodeId(metadata.name)
    change = SetNodeIntent(
        upload_id=metadata.maker.id(),
        actor=ACTOR,
        at_us=AT_US,
        node_id=node_id,
        intent="drain",
        weight=0.25,
    )
    await metadata.do(change)

    assert (await metadata.reader.node_intents())[node_id] == ("drain", 0.25)


# Seals, positions, audit


async def test_a_waiter_learns_settlements_and_committed_nodes(metadata: Metadata) -> None:
    maker = metadata.maker
    settled, waiting, unknown = (SealId(maker.id()) for _ in range(3))
    bundles = [BundleId(maker.id()) for _ in range(2)]
    row = Settlement(seal_id=settled, outcomes=(), aborted=True, settled_us=AT_US)
    await metadata.database.run(lambda transaction: transaction.store_settlements([row]))
    await confirm(metadata, bundles[0], *NODES[:2])

    found = await metadata.reader.seal_states(
        {settled: [bundles[0]], waiting: bundles, unknown: []}
    )
    assert {seal_id: state.settlement for seal_id, state in found.items()} == {
        settled: row,
        waiting: None,
        unknown: None,
    }
    assert found[waiting].committed == {bundles[0]: frozenset(NODES[:2]), bundles[1]: frozenset()}
    assert found[unknown].committed == {}


async def test_a_lane_that_nobody_moved_is_at_its_beginning(metadata: Metadata) -> None:
    moved = LanePosition(metadata.name, 1, turn=1, offset=5, before_us=AT_US, before_crc=9)
    start = replace(moved, turn=0, offset=None)
    await metadata.database.run(lambda transaction: transaction.move_positions([start], [moved]))

    lanes = [(metadata.name, 0), (metadata.name, 1)]
    assert await metadata.reader.lane_positions(lanes) == {
        lanes[0]: LanePosition(metadata.name, 0, turn=0, offset=None),
        lanes[1]: moved,
    }


async def test_pending_records_are_read_in_the_order_of_their_stamps(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    written = []
    for number in range(5):
        writes, _ = await metadata.decide(maker.put(bucket, b"%d" % number))
        written.append(writes.stamp)
    pending = await metadata.reader.pending_audit(limit=10_000)
    order = [(stamp, block_id) for block_id, stamp, _ in pending]
    mine = [
        stamp
        for _, stamp, payload in pending
        if bucket.bucket_id in {record.stream for record in unpack_pending(payload)}
    ]

    assert order == sorted(order)
    assert mine[1:] == written
    assert len(await metadata.reader.pending_audit(limit=2)) == 2


async def test_blocks_are_read_from_the_one_that_holds_a_position(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    for number in range(3):
        await metadata.do(*(maker.put(bucket, b"%d" % n) for n in range(number + 1)))
    pending = [
        one
        for one in await metadata.reader.pending_audit(limit=10_000)
        if bucket.bucket_id in {record.stream for record in unpack_pending(one[2])}
    ]
    head, blocks = first_head(metadata.name), list[AuditBlock]()
    for one in pending:
        before = head
        block, head, sequences = number_blocks(before, [one], {})
        blocks.append(block)

        await metadata.database.run(
            lambda t, b=before, h=head: t.move_head(b, h)  # type: ignore[misc]
        )
        await metadata.database.run(
            lambda t, o=one, b=block, s=sequences: t.number_pending([o[0]], b, s)  # type: ignore[misc]
        )

    reader = metadata.reader
    assert await reader.audit_blocks(metadata.name, 1, limit=100) == blocks
    assert await reader.audit_blocks(metadata.name, 1, limit=2) == blocks[:2]
    last = blocks[-1]
    for position in (last.first_position, last.first_position + last.count - 1):
        assert await reader.audit_blocks(metadata.name, position, limit=100) == [last]
    assert await reader.audit_blocks("nobody's", 1, limit=100) == []
    for count in range(1, len(blocks) + 1):
        size = sum(len(block.payload) for block in blocks[:count])
        page = await reader.audit_page(metadata.name, 1, limit=100, bytes_max=size)
        assert page == blocks[:count], "the last one may exceed it"
    assert await reader.audit_page(metadata.name, 1, limit=100, bytes_max=1) == blocks[:1]
    assert await reader.audit_page(metadata.name, 1, limit=2, bytes_max=1 << 40) == blocks[:2]
    assert await reader.audit_head(metadata.name) == head
    assert await reader.audit_head("nobody's") == first_head("nobody's")


async def test_a_database_that_was_used_says_so(metadata: Metadata) -> None:
    """The empty one is asked by every rebuild."""
    await metadata.made_bucket()

    assert await metadata.reader.holds_anything()


async def test_a_bucket_without_a_sequence_has_none(metadata: Metadata) -> None:
    assert await metadata.reader.bucket_sequences([metadata.maker.id()]) == {}


async def test_the_databases_clock_goes_on(metadata: Metadata) -> None:
    first = await metadata.reader.clock_us()
    await asyncio.sleep(0.002)

    assert await metadata.reader.clock_us() > first
