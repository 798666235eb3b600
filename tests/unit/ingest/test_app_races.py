"""Requests at the same time through the whole application: somebody wins, nobody is confused."""

import asyncio

from tests.model.s3_caller import Caller
from tests.model.s3_requests import DELETE_BODY
from tests.model.s3_world import S3World

MANY = 30


async def test_of_many_creations_of_one_key_exactly_one_wins(alice: Caller) -> None:
    headers = {"If-None-Match": "*"}
    answers = await asyncio.gather(
        *(alice("PUT", "/photos/once", headers, bytes([n])) for n in range(MANY))
    )
    winners = [n for n, answer in enumerate(answers) if answer.status == 200]

    assert len(winners) == 1
    assert {answer.code for answer in answers} == {"", "PreconditionFailed"}
    assert (await alice("GET", "/photos/once")).body == bytes(winners)


async def test_of_many_replacements_of_one_version_exactly_one_wins(alice: Caller) -> None:
    etag = (await alice("HEAD", "/photos/key")).headers["etag"]
    answers = await asyncio.gather(
        *(alice("PUT", "/photos/key", {"If-Match": etag}, bytes([n])) for n in range(MANY))
    )
    winners = [n for n, answer in enumerate(answers) if answer.status == 200]

    assert len(winners) == 1
    assert (await alice("GET", "/photos/key")).body == bytes(winners)


async def test_of_many_creations_of_one_bucket_exactly_one_wins(alice: Caller, bob: Caller) -> None:
    answers = await asyncio.gather(*((alice, bob)[n % 2]("PUT", "/new") for n in range(MANY)))

    assert [answer.status for answer in answers].count(200) == 1
    assert {answer.code for answer in answers} <= {
        "",
        "BucketAlreadyExists",
        "BucketAlreadyOwnedByYou",
    }


async def test_a_bucket_that_goes_while_objects_come_loses_none_that_was_promised(
    s3_world: S3World, alice: Caller
) -> None:
    """Either the object is there and the bucket stays, or it was refused."""
    for number in range(10):
        await alice("PUT", "/brief")
        put, deleted = await asyncio.gather(
            alice("PUT", "/brief/key", {}, b"x"), alice("DELETE", "/brief")
        )
        if put.status == 200:
            assert deleted.code == "BucketNotEmpty", number
            assert (await alice("GET", "/brief/key")).body == b"x"
            await alice("DELETE", "/brief/key")
        else:
            assert (put.code, deleted.status) == ("NoSuchBucket", 204), number
    assert s3_world.is_idle()


async def test_readers_of_a_key_that_changes_see_whole_versions(alice: Caller) -> None:
    versions = [bytes([n]) * 70_000 for n in range(10)]

    async def write() -> None:
        for data in versions:
            assert (await alice("PUT", "/photos/x", {}, data)).status == 200

    async def read() -> None:
        for _ in range(20):
            got = await alice("GET", "/photos/x")
            assert got.status in (200, 404)
            assert got.status == 404 or got.body in versions

    await asyncio.gather(write(), *(read() for _ in range(5)))


async def test_completing_and_aborting_at_once_has_one_outcome(alice: Caller) -> None:
    for _ in range(5):
        begun = await alice("POST", "/photos/multi?uploads")
        upload_id = begun.xml().findtext("UploadId")
        target = f"/photos/multi?uploadId={upload_id}"
        part = await alice("PUT", f"{target}&partNumber=1", {}, b"part")
        listed = f"<Part><PartNumber>1</PartNumber><ETag>{part.headers['etag']}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        done, aborted = await asyncio.gather(
            alice("POST", target, {}, body), alice("DELETE", target)
        )
        is_there = (await alice("HEAD", "/photos/multi")).status == 200

        assert (done.status == 200) == is_there
        assert is_there or (done.code, aborted.status) == ("NoSuchUpload", 204)
        await alice("POST", "/photos?delete", {}, DELETE_BODY.replace(b"key", b"multi"))
