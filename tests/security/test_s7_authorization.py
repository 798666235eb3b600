"""S7: each operation, by everybody, on every bucket: exactly the table; refusals change nothing."""

from dataclasses import replace

import pytest
from tests.model.s3_caller import Caller
from tests.model.s3_requests import IMPLEMENTED, REST_REQUESTS, S3_REQUESTS
from tests.model.s3_world import ALICE, BOB, S3World
from tests.security.crowd import PEOPLE, ask_as, content, expected_code, outcome, settle_in
from tests.security.inputs import Inputs

from fileflux.ingest.operations import Operation


@pytest.mark.parametrize("bucket", ["alice's", "bob's", "missing"])
@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("operation", IMPLEMENTED, ids=lambda o: o.name)
async def test_s7_an_operation_is_allowed_to_whom_the_table_says(
    operation: Operation, who: str, bucket: str, world: S3World, inputs: Inputs
) -> None:
    inputs.count()
    name = operation.name
    names = (await settle_in(world))[bucket]
    if name == "DeleteBucket" and bucket != "missing":
        owner = ALICE if bucket == "alice's" else BOB
        await Caller(world.app, owner)("DELETE", f"/{names.bucket}/key")
    before = await content(world)
    request = S3_REQUESTS[name](names)
    answer = await ask_as(world, PEOPLE[who], request)
    expected = expected_code(name, who, bucket)
    if request.method == "HEAD" and expected == "InvalidAccessKeyId":
        expected = "AccessDenied"  # A HEAD has no body to tell them apart.

    assert outcome(answer, request.method) == expected, answer.body
    if expected != "ok":
        assert await content(world) == before, "a refusal changed something"


@pytest.mark.parametrize("bucket", ["alice's", "bob's", "missing"])
@pytest.mark.parametrize("who", ["another tenant", "the owner", "root"])
@pytest.mark.parametrize("endpoint", REST_REQUESTS)
async def test_s7_the_rest_endpoints_follow_the_same_table(
    endpoint: str, who: str, bucket: str, world: S3World, inputs: Inputs
) -> None:
    inputs.count()
    names = (await settle_in(world))[bucket]
    request = REST_REQUESTS[endpoint](names)
    user = PEOPLE[who]
    assert user is not None
    before = await content(world)
    caller = Caller(world.app, user)
    answer = await caller.basic(request.method, request.target, dict(request.headers), request.body)
    expected = expected_code("any", who, bucket)
    if endpoint == "delete bucket" and expected == "ok":
        expected = "BucketNotEmpty"

    assert outcome(answer, request.method) == expected, answer.body
    if expected != "ok":
        assert await content(world) == before


@pytest.mark.parametrize("who", ["another tenant", "the owner", "root"])
@pytest.mark.parametrize("source", ["alice's", "bob's", "missing"])
@pytest.mark.parametrize("target", ["alice's", "bob's", "missing"])
@pytest.mark.parametrize("name", ["CopyObject", "UploadPartCopy"])
async def test_s7_a_copy_needs_both_buckets(
    name: str, target: str, source: str, who: str, world: S3World, inputs: Inputs
) -> None:
    inputs.count()
    found = await settle_in(world)
    names = replace(found[target], source=f"{found[source].bucket}/key")
    before = await content(world)
    answer = await ask_as(world, PEOPLE[who], S3_REQUESTS[name](names))
    expected = expected_code(name, who, target)
    if expected == "ok":
        expected = expected_code(name, who, source)

    assert outcome(answer, "PUT") == expected, answer.body
    if expected != "ok":
        assert await content(world) == before
