"""S8: a tenant learns nothing of another one, and equal names are not the same thing."""

import re
from dataclasses import replace
from typing import Final
from urllib.parse import quote

import pytest
from tests.model.s3_caller import Caller
from tests.model.s3_requests import IMPLEMENTED, S3_REQUESTS
from tests.model.s3_world import ALICE, BOB, ROOT, S3World
from tests.security.crowd import ask_as, content, settle_in
from tests.security.inputs import Inputs

from fileflux.ingest.operations import Operation

VOLATILE: Final = re.compile(
    rb"<(RequestId|Resource|BucketName|Key|Bucket)>.*?</\1>|x-amz-request-id"
)


async def test_s8_the_same_key_in_two_tenants_is_two_objects(
    world: S3World, inputs: Inputs
) -> None:
    await settle_in(world)
    alice, bob = Caller(world.app, ALICE), Caller(world.app, BOB)
    for number in range(20):
        inputs.count()
        key = f"same/{number}"
        await alice("PUT", f"/photos/{key}", {}, b"alice's")
        await bob("PUT", f"/bobs/{key}", {}, b"bob's")
        if number % 2:
            await alice("DELETE", f"/photos/{key}")
        assert (await bob("GET", f"/bobs/{key}")).body == b"bob's"

    assert (await alice("GET", "/")).texts("Buckets/Bucket/Name") == ["photos"]
    assert (await bob("GET", "/")).texts("Buckets/Bucket/Name") == ["bobs"]
    listed = (await bob("GET", "/bobs?list-type=2&prefix=same")).texts("Contents/Key")
    assert len(listed) == 20


@pytest.mark.parametrize("operation", IMPLEMENTED, ids=lambda o: o.name)
async def test_s8_a_foreign_key_looks_the_same_whether_it_is_there_or_not(
    operation: Operation, world: S3World, inputs: Inputs
) -> None:
    """Whose it is must not tell what is in it: no 404 for some keys and 403 for others."""
    name = operation.name
    if name in ("ListBuckets", "CreateBucket"):
        return
    found = (await settle_in(world))["alice's"]
    answers = set()
    for changed in (
        found,
        replace(found, key="none"),
        replace(found, upload_id="0" * 32, etag="0" * 32),
        replace(found, key="none", upload_id="f" * 32),
    ):
        inputs.count()
        request = S3_REQUESTS[name](replace(changed, source="bobs/key"))
        answer = await ask_as(world, BOB, request)
        answers.add((answer.status, VOLATILE.sub(b"", answer.body)))

    assert len(answers) == 1


async def test_s8_another_tenants_upload_id_opens_nothing(world: S3World, inputs: Inputs) -> None:
    """The id is right, the bucket is the caller's own: still somebody else's upload."""
    found = await settle_in(world)
    stolen = replace(
        found["bob's"], upload_id=found["alice's"].upload_id, etag=found["alice's"].etag
    )
    before = await content(world)
    for name in (
        "UploadPart",
        "UploadPartCopy",
        "CompleteMultipartUpload",
        "AbortMultipartUpload",
        "ListParts",
    ):
        inputs.count()
        answer = await ask_as(world, BOB, S3_REQUESTS[name](stolen))
        assert answer.code == "NoSuchUpload", name

    assert await content(world) == before


async def test_s8_the_status_of_an_accepted_upload_is_its_owners(
    world: S3World, inputs: Inputs
) -> None:
    inputs.count()
    await settle_in(world)
    headers = {"Prefer": "respond-async"}
    accepted = await Caller(world.app, ALICE)("PUT", "/photos/later", headers, b"data")
    location = accepted.headers["location"]

    assert accepted.status == 202
    assert (await Caller(world.app, ALICE)("GET", location)).status == 200
    assert (await Caller(world.app, ROOT)("GET", location)).status == 200
    for wrong in (location, location[:-32], location[:-1] + "x", f"{location}é", location + "0"):
        assert (await Caller(world.app, BOB)("GET", quote(wrong))).code == "NoSuchUpload"
    for wrong in (location[:-32], location[:-1] + "x", location + "0"):
        assert (await Caller(world.app, ALICE)("GET", quote(wrong))).code == "NoSuchUpload"
