"""A bucket that asks for it has a record of every read and every refusal, before the answer."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.model.asgi_client import exchange
from tests.model.s3_caller import Caller, plain
from tests.model.s3_world import ALICE, BOB, LANES, ROOT, S3World, User, open_s3_world
from tests.model.schema_check import found_wrong, problems
from tests.security.signing import NOW_S

from fileflux.core.changes import ConfigureBucket
from fileflux.events.topics import ACCESS
from fileflux.ingest.access_schema import access_headers


@pytest.fixture
async def world() -> AsyncIterator[S3World]:
    """ALICE has `logged`, which asks, and `quiet`, which does not; an object `key` in each."""
    async with open_s3_world() as made:
        alice = Caller(made.app, ALICE)
        for bucket in ("logged", "quiet"):
            assert (await alice("PUT", f"/{bucket}")).status == 200
            assert (await alice("PUT", f"/{bucket}/key", {}, b"0123456789")).status == 200
        row = (await made.reader.find_buckets(["logged"]))["logged"]
        change = ConfigureBucket(
            **made._base(),
            bucket_id=row.bucket_id,
            bucket="logged",
            entries={"access_log": True},
        )
        assert (await made.submit(change)).ok
        made.deps.buckets.forget("logged")
        yield made
        await made.deps.access.close()


def records(world: S3World) -> list[dict[str, Any]]:
    """What was recorded, each with its CloudEvent attributes as `ce_…`."""
    found = [one for lane in range(LANES) for one in world.broker.records(ACCESS, lane)]
    for one in found:
        headers = {name: value.decode() for name, value in one.headers}
        assert problems("access-record", one.value) == [], "as the published schema says"
        assert found_wrong(access_headers(), headers) == []
    return [
        {**json.loads(one.value), **{name: value.decode() for name, value in one.headers}}
        for one in found
    ]


async def test_every_read_is_recorded_and_no_change_is(world: S3World) -> None:
    alice = Caller(world.app, ALICE)
    for method, target in (
        ("GET", "/logged/key"),
        ("HEAD", "/logged/key"),
        ("GET", "/logged?list-type=2"),
        ("GET", "/logged?location"),
        ("PUT", "/logged/other"),
        ("DELETE", "/logged/other"),
        ("GET", "/quiet/key"),
    ):
        assert (await alice(method, target)).status in (200, 204)
    assert (await alice.basic("GET", "/logged/key")).status == 200

    found = records(world)
    assert [(one["operation"], one.get("key"), one["status"]) for one in found] == [
        ("GetObject", "key", 200),
        ("HeadObject", "key", 200),
        ("ListObjectsV2", None, 200),
        ("GetBucketLocation", None, 200),
        ("GetObject", "key", 200),
    ]
    first = found[0]
    assert (first["size"], first["actor"]["user_name"]) == (10, "alice")
    assert first["actor"]["key_id"] == ALICE.access_key
    assert first["owner"] == ALICE.user_id.hex()
    assert first["ce_type"] == "fileflux.access.read"
    assert first["ce_source"] == "/buckets/logged"
    assert abs(first["at_us"] - NOW_S * 1_000_000) < 600_000_000
    assert len({one["ce_id"] for one in found}) == len(found)


async def test_every_refusal_is_recorded_whoever_asks_and_whatever_for(world: S3World) -> None:
    alice, bob = Caller(world.app, ALICE), Caller(world.app, BOB)
    forged = Caller(world.app, User("alice", ALICE.access_key, "a wrong secret"))
    assert (await bob("GET", "/logged/key")).status == 403
    assert (await bob("PUT", "/logged/key", {}, b"x")).status == 403
    assert (await forged("GET", "/logged/key")).status == 403
    assert (await exchange(world.app, plain("GET", "/logged/key"))).status == 403
    assert (await alice("GET", "/logged/missing")).status == 404
    assert (await bob.basic("GET", "/logged/key")).status == 403
    assert (await bob("GET", "/quiet/key")).status == 403

    found = records(world)
    assert [(one["code"], one["actor"].get("user_name")) for one in found] == [
        ("AccessDenied", "bob"),
        ("AccessDenied", "bob"),
        ("SignatureDoesNotMatch", None),
        ("AccessDenied", None),
        ("NoSuchKey", "alice"),
        ("AccessDenied", "bob"),
    ]
    assert {one["ce_type"] for one in found} == {"fileflux.access.refused"}


async def test_without_its_record_nothing_is_answered_and_the_quiet_are_not_disturbed(
    world: S3World,
) -> None:
    alice = Caller(world.app, ALICE)
    world.broker.stop()
    answer = await alice("GET", "/logged/key")
    quiet = await alice("GET", "/quiet/key")
    world.broker.start()

    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    assert b"0123456789" not in answer.body
    assert quiet.status == 200
    assert world.is_idle(), "the body that was not sent is closed"
    assert (await alice("GET", "/logged/key")).status == 200
    assert [one["status"] for one in records(world)] == [200]


async def test_no_credential_is_in_an_access_record(world: S3World) -> None:
    alice, root = Caller(world.app, ALICE), Caller(world.app, ROOT)
    agent = {"User-Agent": "x token=t0kent0ken"}
    await alice("GET", "/logged/key?response-content-type=x", {**agent})
    await alice.presigned("GET", "/logged/key", agent)
    await alice.basic("GET", "/logged/key", agent)
    await root.basic("GET", "/logged/none", {"Cookie": "t0kent0ken"})

    said = json.dumps(records(world))
    assert len(records(world)) == 4
    secrets = (ALICE.secret_key, ALICE.password, ROOT.password, "t0kent0ken", "Signature", "Basic")
    assert not [word for word in secrets if word in said]


async def test_a_verb_of_the_rest_endpoints_is_no_bucket_of_that_name(world: S3World) -> None:
    """`/authenticate/…` with a wrong password says nothing about the bucket `authenticate`."""
    alice = Caller(world.app, ALICE)
    assert (await alice("PUT", "/authenticate")).status == 200
    row = (await world.reader.find_buckets(["authenticate"]))["authenticate"]
    change = ConfigureBucket(
        **world._base(),
        bucket_id=row.bucket_id,
        bucket=row.name,
        entries={"access_log": True},
    )
    assert (await world.submit(change)).ok
    world.deps.buckets.forget("authenticate")
    wrong = Caller(world.app, User("alice", "", "", "wrong password"))
    assert (await wrong.basic("GET", "/authenticate")).status == 401

    assert records(world) == []
