"""Every operation of the table through the whole application: wired, answered, refused by name."""

from dataclasses import replace

import pytest
from tests.model.s3_caller import Caller
from tests.model.s3_requests import (
    IMPLEMENTED,
    LACKING,
    S3_REQUESTS,
    Names,
    Request,
    lacking_request,
)
from tests.model.s3_world import S3World

from fileflux.ingest.operation_handlers import HANDLERS
from fileflux.ingest.operations import Operation

NO_CONTENT = frozenset(("DeleteBucket", "DeleteObject", "AbortMultipartUpload"))


async def _send(caller: Caller, request: Request) -> tuple[int, str]:
    answer = await caller(request.method, request.target, dict(request.headers), request.body)
    return answer.status, answer.code


async def names_with_upload(caller: Caller, names: Names) -> Names:
    """Begin an upload with part 1; return the names that lead to it."""
    begun = await caller("POST", f"{names.path}?uploads")
    upload_id = begun.xml().findtext("UploadId") or ""
    part = await caller("PUT", f"{names.path}?partNumber=1&uploadId={upload_id}", {}, b"a part")
    assert part.status == 200, part.body
    return replace(names, upload_id=upload_id, etag=part.headers["etag"].strip('"'))


def test_the_table_of_operations_the_handlers_and_the_test_requests_name_the_same_ones() -> None:
    """An operation without a handler would be a KeyError in front of a client."""
    names = {operation.name for operation in IMPLEMENTED}

    assert set(HANDLERS) == names
    assert set(S3_REQUESTS) == names


@pytest.mark.parametrize("operation", IMPLEMENTED, ids=lambda o: o.name)
async def test_every_operation_answers_its_owner(
    operation: Operation, s3_world: S3World, alice: Caller
) -> None:
    names = await names_with_upload(alice, Names())
    if operation.name == "CreateBucket":
        names = replace(names, bucket="another")
    if operation.name == "DeleteBucket":
        await alice("DELETE", "/photos/key")
    status, code = await _send(alice, S3_REQUESTS[operation.name](names))

    assert (status, code) == (204 if operation.name in NO_CONTENT else 200, "")
    assert s3_world.is_idle()


@pytest.mark.parametrize("operation", LACKING, ids=lambda o: o.name)
async def test_every_operation_that_is_lacking_is_refused_by_its_name(
    operation: Operation, alice: Caller
) -> None:
    request = lacking_request(operation, Names())
    answer = await alice(request.method, request.target, dict(request.headers))

    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert answer.xml().findtext("Operation") == operation.name
    assert (await alice("HEAD", "/photos/key")).status == 200


@pytest.mark.parametrize("operation", IMPLEMENTED, ids=lambda o: o.name)
async def test_every_operation_on_a_missing_bucket_says_so(
    operation: Operation, alice: Caller
) -> None:
    if operation.name in ("ListBuckets", "CreateBucket"):
        return
    request = S3_REQUESTS[operation.name](Names(bucket="missing"))
    answer = await alice(request.method, request.target, dict(request.headers), request.body)

    assert answer.status == 404
    assert answer.code in ("NoSuchBucket", "")
    assert (answer.code == "") == (request.method == "HEAD")


@pytest.mark.parametrize("operation", IMPLEMENTED, ids=lambda o: o.name)
async def test_a_failing_database_is_503_and_leaves_nothing_behind(
    operation: Operation, s3_world: S3World, alice: Caller
) -> None:
    names = await names_with_upload(alice, Names())
    s3_world.database.faults.serialization_failures = 0.3
    for _ in range(3):
        status, code = await _send(alice, S3_REQUESTS[operation.name](names))
        assert status < 500 or (status, code) == (503, "SlowDown"), (status, code)
    s3_world.database.faults.serialization_failures = 0.0

    assert s3_world.is_idle()


async def test_every_answer_names_the_request_and_the_server(alice: Caller) -> None:
    ids = set()
    for target in ("/photos/key", "/photos/none", "/", "/photos?acl"):
        answer = await alice("GET", target)
        ids.add(answer.headers["x-amz-request-id"])
        assert answer.headers["server"] == "FileFlux"
        assert answer.headers["x-amz-id-2"] == "test"

    assert len(ids) == 4
