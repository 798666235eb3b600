"""Multipart uploads and copies through the whole application."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.model.asgi_client import Response
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, BOB, S3World

from fileflux.core.changes import Actor, ConfigureBucket
from fileflux.core.ids import UploadId, new_id
from fileflux.core.model import MIB, Manifest
from fileflux.ingest.app import S3App
from fileflux.ingest.bucket_directory import BucketDirectory
from fileflux.metadata.rows import PartRow

PART = 5 * MIB


def _bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(f"{size} {seed}").randbytes(size)


async def begin(caller: Caller, target: str = "/photos/big", **headers: str) -> str:
    begun = await caller("POST", f"{target}?uploads", headers)
    assert begun.status == 200, begun.body
    return begun.xml().findtext("UploadId") or ""


async def put_part(
    caller: Caller, upload_id: str, number: int, data: bytes, target: str = "/photos/big"
) -> str:
    put = await caller("PUT", f"{target}?partNumber={number}&uploadId={upload_id}", {}, data)
    assert put.status == 200, put.body
    return put.headers["etag"]


async def complete(
    caller: Caller, upload_id: str, parts: dict[int, str], target: str = "/photos/big"
) -> Response:
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in parts.items()
    )
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    return await caller("POST", f"{target}?uploadId={upload_id}", {}, body)


async def test_parts_become_one_object_in_the_order_of_their_numbers(
    s3_world: S3World, alice: Caller
) -> None:
    one, two, three = _bytes(PART, 1), _bytes(PART + 7, 2), _bytes(99, 3)
    upload_id = await begin(alice, **{"Content-Type": "video/mp4", "x-amz-meta-a": "b"})
    etags = {
        9: await put_part(alice, upload_id, 9, three),
        2: await put_part(alice, upload_id, 2, one),
        5: await put_part(alice, upload_id, 5, two),
    }
    done = await complete(alice, upload_id, dict(sorted(etags.items())))
    digests = b"".join(hashlib.md5(data).digest() for data in (one, two, three))
    etag = f'"{hashlib.md5(digests).hexdigest()}-3"'
    got = await alice("GET", "/photos/big")

    assert done.xml().findtext("ETag") == etag
    assert got.body == one + two + three
    assert (got.headers["etag"], got.headers["content-type"]) == (etag, "video/mp4")
    assert got.headers["x-amz-meta-a"] == "b"
    ranged = await alice("GET", "/photos/big", {"Range": f"bytes={PART - 2}-{PART + 1}"})
    assert ranged.body == (one + two)[PART - 2 : PART + 2]
    by_number = await alice("GET", "/photos/big?partNumber=2")
    assert (by_number.status, by_number.body) == (206, two)
    assert by_number.headers["x-amz-mp-parts-count"] == "3"
    assert s3_world.is_idle()


async def test_a_retried_complete_gets_the_same_answer(alice: Caller) -> None:
    upload_id = await begin(alice)
    parts = {1: await put_part(alice, upload_id, 1, b"only")}
    first = await complete(alice, upload_id, parts)
    second = await complete(alice, upload_id, parts)

    assert (first.status, first.body) == (second.status, second.body)


async def test_a_part_put_twice_is_the_later_one(alice: Caller) -> None:
    upload_id = await begin(alice)
    await put_part(alice, upload_id, 1, b"first")
    etag = await put_part(alice, upload_id, 1, b"second")
    await complete(alice, upload_id, {1: etag})

    assert (await alice("GET", "/photos/big")).body == b"second"


async def test_what_cannot_be_completed_is_refused_by_name_and_stays_open(alice: Caller) -> None:
    upload_id = await begin(alice)
    etags = {n: await put_part(alice, upload_id, n, b"small") for n in (1, 2)}
    wrong = '"' + "0" * 32 + '"'

    assert (await complete(alice, upload_id, {1: wrong})).code == "InvalidPart"
    assert (await complete(alice, upload_id, {3: etags[1]})).code == "InvalidPart"
    assert (await complete(alice, upload_id, etags)).code == "EntityTooSmall"
    assert (await complete(alice, upload_id, {2: etags[2], 1: etags[1]})).code == "InvalidPartOrder"
    assert (await complete(alice, upload_id, {})).code == "MalformedXML"
    assert (await complete(alice, "0" * 32, etags)).code == "NoSuchUpload"
    assert (await complete(alice, "nonsense", etags)).code == "NoSuchUpload"
    assert (await alice("HEAD", "/photos/big")).status == 404
    assert (await complete(alice, upload_id, {1: etags[1]})).status == 200


async def test_an_aborted_upload_is_gone(alice: Caller) -> None:
    upload_id = await begin(alice)
    await put_part(alice, upload_id, 1, b"x")
    assert (await alice("DELETE", f"/photos/big?uploadId={upload_id}")).status == 204
    put = await alice("PUT", f"/photos/big?partNumber=1&uploadId={upload_id}", {}, b"x")

    assert put.code == "NoSuchUpload"
    assert (await alice("GET", f"/photos/big?uploadId={upload_id}")).code == "NoSuchUpload"
    assert (await alice("GET", "/photos?uploads")).texts("Upload") == []


async def test_an_upload_belongs_to_its_key(alice: Caller) -> None:
    upload_id = await begin(alice)
    for method, query in (("PUT", "partNumber=1&"), ("GET", ""), ("DELETE", "")):
        answer = await alice(method, f"/photos/other?{query}uploadId={upload_id}")
        assert answer.code == "NoSuchUpload"
    assert (await complete(alice, upload_id, {1: "x"}, "/photos/other")).code == "NoSuchUpload"
    assert len((await alice("GET", "/photos?uploads")).texts("Upload")) == 1


@pytest.mark.parametrize("number", ["0", "10001", "-1", "1.0", "", "x", "99999999999999"])
async def test_a_part_number_is_between_1_and_10000(number: str, alice: Caller) -> None:
    upload_id = await begin(alice)
    put = await alice("PUT", f"/photos/big?partNumber={number}&uploadId={upload_id}", {}, b"x")

    assert (put.status, put.code) == (400, "InvalidArgument")


async def test_listings_of_parts_and_uploads_have_pages(alice: Caller) -> None:
    upload_id = await begin(alice)
    for number in (1, 2, 3):
        await put_part(alice, upload_id, number, b"x")
    await begin(alice, "/photos/other")
    first = await alice("GET", f"/photos/big?uploadId={upload_id}&max-parts=2")
    rest = await alice("GET", f"/photos/big?uploadId={upload_id}&part-number-marker=2")
    uploads = await alice("GET", "/photos?uploads&max-uploads=1")

    assert first.texts("Part/PartNumber") == ["1", "2"]
    assert first.xml().findtext("IsTruncated") == "true"
    assert rest.texts("Part/PartNumber") == ["3"]
    assert uploads.texts("Upload/Key") == ["big"]
    assert uploads.xml().findtext("IsTruncated") == "true"


# --- copies -------------------------------------------------------------------------------------


async def test_a_copy_shares_the_content_and_survives_its_source(
    s3_world: S3World, alice: Caller
) -> None:
    data = _bytes(9 * MIB)
    await alice("PUT", "/photos/a", {"x-amz-meta-a": "b"}, data)
    bundles = [len(await s.inventory(None, 100)) for s in s3_world.nodes.stores.values()]
    copied = await alice("PUT", "/photos/b", {"x-amz-copy-source": "/photos/a"})
    await alice("DELETE", "/photos/a")
    got = await alice("GET", "/photos/b")

    assert copied.xml().findtext("ETag") == f'"{hashlib.md5(data).hexdigest()}"'
    assert (got.body, got.headers["x-amz-meta-a"]) == (data, "b")
    assert bundles == [len(await s.inventory(None, 100)) for s in s3_world.nodes.stores.values()]


async def test_a_copy_may_replace_the_metadata_also_upon_itself(alice: Caller) -> None:
    headers = {"x-amz-copy-source": "photos/key", "x-amz-metadata-directive": "REPLACE"}
    onto_itself = {"x-amz-copy-source": "photos/key"}
    await alice("PUT", "/photos/key", {**headers, "x-amz-meta-new": "1"})
    got = await alice("GET", "/photos/key")

    assert got.body == b"0123456789"
    assert got.headers["x-amz-meta-new"] == "1"
    assert "x-amz-meta-colour" not in got.headers
    assert (await alice("PUT", "/photos/key", onto_itself)).code == "InvalidRequest"


async def test_a_copy_into_a_bucket_of_another_class_moves_the_bytes(
    s3_world: S3World, alice: Caller
) -> None:
    data = _bytes(3 * MIB)
    await alice("PUT", "/photos/a", {"x-amz-meta-a": "b"}, data)
    await alice("PUT", "/cheap", {"x-fileflux-class": "single"})
    for size, key in ((3 * MIB, "a"), (10, "key"), (0, "empty")):
        if not size:
            await alice("PUT", "/photos/empty", {}, b"")
        copied = await alice("PUT", f"/cheap/{key}", {"x-amz-copy-source": f"/photos/{key}"})
        assert copied.status == 200, copied.body
        assert len((await alice("GET", f"/cheap/{key}")).body) == size
    got = await alice("GET", "/cheap/a")

    assert (got.body, got.headers["x-amz-meta-a"]) == (data, "b")
    assert got.headers["etag"] == f'"{hashlib.md5(data).hexdigest()}"'
    assert s3_world.is_idle()


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("photos/none", "NoSuchKey"),
        ("missing/key", "NoSuchBucket"),
        ("photos", "InvalidArgument"),
        ("", "InvalidArgument"),
        ("/", "InvalidArgument"),
        ("photos/", "InvalidArgument"),
        ("photos/key?versionId=7", "NoSuchVersion"),
        ("photos/key?versionId=", "InvalidArgument"),
        ("photos/key?foo=7", "InvalidArgument"),
        ("%ff/key", "InvalidArgument"),
        ("photos/%ff", "InvalidURI"),
        ("photos/%zz", "InvalidArgument"),
        ("photos/" + "x" * 1025, "KeyTooLongError"),
        ("http://photos/key", "InvalidArgument"),
        ("arn:aws:s3:::photos/key", "InvalidArgument"),
    ],
)
async def test_a_source_that_names_nothing_is_refused(
    source: str, code: str, alice: Caller
) -> None:
    upload_id = await begin(alice)
    headers = {"x-amz-copy-source": source}
    copied = await alice("PUT", "/photos/b", headers)
    part = await alice("PUT", f"/photos/big?partNumber=1&uploadId={upload_id}", headers)

    assert (copied.code, part.code) == (code, code)
    assert (await alice("HEAD", "/photos/b")).status == 404


@pytest.mark.parametrize(
    ("condition", "is_copied"),
    [
        ({"x-amz-copy-source-if-match": '"781e5e245d69b566979b86e28d23f2c7"'}, True),
        ({"x-amz-copy-source-if-match": '"0"'}, False),
        ({"x-amz-copy-source-if-none-match": '"0"'}, True),
        ({"x-amz-copy-source-if-none-match": '"781e5e245d69b566979b86e28d23f2c7"'}, False),
        ({"x-amz-copy-source-if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}, True),
        ({"x-amz-copy-source-if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}, False),
    ],
)
async def test_a_copy_has_conditions_on_its_source(
    condition: dict[str, str], is_copied: bool, alice: Caller
) -> None:
    copied = await alice("PUT", "/photos/b", {"x-amz-copy-source": "photos/key", **condition})

    assert copied.code == ("" if is_copied else "PreconditionFailed")


async def test_parts_may_be_slices_of_objects(s3_world: S3World, alice: Caller) -> None:
    data = _bytes(12 * MIB)
    await alice("PUT", "/photos/a", {}, data)
    upload_id = await begin(alice)
    etags = {}
    for number, (first, last) in enumerate([(7, PART + 6), (8 * MIB - 1, 8 * MIB + 1)], 1):
        target = f"/photos/big?partNumber={number}&uploadId={upload_id}"
        headers = {
            "x-amz-copy-source": "photos/a",
            "x-amz-copy-source-range": f"bytes={first}-{last}",
        }
        copied = await alice("PUT", target, headers)
        etags[number] = copied.xml().findtext("ETag") or ""
        assert etags[number] == f'"{hashlib.md5(data[first : last + 1]).hexdigest()}"'
    await alice("DELETE", "/photos/a")
    done = await complete(alice, upload_id, etags)

    assert done.status == 200, done.body
    want = data[7 : PART + 7] + data[8 * MIB - 1 : 8 * MIB + 2]
    assert (await alice("GET", "/photos/big")).body == want
    assert s3_world.is_idle()


async def test_slices_of_an_object_made_of_parts_of_slices(alice: Caller) -> None:
    """A copied part of a copied part: offsets add up."""
    await store_in_parts(alice, "/photos/one", _bytes(PART + 100))
    second = await begin(alice, "/photos/two")
    target = f"/photos/two?partNumber=1&uploadId={second}"
    headers = {"x-amz-copy-source": "photos/one", "x-amz-copy-source-range": "bytes=10-5242900"}
    etag = (await alice("PUT", target, headers)).xml().findtext("ETag") or ""
    assert (await complete(alice, second, {1: etag}, "/photos/two")).status == 200
    third = await begin(alice, "/photos/three")
    target = f"/photos/three?partNumber=1&uploadId={third}"
    headers = {"x-amz-copy-source": "photos/two", "x-amz-copy-source-range": "bytes=5-5242890"}
    etag = (await alice("PUT", target, headers)).xml().findtext("ETag") or ""
    assert (await complete(alice, third, {1: etag}, "/photos/three")).status == 200

    assert (await alice("GET", "/photos/three")).body == _bytes(PART + 100)[15:5_242_901]


async def store_in_parts(caller: Caller, target: str, data: bytes) -> None:
    """Store `data` as a multipart upload of two parts."""
    upload_id = await begin(caller, target)
    etags = {
        1: await put_part(caller, upload_id, 1, data[:PART], target),
        2: await put_part(caller, upload_id, 2, data[PART:], target),
    }
    assert (await complete(caller, upload_id, etags, target)).status == 200


@pytest.mark.parametrize("header", ["bytes=0-10", "bytes=5-4", "bytes=0-", "bytes=-5", "x", ""])
async def test_a_slice_outside_the_source_is_refused(header: str, alice: Caller) -> None:
    upload_id = await begin(alice)
    headers = {"x-amz-copy-source": "photos/key", "x-amz-copy-source-range": header}
    copied = await alice("PUT", f"/photos/big?partNumber=1&uploadId={upload_id}", headers)

    assert copied.code in ("InvalidArgument", "InvalidRequest")


async def test_nobody_copies_from_another_users_bucket(
    s3_world: S3World, alice: Caller, bob: Caller
) -> None:
    await bob("PUT", "/bobs")
    upload_id = await begin(bob, "/bobs/big")
    headers = {"x-amz-copy-source": "photos/key"}

    assert (await bob("PUT", "/bobs/b", headers)).code == "AccessDenied"
    part = await bob("PUT", f"/bobs/big?partNumber=1&uploadId={upload_id}", headers)
    assert part.code == "AccessDenied"
    assert (await alice("PUT", "/bobs/b", headers)).code == "AccessDenied"


async def test_a_bucket_that_changed_hands_meanwhile_is_not_copied_from(
    s3_world: S3World, alice: Caller
) -> None:
    """Found by reading: who owns the source came from a cache, its bytes from the name alone."""
    directory = BucketDirectory(s3_world.reader, s3_world.clock)
    elsewhere = S3App(replace(s3_world.deps, buckets=directory), host_id="another worker")
    alice_elsewhere, bob_elsewhere = Caller(elsewhere, ALICE), Caller(elsewhere, BOB)
    await alice_elsewhere("PUT", "/hers")
    upload_id = await begin(alice, "/hers/big")
    assert (await alice("HEAD", "/photos")).status == 200, "now this worker knows whose it is"
    await alice_elsewhere("DELETE", "/photos/key")
    assert (await alice_elsewhere("DELETE", "/photos")).status == 204
    assert (await bob_elsewhere("PUT", "/photos")).status == 200
    assert (await bob_elsewhere("PUT", "/photos/key", {}, b"bobs")).status == 200
    headers = {"x-amz-copy-source": "photos/key"}
    copied = await alice("PUT", "/hers/stolen", headers)
    part = await alice("PUT", f"/hers/big?partNumber=1&uploadId={upload_id}", headers)

    assert copied.code in ("NoSuchBucket", "AccessDenied")
    assert part.code in ("NoSuchBucket", "AccessDenied")
    assert (await alice("HEAD", "/hers/stolen")).status == 404


async def test_a_get_whose_object_is_replaced_under_it_sends_the_new_one(
    s3_world: S3World, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row was read, then an overwrite removed its parts: 503 would be true but needless."""
    upload_id = await begin(alice)
    etag = await put_part(alice, upload_id, 1, b"the old version")
    assert (await complete(alice, upload_id, {1: etag})).status == 200
    manifests = s3_world.reader.part_manifests

    async def overwritten_meanwhile(found: UploadId, numbers: Sequence[int]) -> dict[int, Manifest]:
        monkeypatch.setattr(s3_world.reader, "part_manifests", manifests)
        assert (await alice("PUT", "/photos/big", {}, b"the new one")).status == 200
        return await manifests(found, numbers)

    monkeypatch.setattr(s3_world.reader, "part_manifests", overwritten_meanwhile)
    got = await alice("GET", "/photos/big")

    assert (got.status, got.body) == (200, b"the new one")


async def change_class(world: S3World, bucket: str, name: str) -> None:
    """Let a bucket have another storage class from now on."""
    row = await world.deps.buckets.find(bucket)
    change = ConfigureBucket(
        upload_id=UploadId(new_id(random.SystemRandom())),
        actor=Actor(ALICE.user_id, "alice", ""),
        at_us=world.clock.now_us(),
        bucket_id=row.bucket_id,
        bucket=bucket,
        entries={"class": name},
    )
    assert (await world.submit(change)).ok
    world.deps.buckets.forget(bucket)


def wanted_replicas(world: S3World, parts: Sequence[PartRow]) -> list[int]:
    bundle_ids = [chunk.bundle_id for part in parts for chunk in part.manifest.chunks]
    bundles = world.database.tables.rows("bundles")
    return [bundles[(bundle_id,)].wanted for bundle_id in bundle_ids]


async def test_parts_are_stored_as_their_upload_began_whatever_the_bucket_says_since(
    s3_world: S3World, alice: Caller
) -> None:
    upload_id = await begin(alice)
    await put_part(alice, upload_id, 1, _bytes(PART))
    await change_class(s3_world, "photos", "single")
    etag = await put_part(alice, upload_id, 2, b"the rest")
    parts = await s3_world.reader.list_parts(
        UploadId(bytes.fromhex(upload_id)), after=0, max_parts=9
    )

    assert wanted_replicas(s3_world, parts) == [3, 3]
    assert parts[1].etag == etag.strip('"')


@pytest.mark.parametrize("size", [0, 10, PART + 3])
async def test_a_copied_part_of_another_class_is_stored_as_its_upload_wants(
    s3_world: S3World, alice: Caller, size: int
) -> None:
    data = _bytes(size)
    await alice("PUT", "/cheap", {"x-fileflux-class": "single"})
    await alice("PUT", "/cheap/source", {}, data)
    upload_id = await begin(alice)
    target = f"/photos/big?partNumber=1&uploadId={upload_id}"
    copied = await alice("PUT", target, {"x-amz-copy-source": "/cheap/source"})
    assert copied.status == 200, copied.body
    etag = copied.xml().findtext("ETag") or ""
    parts = await s3_world.reader.list_parts(
        UploadId(bytes.fromhex(upload_id)), after=0, max_parts=9
    )
    await complete(alice, upload_id, {1: etag})

    assert etag.strip('"') == hashlib.md5(data).hexdigest()
    assert copied.xml().findtext("ChecksumCRC64NVME") is not None
    assert set(wanted_replicas(s3_world, parts)) == ({3} if size else set())
    assert (await alice("GET", "/photos/big")).body == data
    assert s3_world.is_idle()
