"""What clients find after a salvage: uploads through the whole application, then nodes alone."""

import random
from collections.abc import AsyncIterator

import pytest
from tests.model.rebuild_world import (
    GivenRecords,
    audited,
    number,
    rebuild,
    records_of,
)
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, NODES, ROOT, S3World
from tests.model.salvage_world import Told, records_of_nodes, salvage, serve

from fileflux.core.bundle_records import UNCONDITIONAL
from fileflux.core.changes import Outcome, PutObject
from fileflux.core.errors import NoSuchBundle
from fileflux.core.ids import UploadId, new_id
from fileflux.core.model import MIB, Manifest, ObjectMeta, WriteConditions
from fileflux.ingest.upload_target import UploadTarget
from fileflux.metadata.chain import ChainState, verify_chain
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.rows import BucketRow

PART = 5 * MIB


@pytest.fixture
async def alice(s3_world: S3World) -> Caller:
    caller = Caller(s3_world.app, ALICE)
    assert (await caller("PUT", "/photos")).status == 200
    return caller


async def root_of(world: S3World, told: Told) -> Caller:
    return Caller(await serve(world, told.database, told.reader), ROOT)


async def begin(caller: Caller, key: str, **headers: str) -> str:
    begun = await caller("POST", f"/photos/{key}?uploads", headers)
    return begun.xml().findtext("UploadId") or ""


async def put_parts(caller: Caller, key: str, upload_id: str, *parts: tuple[int, bytes]) -> str:
    """Put parts; return the list that completes them."""
    listed = ""
    for number_, data in parts:
        put = await caller(
            "PUT", f"/photos/{key}?partNumber={number_}&uploadId={upload_id}", {}, data
        )
        etag = put.headers["etag"]
        listed += f"<Part><PartNumber>{number_}</PartNumber><ETag>{etag}</ETag></Part>"
    return f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"


async def complete(caller: Caller, key: str, upload_id: str, listed: str) -> str:
    done = await caller("POST", f"/photos/{key}?uploadId={upload_id}", {}, listed.encode())
    return done.xml().findtext("ETag") or ""


async def test_every_object_is_served_again_with_its_headers(
    s3_world: S3World, alice: Caller
) -> None:
    headers = {"x-amz-meta-colour": "blue", "content-type": "text/plain"}
    bodies = {"small": b"0123456789", "large": random.Random(1).randbytes(9 * MIB)}
    for key, body in bodies.items():
        await alice("PUT", f"/photos/{key}", headers, b"a former one")
        assert (await alice("PUT", f"/photos/{key}", headers, body)).status == 200
    told = await salvage(await records_of_nodes(s3_world))
    root = await root_of(s3_world, told)

    for key, body in bodies.items():
        before, after = await alice("GET", f"/photos/{key}"), await root("GET", f"/photos/{key}")
        assert (after.status, after.body) == (200, body)
        same = ("etag", "content-type", "x-amz-meta-colour", "content-length", "last-modified")
        assert [after.headers[name] for name in same] == [before.headers[name] for name in same]
    assert (await root("GET", "/photos?list-type=2")).texts("Contents/Key") == ["large", "small"]
    assert (told.done.objects, told.done.buckets, told.found) == (2, 1, {"superseded": 2})


async def test_the_audit_stream_says_that_it_was_salvaged_and_rebuilds_the_same(
    s3_world: S3World, alice: Caller
) -> None:
    for key in ("a", "b"):
        await alice("PUT", f"/photos/{key}", {}, b"x")
    told = await salvage(await records_of_nodes(s3_world))
    records = await records_of(told.reader)
    made = MemoryDatabase()
    await rebuild(GivenRecords(records), made)
    said = [data_of(record) for record in records]

    assert verify_chain(records, after=ChainState())[0] == []
    assert said[0]["operation"] == "Salvage"
    assert said[0]["facts"]["objects"] == 2
    assert any("deletions" in text for text in said[0]["facts"]["unknown"])
    assert [one["operation"] for one in said[1:]] == ["CreateUser", "CreateBucket"] + [
        "PutObject"
    ] * 2
    assert all(one["facts"]["salvaged"] for one in said[1:])
    assert [one["stamp"] for one in said] == sorted(one["stamp"] for one in said)
    assert audited(made) == audited(told.database)


async def test_what_was_deleted_or_empty_or_copied_no_node_tells(
    s3_world: S3World, alice: Caller
) -> None:
    """The limits that the report names, as they are."""
    await alice("PUT", "/photos/deleted", {}, b"x")
    await alice("DELETE", "/photos/deleted")
    await alice("PUT", "/photos/empty", {}, b"")
    await alice("PUT", "/photos/copy", {"x-amz-copy-source": "/photos/deleted"})
    await alice("PUT", "/nothing-in-it")
    told = await salvage(await records_of_nodes(s3_world))
    root = await root_of(s3_world, told)

    assert (await root("GET", "/photos?list-type=2")).texts("Contents/Key") == ["deleted"]
    assert (await root("HEAD", "/nothing-in-it")).status == 404


async def test_a_multipart_upload_is_assembled_with_what_it_began_with(
    s3_world: S3World, alice: Caller
) -> None:
    one, two = random.Random(2).randbytes(PART), b"the last"
    upload_id = await begin(alice, "big", **{"Content-Type": "video/mp4", "x-amz-meta-a": "b"})
    await put_parts(alice, "big", upload_id, (1, bytes(PART)))
    listed = await put_parts(alice, "big", upload_id, (1, one), (2, two))
    etag = await complete(alice, "big", upload_id, listed)
    told = await salvage(await records_of_nodes(s3_world))
    got = await (await root_of(s3_world, told))("GET", "/photos/big")

    assert (got.body, got.headers["etag"]) == (one + two, etag)
    assert (got.headers["content-type"], got.headers["x-amz-meta-a"]) == ("video/mp4", "b")
    assert (told.done.multiparts, told.found["multipart_assumed"]) == (1, 1)


async def test_a_multipart_upload_that_does_not_look_complete_stays_open_for_its_client(
    s3_world: S3World, alice: Caller
) -> None:
    upload_id = await begin(alice, "big")
    listed = await put_parts(alice, "big", upload_id, (1, bytes(PART)), (3, b"third"))
    told = await salvage(await records_of_nodes(s3_world))
    root = await root_of(s3_world, told)
    assert (await root("HEAD", "/photos/big")).status == 404
    assert (await root("GET", "/photos?uploads")).texts("Upload/UploadId") == [upload_id]
    await complete(root, "big", upload_id, listed)

    assert (await root("GET", "/photos/big")).body == bytes(PART) + b"third"
    assert (told.done.open_multiparts, told.found) == (1, {"multipart_open": 1})


async def test_nothing_is_assembled_for_who_does_not_want_it(
    s3_world: S3World, alice: Caller
) -> None:
    await put_parts(alice, "big", await begin(alice, "big"), (1, b"only"))
    told = await salvage(await records_of_nodes(s3_world), assembles=False)

    assert (told.objects(), told.found) == ({}, {"multipart_open": 1})


async def test_behind_an_audit_stream_only_what_it_does_not_name_is_added(
    s3_world: S3World, alice: Caller
) -> None:
    """Deletions, users and owners before its end are kept; what came behind it is found."""
    for key in ("kept", "deleted", "replaced"):
        await alice("PUT", f"/photos/{key}", {}, b"before")
    await alice("PUT", "/photos/copy", {"x-amz-copy-source": "/photos/kept"})
    await alice("DELETE", "/photos/deleted")
    upload_id = await begin(alice, "big")
    await put_parts(alice, "big", upload_id, (1, bytes(PART)))
    await number(s3_world.database, s3_world.reader)
    stream = await records_of(s3_world.reader)
    await alice("PUT", "/photos/replaced", {}, b"after")
    await alice("PUT", "/photos/new", {}, b"after")
    etag = await complete(
        alice,
        "big",
        upload_id,
        (await put_parts(alice, "big", upload_id, (1, bytes(PART)), (2, b"2"))),
    )
    told = await salvage(
        await records_of_nodes(s3_world), source=GivenRecords(stream), clock=s3_world.clock
    )
    caller = Caller(await serve(s3_world, told.database, told.reader), ALICE)
    records = await records_of(told.reader)

    listed = (await caller("GET", "/photos?list-type=2")).texts("Contents/Key")
    assert listed == ["big", "copy", "kept", "new", "replaced"]
    assert (await caller("GET", "/photos/replaced")).body == b"after"
    assert (await caller("GET", "/photos/copy")).body == b"before"
    assert (await caller("HEAD", "/photos/big")).headers["etag"] == etag
    assert (told.done.replayed, records[: len(stream)]) == (len(stream), stream)
    assert data_of(records[len(stream)])["operation"] == "Salvage"
    assert verify_chain(records, after=ChainState())[0] == []
    assert told.done.objects == 3
    made = MemoryDatabase()
    await rebuild(GivenRecords(records), made)
    assert audited(made) == audited(told.database)


async def test_a_write_that_lost_a_race_does_not_come_back(
    s3_world: S3World, alice: Caller
) -> None:
    """Both were staged; the transaction refused one. Its condition stands in its record."""
    await alice("PUT", "/photos/lock", {}, b"mine")
    bucket = (await s3_world.reader.find_buckets(["photos"]))["photos"]
    await write_conditionally(s3_world, bucket, b"lock", b"too late")
    assert (await alice("GET", "/photos/lock")).body == b"mine"
    told = await salvage(await records_of_nodes(s3_world))

    got = await (await root_of(s3_world, told))("GET", "/photos/lock")
    assert (got.body, told.found) == (b"mine", {"condition_refused": 1})


async def test_what_a_stream_says_was_deleted_is_not_brought_back_by_a_write_of_before(
    s3_world: S3World, alice: Caller
) -> None:
    """A refused write leaves no record in the stream, and its bytes on the nodes."""
    await alice("PUT", "/photos/lock", {}, b"mine")
    bucket = (await s3_world.reader.find_buckets(["photos"]))["photos"]
    await write_conditionally(s3_world, bucket, b"lock", b"too late")
    assert (await alice("DELETE", "/photos/lock")).status == 204
    await number(s3_world.database, s3_world.reader)
    stream = await records_of(s3_world.reader)
    told = await salvage(await records_of_nodes(s3_world), source=GivenRecords(stream))

    assert (told.objects(), told.found) == ({}, {"superseded": 1})


async def test_a_write_under_a_condition_of_any_length_comes_back(
    s3_world: S3World, alice: Caller
) -> None:
    """It stands in the record, beside those of others: kilobytes of it would have no room."""
    tag = f'"{"x" * 30_000}"'
    assert (await alice("PUT", "/photos/a", {"if-none-match": tag}, b"mine")).status == 200
    told = await salvage(held := await records_of_nodes(s3_world))

    got = await (await root_of(s3_world, told))("GET", "/photos/a")
    assert (got.body, told.found) == (b"mine", {})
    sizes = [one.index.header.meta_length for one in held[NODES[0]] if one.index is not None]
    assert sizes[0] < 1_000


async def test_an_upload_that_took_long_and_was_stored_last_is_the_one_that_comes_back(
    s3_world: S3World, alice: Caller
) -> None:
    """Its only bundle was begun before the other upload came, and finished after it."""
    large = random.Random(1).randbytes(2 * MIB)

    async def slow() -> AsyncIterator[bytes]:
        yield large[:-1]
        assert (await alice("PUT", "/photos/a", {}, b"meanwhile")).status == 200
        yield large[-1:]

    bucket = (await s3_world.reader.find_buckets(["photos"]))["photos"]
    assert (await write(s3_world, bucket, b"a", slow(), len(large))).ok
    assert (await alice("GET", "/photos/a")).body == large
    told = await salvage(await records_of_nodes(s3_world))

    assert (await (await root_of(s3_world, told))("GET", "/photos/a")).body == large


async def write_conditionally(world: S3World, bucket: BucketRow, key: bytes, data: bytes) -> None:
    """Stage an upload that passed the check of its condition before another one settled."""

    async def body() -> AsyncIterator[bytes]:
        yield data

    conditions = WriteConditions(if_none_match="*")
    outcome = await write(world, bucket, key, body(), len(data), conditions)
    assert outcome.status == "PreconditionFailed"


async def write(
    world: S3World,
    bucket: BucketRow,
    key: bytes,
    body: AsyncIterator[bytes],
    size: int,
    conditions: WriteConditions = UNCONDITIONAL,
) -> Outcome:
    """Upload behind the front door, so that a test decides when its bytes come."""
    target = UploadTarget(
        upload_id=UploadId(new_id(random.Random(3))),
        actor=world._base()["actor"],
        at_us=world.clock.now_us(),
        bucket=bucket,
        key=key,
        storage_class=world.deps.classes["standard"],
    )

    def finish(size: int, manifest: Manifest) -> PutObject:
        meta = ObjectMeta()
        return target.put_object(size, manifest, etag="0" * 32, meta=meta, conditions=conditions)

    return await world.engine.write(body, intent=target.intent(size), finish=finish)


async def test_replicas_that_are_missing_are_told_and_cost_nothing(
    s3_world: S3World, alice: Caller
) -> None:
    await alice("PUT", "/photos/a", {}, b"x")
    lost = s3_world.nodes.stores[NODES[0]]
    for item in await lost.inventory(None, 10):
        lost.lose(item.bundle_id)
        with pytest.raises(NoSuchBundle):
            await lost.open(item.bundle_id)
    told = await salvage(await records_of_nodes(s3_world))

    assert (await (await root_of(s3_world, told))("GET", "/photos/a")).body == b"x"
    assert told.found == {"too_few_replicas": 1}
