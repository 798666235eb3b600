"""The original REST endpoints through the whole application, told apart from S3 by HTTP Basic."""

import json

import pytest
from tests.model.asgi_client import Response, exchange
from tests.model.s3_caller import Caller, plain
from tests.model.s3_requests import BOUNDARY, form_request
from tests.model.s3_world import ALICE, ROOT, S3World, User, open_s3_world

from fileflux.core.model import MIB

JSON = {"Content-Type": "application/json"}


async def _upload(caller: Caller, target: str, data: bytes) -> Response:
    request = form_request(target, data)
    pieces = [request.body[at : at + 1000] for at in range(0, len(request.body), 1000)]
    return await caller.basic(request.method, request.target, dict(request.headers), pieces)


async def test_the_original_way_from_a_user_to_a_file(s3_world: S3World, root: Caller) -> None:
    body = json.dumps({"username": "dora", "password": "long enough"}).encode()
    made = await root.basic("POST", "/create_user", JSON, body)
    assert made.status == 201
    keys = json.loads(made.body)
    dora = Caller(s3_world.app, User("dora", keys["access_key"], keys["secret_key"], "long enough"))

    assert (await dora.basic("GET", "/authenticate")).status == 200
    assert (await dora.basic("POST", "/create_bucket/files")).status == 201
    assert (await _upload(dora, "/upload/files/a/b.txt", b"hello")).status == 201
    got = await dora.basic("GET", "/files/a/b.txt")
    assert (got.status, got.body, got.headers["content-type"]) == (200, b"hello", "text/plain")
    assert (await dora("GET", "/files/a/b.txt")).body == b"hello", "by S3 it is the same object"
    assert (await dora.basic("HEAD", "/files/a/b.txt")).headers["content-length"] == "5"
    assert (await dora.basic("DELETE", "/files/a/b.txt")).status == 204
    assert (await dora.basic("GET", "/files/a/b.txt")).status == 404
    assert (await dora.basic("DELETE", "/delete_bucket/files")).status == 200
    assert (await dora("HEAD", "/files")).status == 404


async def test_a_user_and_its_first_key_are_made_by_one_transaction(
    s3_world: S3World, root: Caller
) -> None:
    before = len(s3_world.database.tables.rows("audit_pending"))
    made = await root.basic("POST", "/create_user", {}, b"username=eve&password=long+enough")

    assert made.status == 201
    blocks = list(s3_world.database.tables.rows("audit_pending"))
    assert len(blocks) == before + 1, "a death in between would leave a user without a key"


async def test_only_root_may_create_users(alice: Caller, s3_world: S3World) -> None:
    body = b"username=eve&password=long+enough"
    by_user = await alice.basic("POST", "/create_user", {}, body)
    by_nobody = await exchange(s3_world.app, plain("POST", "/create_user", {}, body), body)

    assert (by_user.status, by_user.code) == (403, "AccessDenied")
    assert by_nobody.status == 403


async def test_a_setting_opens_registration_to_everybody() -> None:
    async with open_s3_world(open_registration=True) as world:
        body = b"username=eve&password=long+enough"
        made = await exchange(world.app, plain("POST", "/create_user", {}, body), body)
        again = await exchange(world.app, plain("POST", "/create_user", {}, body), body)

        assert made.status == 201, made.body
        assert (again.status, again.code) == (409, "EntityAlreadyExists")
        keys = json.loads(made.body)
        eve = Caller(world.app, User("eve", keys["access_key"], keys["secret_key"], "long enough"))
        assert (await eve("PUT", "/eves")).status == 200
        assert (await eve.basic("GET", "/authenticate")).status == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (JSON, b"{"),
        (JSON, b"[]"),
        (JSON, b"null"),
        (JSON, b'{"username": "eve"}'),
        (JSON, b'{"username": "eve", "password": "short"}'),
        (JSON, b'{"username": "e v", "password": "long enough"}'),
        (JSON, b'{"username": 7, "password": "long enough"}'),
        (JSON, b'{"username": "eve", "password": "\\ud800 long enough"}'),
        (JSON, b'{"username": "eve", "password": "' + b"x" * 2000 + b'"}'),
        (JSON, b"[" * 10_000),
        (JSON, b'{"username": ' + b"9" * 5000 + b"}"),
        ({}, b"\xff\xfe"),
        ({}, b""),
        ({}, b"username=eve&password=%ff%ff%ff%ff%ff%ff%ff%ff%zz"),
        ({}, b"&".join([b"a=b"] * 100)),
    ],
)
async def test_an_account_that_cannot_be_is_refused(
    headers: dict[str, str], body: bytes, s3_world: S3World, root: Caller
) -> None:
    made = await root.basic("POST", "/create_user", headers, body)

    assert (made.status, made.code) == (400, "InvalidRequest"), made.body
    assert await s3_world.reader.find_user("eve") is None


async def test_a_registration_that_is_too_long_is_refused(root: Caller) -> None:
    made = await root.basic("POST", "/create_user", {}, b"x" * 20_000)

    assert (made.status, made.code) == (400, "MaxMessageLengthExceeded")


async def test_a_wrong_password_is_refused(s3_world: S3World, alice: Caller) -> None:
    for user in (
        User("alice", "", "", "wrong password"),
        User("nobody", "", "", "correct horse"),
        User("", "", ""),
    ):
        answer = await Caller(s3_world.app, user).basic("GET", "/authenticate")
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, MIB, 3 * MIB + 7])
async def test_an_upload_of_a_form_is_the_files_bytes(
    size: int, s3_world: S3World, alice: Caller
) -> None:
    data = (f"\r\n--{BOUNDARY}x\r\n".encode() * (size // 10 + 1))[:size]
    stored = await _upload(alice, "/upload/photos/f", data)

    assert (stored.status, json.loads(stored.body)["size"]) == (201, size)
    assert (await alice("GET", "/photos/f")).body == data
    assert s3_world.is_idle()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", b"hello"),
        ("multipart/form-data", b"--x--\r\n"),
        ("multipart/form-data; boundary=", b"----\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data; boundary=" + "x" * 300, b"--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\nhi\r\n--x--\r\n',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhi\r\n',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n1\r\n'
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n2\r\n--x--\r\n',
        ),
    ],
)
async def test_a_form_without_one_whole_file_stores_nothing(
    content_type: str, body: bytes, s3_world: S3World, alice: Caller
) -> None:
    answer = await alice.basic("PUT", "/upload/photos/f", {"Content-Type": content_type}, body)

    assert (answer.status, answer.code) in ((400, "InvalidRequest"), (411, "MissingContentLength"))
    assert (await alice("HEAD", "/photos/f")).status == 404
    assert s3_world.is_idle()


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/", 405, "MethodNotAllowed"),
        ("GET", "/photos", 405, "MethodNotAllowed"),
        ("POST", "/photos/key", 405, "MethodNotAllowed"),
        ("PUT", "/photos/key", 405, "MethodNotAllowed"),
        ("PATCH", "/photos/key", 405, "MethodNotAllowed"),
        ("POST", "/create_bucket/", 400, "InvalidBucketName"),
        ("POST", "/create_bucket/a/b", 400, "InvalidBucketName"),
        ("POST", "/create_bucket/photos", 409, "BucketAlreadyOwnedByYou"),
        ("DELETE", "/delete_bucket/photos", 409, "BucketNotEmpty"),
        ("DELETE", "/delete_bucket/missing", 404, "NoSuchBucket"),
        ("PUT", "/upload/photos", 400, "UserKeyMustBeSpecified"),
        ("PUT", "/upload/photos/", 400, "UserKeyMustBeSpecified"),
        ("PUT", "/upload/missing/key", 404, "NoSuchBucket"),
        ("GET", "/photos/none", 404, "NoSuchKey"),
        ("GET", "/missing/key", 404, "NoSuchBucket"),
        ("GET", "/photos%00/key", 400, "InvalidBucketName"),
        ("POST", "/create_user/x", 400, "InvalidURI"),
    ],
)
async def test_a_rest_request_that_cannot_be_is_refused_by_name(
    method: str, target: str, status: int, code: str, alice: Caller
) -> None:
    answer = await alice.basic(method, target)

    assert (answer.status, answer.code) == (status, code), answer.body


async def test_root_may_and_bob_may_not(alice: Caller, bob: Caller, root: Caller) -> None:
    assert (await root.basic("GET", "/photos/key")).status == 200
    for method, target in (
        ("GET", "/photos/key"),
        ("HEAD", "/photos/key"),
        ("DELETE", "/photos/key"),
        ("DELETE", "/delete_bucket/photos"),
        ("PUT", "/upload/photos/key"),
    ):
        assert (await bob.basic(method, target)).status == 403


async def test_basic_is_never_s3(alice: Caller) -> None:
    """A browser that remembers a password must not be made to run S3's operations."""
    assert (await alice.basic("GET", "/photos?list-type=2")).status == 405
    assert (await alice.basic("POST", "/photos?delete", {}, b"<Delete/>")).status == 405
    assert (await alice.basic("PUT", "/another")).status == 405


async def test_roots_password_is_its_secret(s3_world: S3World) -> None:
    answer = await Caller(s3_world.app, ROOT).basic("GET", "/authenticate")

    assert json.loads(answer.body) == {"authenticated": True, "username": "root"}
    assert ALICE.password not in answer.body.decode()


async def test_a_sub_resource_of_s3_never_reaches_the_object(
    s3_world: S3World, root: Caller
) -> None:
    """`DELETE /bucket/key?uploadId=…` aborts an upload in S3; it must not delete the object."""
    await root("PUT", "/rest-bucket")
    await _upload(root, "/upload/rest-bucket/key", b"bytes")
    answer = await root.basic("DELETE", "/rest-bucket/key?uploadId=00")

    assert answer.status == 501
    assert (await root("GET", "/rest-bucket/key")).body == b"bytes"
