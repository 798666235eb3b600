"""One suite for every database: garbage that is taken back, and holds."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.model.metadata_changes import ACTOR, AT_US
from tests.model.metadata_ports import Metadata, memory_metadata, postgres_metadata

from fileflux.core.changes import CreateHold, PastContent, ReleaseHold, RestoreVersion
from fileflux.core.model import Manifest
from fileflux.metadata.migrate import migrate
from fileflux.metadata.postgres_pool import open_connections
from fileflux.metadata.rows import Footprint, GarbageRow, ObjectRow, Rows


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


async def load(metadata: Metadata, **needs: Any) -> Rows:
    sets: dict[str, Any] = {name: frozenset(values) for name, values in needs.items()}
    wanted = Footprint(**sets)
    return await metadata.database.run(lambda transaction: transaction.load_rows(wanted))


def base(metadata: Metadata) -> dict[str, Any]:
    return {"upload_id": metadata.maker.id(), "actor": ACTOR, "at_us": AT_US}


def restoring(metadata: Metadata, bucket: Any, row: ObjectRow) -> RestoreVersion:
    return RestoreVersion(
        **base(metadata),
        bucket_id=bucket.bucket_id,
        bucket=bucket.bucket,
        key=row.key,
        size=row.size,
        etag=row.etag,
        meta=row.meta,
        storage_class=row.storage_class,
        manifest=row.manifest,
        content_id=row.content_id,
        contents=(PastContent(row.content_id, row.manifest),),
        seen_version=None,
        past_version=row.version_id,
        past_position=1,
    )


async def test_garbage_is_read_with_the_stamp_that_dropped_it(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    put = maker.put(bucket, b"k", manifest=maker.chunks(10, 20))
    await metadata.do(put)
    delete = maker.delete(bucket, b"k")
    writes, _ = await metadata.decide(delete)

    bundle_id = put.manifest.chunks[0].bundle_id
    rows = await load(metadata, garbage={bundle_id})
    found = rows.garbage[(bundle_id, delete.upload_id)]
    assert found == GarbageRow(
        bundle_id=bundle_id, chunk_numbers=(0, 1), size=30, dropped_by=delete.upload_id
    )
    assert found.at_us == writes.stamp <= rows.stamp_max
    assert (await load(metadata, garbage={maker.id()})).garbage == {}


async def test_garbage_that_is_referenced_again_is_gone_and_the_rest_of_its_row_stays(
    metadata: Metadata,
) -> None:
    """Two objects of one bundle that one change dropped, as a multipart upload's parts are."""
    maker, bucket = metadata.maker, await metadata.made_bucket()
    whole = maker.chunks(10, 20, 30)
    put = maker.put(bucket, b"k", manifest=whole)
    await metadata.do(put)
    row = (await load(metadata, objects={(bucket.bucket_id, b"k")})).objects[
        (bucket.bucket_id, b"k")
    ]
    delete = maker.delete(bucket, b"k")
    await metadata.do(delete)
    key = (whole.chunks[0].bundle_id, delete.upload_id)
    dropped = (await load(metadata, garbage={key[0]})).garbage[key]
    some = restoring(metadata, bucket, _with(row, Manifest(whole.chunks[1:2])))
    assert [outcome.status for outcome in await metadata.do(some)] == ["ok"]

    left = (await load(metadata, garbage={key[0]})).garbage[key]
    assert (left.chunk_numbers, left.size, left.at_us) == ((0, 2), 40, dropped.at_us)
    rest = restoring(metadata, bucket, _with(row, Manifest((whole.chunks[0], whole.chunks[2]))))
    others = _with_key(rest, b"other", metadata.maker.id())
    assert [outcome.status for outcome in await metadata.do(others)] == ["ok"]
    assert (await load(metadata, garbage={key[0]})).garbage == {}


async def test_a_hold_comes_back_as_it_was_moves_and_goes(metadata: Metadata) -> None:
    hold_id = metadata.maker.id()
    now_us = await metadata.reader.clock_us()
    given: dict[str, Any] = {"hold_id": hold_id, "kind": "operator", "reason": "an audit"}
    given |= {"from_position": 7, "from_us": 9}
    for until_us in (now_us + 60_000_000, now_us + 90_000_000):
        change = CreateHold(**base(metadata), **given, until_us=until_us)
        assert [outcome.status for outcome in await metadata.do(change)] == ["ok"]
        (row,) = [one for one in await metadata.reader.holds() if one.hold_id == hold_id]
        assert (row.kind, row.reason, row.from_position, row.from_us) == (
            *("operator", "an audit", 7, 9),
        )
        assert row.until_us == until_us
        assert (await load(metadata, hold_ids={hold_id})).holds == {hold_id: row}
    release = ReleaseHold(**base(metadata), hold_id=hold_id)
    assert [outcome.status for outcome in await metadata.do(release)] == ["ok"]
    assert hold_id not in {one.hold_id for one in await metadata.reader.holds()}


async def test_an_absent_key_is_read_with_its_last_deletion(metadata: Metadata) -> None:
    maker, bucket = metadata.maker, await metadata.made_bucket()
    places = {key: (bucket.bucket_id, key) for key in (b"gone", b"there", b"never")}
    await metadata.do(maker.put(bucket, b"gone"), maker.put(bucket, b"there"))
    writes, _ = await metadata.decide(maker.delete(bucket, b"gone"))

    rows = await load(metadata, objects=places.values(), deletions=places.values())
    assert rows.deletions == {places[b"gone"]: writes.stamp}


@pytest.mark.postgres
async def test_garbage_that_was_ever_claimed_is_not_read(postgres_dsn: str) -> None:
    """A node may have been told already, whether the claim has run out or not."""
    await migrate(postgres_dsn, rng=random.Random(1))
    async with postgres_metadata(postgres_dsn) as metadata:
        maker, bucket = metadata.maker, await metadata.made_bucket()
        put = maker.put(bucket, b"k")
        await metadata.do(put)
        await metadata.do(maker.delete(bucket, b"k"))
        bundle_id = put.manifest.chunks[0].bundle_id
        assert (await load(metadata, garbage={bundle_id})).garbage
        connections = await open_connections(postgres_dsn, size_max=1)
        connection = await connections.take()
        await connection.execute(
            "UPDATE garbage SET claimed_until_us = 1 WHERE bundle_id = $1", bundle_id
        )
        await connections.give_back(connection)
        await connections.close()

        assert (await load(metadata, garbage={bundle_id})).garbage == {}


def _with(row: ObjectRow, manifest: Manifest) -> ObjectRow:
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return ObjectRow(**{**fields, "manifest": manifest, "size": manifest.size})


def _with_key(change: RestoreVersion, key: bytes, content_id: Any) -> RestoreVersion:
    fields = {name: getattr(change, name) for name in change.__dataclass_fields__}
    content = PastContent(content_id, change.manifest)
    return RestoreVersion(
        **{**fields, "key": key, "content_id": content_id, "contents": (content,)}
    )
