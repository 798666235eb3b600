"""Objects through the whole application: what was stored is returned, and errors by name."""

import hashlib
import random
from urllib.parse import quote

import pytest
from tests.model.asgi_client import exchange
from tests.model.s3_caller import Caller, plain
from tests.model.s3_world import NODES, S3World

from fileflux.core.model import KIB, MIB

BIG = 20 * MIB + 12_345


def _bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def _cut(data: bytes, size: int = 64 * KIB) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [0, 1, 64 * KIB, 64 * KIB + 1, MIB, MIB + 1, 8 * MIB, BIG])
async def test_what_was_put_is_got(size: int, s3_world: S3World, alice: Caller) -> None:
    data = _bytes(size)
    put = await alice("PUT", "/photos/big", {}, _cut(data))
    got = await alice("GET", "/photos/big")

    assert (put.status, got.status) == (200, 200)
    assert got.body == data
    assert put.headers["etag"] == got.headers["etag"] == f'"{hashlib.md5(data).hexdigest()}"'
    assert s3_world.is_idle()


@pytest.mark.parametrize(
    ("header", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=-1", 206, BIG - 1, BIG),
        ("bytes=8388600-8388620", 206, 8_388_600, 8_388_621),
        ("bytes=65535-65536", 206, 65_535, 65_537),
        ("bytes=1-16777300", 206, 1, 16_777_301),
        ("bytes=20000000-", 206, 20_000_000, BIG),
        ("bytes=0-99999999999999999999999", 206, 0, BIG),
        ("bytes=5-4", 200, 0, BIG),
        ("bytes=0-1,3-4", 200, 0, BIG),
        ("chunks=0-1", 200, 0, BIG),
    ],
)
async def test_a_range_is_the_bytes_it_names(
    header: str, status: int, start: int, end: int, s3_world: S3World, alice: Caller
) -> None:
    data = _bytes(BIG)
    await alice("PUT", "/photos/big", {}, _cut(data))
    got = await alice("GET", "/photos/big", {"Range": header})

    assert (got.status, got.body) == (status, data[start:end])
    assert got.headers.get("content-range") == (
        f"bytes {start}-{end - 1}/{BIG}" if status == 206 else None
    )
    assert s3_world.is_idle()


async def test_a_range_behind_the_end_is_416_with_the_size(alice: Caller) -> None:
    got = await alice("GET", "/photos/key", {"Range": "bytes=10-"})

    assert (got.status, got.code) == (416, "InvalidRange")
    assert got.headers["content-range"] == "bytes */10"


async def test_headers_and_metadata_come_back(alice: Caller) -> None:
    given = {
        "Content-Type": "image/png",
        "Cache-Control": "no-store",
        "Content-Disposition": 'attachment; filename="a b.png"',
        "Content-Language": "de",
        "Content-Encoding": "gzip",
        "x-amz-meta-Long-Name": "value, with comma",
    }
    await alice("PUT", "/photos/a", given, b"not gzip at all")
    for method in ("GET", "HEAD"):
        got = await alice(method, "/photos/a")
        for name, value in given.items():
            assert got.headers[name.lower()] == value

    assert got.headers["content-length"] == "15"


async def test_a_head_is_a_get_without_the_body(alice: Caller) -> None:
    volatile = {"x-amz-request-id"}
    get, head = await alice("GET", "/photos/key"), await alice("HEAD", "/photos/key")

    assert {n: v for n, v in get.headers.items() if n not in volatile} == {
        n: v for n, v in head.headers.items() if n not in volatile
    }
    assert (await alice("HEAD", "/photos/none")).status == 404


@pytest.mark.parametrize(
    "key",
    ["a b", "ä/ö", "a//b", "../up", "%25", "plus+sign", "semi;colon", "日本", "a\x00b", "x" * 1024],
)
async def test_a_key_is_exactly_what_was_meant(key: str, alice: Caller) -> None:
    target = f"/photos/{quote(key, safe='/')}"
    await alice("PUT", target, {}, key.encode())
    got = await alice("GET", target)
    listed = await alice(
        "GET", "/photos?list-type=2&encoding-type=url&prefix=" + quote(key[:100], safe="")
    )

    assert got.body == key.encode()
    assert quote(key, safe="/-_.~*") in [
        t.replace("+", "%20") for t in listed.texts("Contents/Key")
    ]


async def test_a_key_of_1025_bytes_is_too_long(alice: Caller) -> None:
    put = await alice("PUT", "/photos/" + "x" * 1025, {}, b"x")

    assert (put.status, put.code) == (400, "KeyTooLongError")


@pytest.mark.parametrize(
    ("method", "headers", "status", "code"),
    [
        ("PUT", {"If-None-Match": "*"}, 412, "PreconditionFailed"),
        ("PUT", {"If-Match": '"0"'}, 412, "PreconditionFailed"),
        ("GET", {"If-Match": '"0"'}, 412, "PreconditionFailed"),
        ("GET", {"If-None-Match": "*"}, 304, ""),
        ("DELETE", {"If-Match": '"0"'}, 412, "PreconditionFailed"),
    ],
)
async def test_conditions_that_fail(
    method: str, headers: dict[str, str], status: int, code: str, alice: Caller
) -> None:
    answer = await alice(method, "/photos/key", headers, b"new" if method == "PUT" else b"")

    assert (answer.status, answer.code) == (status, code)
    assert (await alice("GET", "/photos/key")).body == b"0123456789"


async def test_a_failed_condition_is_told_before_the_body_is_read(alice: Caller) -> None:
    pieces = [b"x" * MIB] * 4
    answer = await alice("PUT", "/photos/key", {"If-None-Match": "*"}, pieces)

    assert answer.code == "PreconditionFailed"
    assert answer.pieces_read == 0
    assert answer.headers["connection"] == "close"


async def test_if_match_on_what_is_not_there_is_no_such_key(alice: Caller) -> None:
    put = await alice("PUT", "/photos/none", {"If-Match": '"0"'}, b"x")

    assert (put.status, put.code) == (404, "NoSuchKey")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, "BadDigest"),
        ({"Content-MD5": "nonsense"}, "InvalidDigest"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
        ({"x-amz-checksum-crc32": "A"}, "InvalidRequest"),
        ({"x-amz-acl": "public-read"}, "NotImplemented"),
        ({"x-amz-server-side-encryption": "AES256"}, "NotImplemented"),
        ({"x-amz-storage-class": "GLACIER"}, "NotImplemented"),
        ({"x-amz-storage-class": "LUKEWARM"}, "InvalidStorageClass"),
        ({"x-amz-tagging": "a=b"}, "NotImplemented"),
        ({"x-amz-meta-big": "x" * 2049}, "MetadataTooLarge"),
    ],
)
async def test_a_put_that_promises_what_is_not_true_or_not_here_stores_nothing(
    headers: dict[str, str], code: str, s3_world: S3World, alice: Caller
) -> None:
    put = await alice("PUT", "/photos/new", headers, b"data")

    assert put.code == code
    assert (await alice("HEAD", "/photos/new")).status == 404
    assert s3_world.is_idle()


async def test_a_replica_that_is_damaged_or_away_is_passed_over(
    s3_world: S3World, alice: Caller
) -> None:
    data = _bytes(3 * MIB)
    await alice("PUT", "/photos/big", {}, _cut(data))
    first, second, _ = NODES
    store = s3_world.nodes.stores[first]
    for item in await store.inventory(None, 100):
        store.damage(item.bundle_id, item.size // 2)
    s3_world.nodes.down.add(second)

    assert (await alice("GET", "/photos/big")).body == data


async def test_without_a_good_replica_it_is_503_and_never_a_wrong_byte(
    s3_world: S3World, alice: Caller
) -> None:
    s3_world.nodes.down.update(NODES)
    got = await alice("GET", "/photos/key")

    assert (got.status, got.code) == (503, "ServiceUnavailable")
    assert s3_world.is_idle()


async def test_an_overwritten_object_is_never_a_mixture(alice: Caller) -> None:
    one, two = b"1" * (2 * MIB), b"2" * (2 * MIB)
    await alice("PUT", "/photos/x", {}, one)
    await alice("PUT", "/photos/x", {}, two)

    assert (await alice("GET", "/photos/x")).body == two


async def test_overrides_of_a_presigned_url_change_the_answer_only(alice: Caller) -> None:
    target = "/photos/key?response-content-type=text%2Fcsv&response-cache-control=no-store"
    got = await alice.presigned("GET", target)

    assert (got.status, got.body) == (200, b"0123456789")
    assert got.headers["content-type"] == "text/csv"
    assert (await alice("GET", "/photos/key")).headers["content-type"] == "text/plain"


async def test_a_presigned_put_stores(alice: Caller) -> None:
    put = await alice.presigned("PUT", "/photos/by-url", {}, b"hello")

    assert put.status == 200
    assert (await alice("GET", "/photos/by-url")).body == b"hello"


async def test_deleting_twice_is_the_same_as_once(alice: Caller) -> None:
    assert (await alice("DELETE", "/photos/key")).status == 204
    assert (await alice("DELETE", "/photos/key")).status == 204
    assert (await alice("GET", "/photos/key")).code == "NoSuchKey"


async def test_a_batch_of_deletes_answers_for_every_key(alice: Caller) -> None:
    body = (
        b"<Delete><Object><Key>key</Key></Object><Object><Key>none</Key></Object>"
        b"<Object><Key>key2</Key><VersionId>7</VersionId></Object></Delete>"
    )
    await alice("PUT", "/photos/key2", {}, b"x")
    answer = await alice("POST", "/photos?delete", {}, body)

    assert answer.texts("Deleted/Key") == ["key", "none"]
    assert answer.texts("Error/Code") == ["NoSuchVersion"]
    assert (await alice("HEAD", "/photos/key2")).status == 200


async def test_another_version_than_the_current_one_is_not_there(alice: Caller) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        assert (await alice(method, "/photos/key?versionId=7")).status == 404
        assert (await alice("GET", "/photos/key?versionId=null")).status == 200


async def test_a_request_without_a_signature_is_denied(s3_world: S3World, alice: Caller) -> None:
    for method in ("GET", "PUT", "DELETE", "HEAD", "POST"):
        answer = await exchange(s3_world.app, plain(method, "/photos/key"))
        assert answer.status == 403


async def test_an_accepted_upload_has_a_status_and_becomes_visible(alice: Caller) -> None:
    put = await alice("PUT", "/photos/later", {"Prefer": "respond-async"}, b"data")
    assert put.status == 202
    states = {"accepted"}
    for _ in range(500):
        status = await alice("GET", put.headers["location"])
        if b'"ok"' in status.body:
            states.add("ok")
            break

    assert states == {"accepted", "ok"}
    assert (await alice("GET", "/photos/later")).body == b"data"
