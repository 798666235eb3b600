"""What is below is away: every operation says 503, and nothing that was refused applies later."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.model.s3_caller import Caller
from tests.model.s3_requests import IMPLEMENTED, S3_REQUESTS, Names
from tests.model.s3_world import ALICE, NODES, S3World, open_s3_world

from fileflux.ingest.operations import Operation

WITH_BYTES = ("PutObject", "UploadPart")


@pytest.fixture
async def world() -> AsyncIterator[S3World]:
    """One that gives up soon."""
    async with open_s3_world(patience_s=0.5) as world:
        yield world


async def _settle_in(world: S3World) -> tuple[Caller, Names]:
    alice, names = Caller(world.app, ALICE), Names()
    await alice("PUT", "/photos")
    await alice("PUT", "/photos/key", {}, b"0123456789")
    begun = await alice("POST", f"{names.path}?uploads")
    upload_id = begun.xml().findtext("UploadId") or ""
    part = await alice("PUT", f"{names.path}?partNumber=1&uploadId={upload_id}", {}, b"a part")
    return alice, replace(names, upload_id=upload_id, etag=part.headers["etag"].strip('"'))


@pytest.mark.parametrize("operation", IMPLEMENTED, ids=lambda o: o.name)
async def test_without_a_database_every_operation_is_503(
    operation: Operation, world: S3World
) -> None:
    alice, names = await _settle_in(world)
    request = S3_REQUESTS[operation.name](names)
    world.database.faults.is_down = True
    answer = await alice(request.method, request.target, dict(request.headers), request.body)
    world.database.faults.is_down = False

    if operation.name not in ("GetBucketLocation", "GetBucketVersioning", "HeadBucket"):
        assert answer.status == 503, answer.body
        assert answer.headers["retry-after"] == "1"
    assert (await alice("GET", "/photos/key")).body == b"0123456789"
    assert world.is_idle()


@pytest.mark.parametrize("operation", IMPLEMENTED, ids=lambda o: o.name)
async def test_commits_of_which_nobody_heard_are_looked_up(
    operation: Operation, world: S3World
) -> None:
    """The connection broke during COMMIT; the settlement says what came of it."""
    alice, names = await _settle_in(world)
    if operation.name == "CreateBucket":
        names = replace(names, bucket="another")
    if operation.name == "DeleteBucket":
        await alice("DELETE", "/photos/key")
    request = S3_REQUESTS[operation.name](names)
    world.database.faults.ambiguous_commits = 0.5
    answer = await alice(request.method, request.target, dict(request.headers), request.body)
    world.database.faults.ambiguous_commits = 0.0

    assert answer.status < 300 or answer.status == 503, answer.body


@pytest.mark.parametrize("name", WITH_BYTES)
async def test_without_a_broker_a_write_is_503_and_never_applies_later(
    name: str, world: S3World
) -> None:
    alice, names = await _settle_in(world)
    request = S3_REQUESTS[name](replace(names, key="new") if name == "PutObject" else names)
    world.broker.stop()
    answer = await alice(request.method, request.target, dict(request.headers), request.body)
    world.broker.start()

    assert (answer.status, answer.code) == (503, "SlowDown"), answer.body
    assert (await alice("PUT", "/photos/later", {}, b"x")).status == 200, "it goes on"
    assert (await alice("HEAD", "/photos/new")).status == 404
    assert (await alice("GET", "/photos/key")).body == b"0123456789", "reads need no broker"
    assert world.is_idle()


@pytest.mark.parametrize("name", WITH_BYTES)
async def test_when_the_nodes_are_full_a_write_is_503(name: str, world: S3World) -> None:
    alice, names = await _settle_in(world)
    for store in world.nodes.stores.values():
        store.capacity_bytes = 0
    request = S3_REQUESTS[name](names)
    answer = await alice(request.method, request.target, dict(request.headers), request.body)

    assert answer.status == 503, answer.body
    assert (await alice("GET", "/photos/key")).body == b"0123456789"
    for store in world.nodes.stores.values():
        store.capacity_bytes = 2**40
    assert (await alice("PUT", "/photos/later", {}, b"x")).status == 200
    assert world.is_idle()


async def test_one_full_node_of_three_is_no_outage(world: S3World) -> None:
    alice, _ = await _settle_in(world)
    world.nodes.stores[NODES[0]].capacity_bytes = 0

    assert (await alice("PUT", "/photos/new", {}, b"x" * 2_000_000)).status == 200
    assert (await alice("GET", "/photos/new")).body == b"x" * 2_000_000
