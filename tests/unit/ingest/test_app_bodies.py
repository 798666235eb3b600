"""Bodies that nobody reads, clients that leave, and a full house: nothing is left behind."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
from tests.model.asgi_client import exchange
from tests.model.s3_caller import Caller, plain
from tests.model.s3_requests import form_request
from tests.model.s3_world import ALICE, BOB, CLASSES, NOBODY, S3World, User, open_s3_world
from tests.security.signing import Wire, sign

from fileflux.core.errors import SlowDown
from fileflux.core.model import MIB
from fileflux.ingest import answering

PIECES = [bytes([n]) * 100_000 for n in range(25)]
"""2.5 MB: a large upload."""


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("gone_after", [0, 1, 5, 24])
@pytest.mark.parametrize("target", ["/photos/new", "/photos/new?partNumber=1&uploadId=%s"])
async def test_a_client_that_leaves_in_a_large_body_leaves_nothing(
    gone_after: int, target: str, s3_world: S3World, alice: Caller
) -> None:
    begun = await alice("POST", "/photos/new?uploads")
    upload_id = begun.xml().findtext("UploadId") or ""
    target = target.replace("%s", upload_id)
    answer = await alice("PUT", target, {}, PIECES, gone_after=gone_after)

    assert (answer.status, answer.code) == (400, "IncompleteBody")
    assert (await alice("HEAD", "/photos/new")).status == 404
    assert (await alice("GET", f"/photos/new?uploadId={upload_id}")).texts("Part") == []
    await _until(s3_world.is_idle)
    await _until(lambda: s3_world.staging.used_bytes == 0)


@pytest.mark.parametrize("gone_after", [0, 1, 2])
async def test_a_client_that_leaves_in_a_small_body_leaves_nothing(
    gone_after: int, s3_world: S3World, alice: Caller
) -> None:
    answer = await alice("PUT", "/photos/new", {}, [b"1", b"2", b"3"], gone_after=gone_after)

    assert answer.code == "IncompleteBody"
    assert (await alice("HEAD", "/photos/new")).status == 404
    assert s3_world.is_idle()


@pytest.mark.parametrize("gone_after", [0, 1, 3, 8])
async def test_a_client_that_leaves_in_a_form_leaves_nothing(
    gone_after: int, s3_world: S3World, alice: Caller
) -> None:
    request = form_request("/upload/photos/new", b"x" * 2_000_000)
    pieces = [request.body[at : at + 200_000] for at in range(0, len(request.body), 200_000)]
    answer = await alice.basic(
        "PUT", request.target, dict(request.headers), pieces, gone_after=gone_after
    )

    assert answer.code == "IncompleteBody"
    assert (await alice("HEAD", "/photos/new")).status == 404
    await _until(lambda: s3_world.is_idle() and s3_world.staging.used_bytes == 0)


@pytest.mark.parametrize("gone_after", [0, 1, 2])
@pytest.mark.parametrize("target", ["/photos?delete", "/photos/key?uploadId=" + "0" * 32])
async def test_a_client_that_leaves_in_a_document_changes_nothing(
    gone_after: int, target: str, alice: Caller
) -> None:
    pieces = [b"<Delete><Object>", b"<Key>key</Key></Object>", b"</Delete>"]
    answer = await alice("POST", target, {}, pieces, gone_after=gone_after)

    assert answer.code == "IncompleteBody"
    assert (await alice("HEAD", "/photos/key")).status == 200


def _scope_of(wire: Wire) -> dict[str, Any]:
    return {
        "type": "http",
        "method": wire.method,
        "raw_path": wire.path,
        "query_string": wire.query,
        "headers": [(name.lower(), value) for name, value in wire.headers],
    }


async def _never() -> dict[str, Any]:
    return await asyncio.Future()


async def test_a_reader_that_is_cut_off_gives_its_memory_back(
    s3_world: S3World, alice: Caller
) -> None:
    await alice("PUT", "/photos/big", {}, [b"x" * MIB] * 12)
    sent = 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += 1
        if sent == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await s3_world.app(_scope_of(alice.signed("GET", "/photos/big")), _never, send)

    assert s3_world.is_idle()


@pytest.mark.parametrize("key", ["big", "key"])
async def test_a_reader_that_stalls_is_cut_off(
    key: str, s3_world: S3World, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few that stall would hold all the memory that there is for answers."""
    monkeypatch.setattr(answering, "SLOW_S_MAX", 0.05)
    monkeypatch.setattr(answering, "SLOW_BYTES_S_MIN", 1 << 30)
    await alice("PUT", "/photos/big", {}, [b"x" * MIB] * 12)

    async def send(message: dict[str, Any]) -> None:
        if message.get("body"):
            await _never()

    with pytest.raises(TimeoutError):
        await s3_world.app(_scope_of(alice.signed("GET", f"/photos/{key}")), _never, send)

    assert s3_world.is_idle()


@pytest.mark.parametrize(
    ("who", "target", "code"),
    [
        (NOBODY, "/photos/new", "InvalidAccessKeyId"),
        (BOB, "/photos/new", "AccessDenied"),
        (ALICE, "/missing/new", "NoSuchBucket"),
        (ALICE, "/photos/new?acl", "NotImplemented"),
        (ALICE, "/photos/new?partNumber=1&uploadId=" + "0" * 32, "NoSuchUpload"),
        (ALICE, "/photos/new?partNumber=0&uploadId=" + "0" * 32, "NoSuchUpload"),
        (ALICE, "/Photos/new", "InvalidBucketName"),
    ],
)
async def test_what_is_refused_is_refused_before_a_large_body_is_read(
    who: User, target: str, code: str, s3_world: S3World, alice: Caller
) -> None:
    answer = await Caller(s3_world.app, who)("PUT", target, {}, PIECES)

    assert answer.code == code
    assert answer.pieces_read == 0
    assert answer.headers["connection"] == "close"


async def test_a_short_body_that_is_not_needed_is_read_so_that_the_answer_arrives(
    alice: Caller,
) -> None:
    """To hang up on unread bytes resets the connection, and with it the answer on its way."""
    answer = await alice("PUT", "/missing/new", {}, [b"x" * 1000] * 3)

    assert answer.code == "NoSuchBucket"
    assert answer.pieces_read == 3
    assert "connection" not in answer.headers


async def test_a_body_that_is_refused_with_its_last_byte_is_answered_at_once(
    s3_world: S3World, alice: Caller
) -> None:
    """Whoever asks for more of a body that has ended waits until the client loses patience."""
    body = b"4;chunk-signature=" + b"0" * 64 + b"\r\ndata\r\n"
    headers = [
        ("Content-Length", str(len(body))),
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "4"),
    ]
    await alice("PUT", "/photos")
    wire = sign("PUT", "/photos/x", headers, payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    answer = await exchange(s3_world.app, wire, [body])

    assert answer.status == 403, answer.body
    assert not answer.asked_beyond_end


async def test_a_client_that_waits_for_100_continue_is_not_made_to_send(alice: Caller) -> None:
    answer = await alice("PUT", "/missing/new", {"Expect": "100-continue"}, [b"x" * 1000] * 3)

    assert answer.code == "NoSuchBucket"
    assert answer.pieces_read == 0
    assert answer.headers["connection"] == "close"


async def test_a_read_with_a_body_is_answered_as_if_it_had_none(alice: Caller) -> None:
    answer = await alice("GET", "/photos/key", {}, b"what is this")

    assert (answer.status, answer.body) == (200, b"0123456789")


async def test_a_body_without_a_length_is_411(s3_world: S3World, alice: Caller) -> None:
    headers = [("Transfer-Encoding", "chunked")]
    wire = sign("PUT", "/photos/new", headers, payload="UNSIGNED-PAYLOAD")
    answer = await exchange(s3_world.app, wire, [b"a", b"b"])

    assert (answer.status, answer.code) == (411, "MissingContentLength")


@pytest.mark.parametrize(
    "open_world",
    [
        partial(open_s3_world, requests_max=1),
        partial(open_s3_world, memory_bytes=1),
        partial(open_s3_world, staging_bytes=1),
    ],
    ids=["requests", "memory", "staging"],
)
async def test_a_full_house_says_slow_down_before_the_body_is_read(
    open_world: Callable[[], AbstractAsyncContextManager[S3World]],
) -> None:
    async with open_world() as world:
        alice = Caller(world.app, ALICE)
        await alice("PUT", "/photos")
        with contextlib.suppress(SlowDown):
            world.deps.admission.enter(0, CLASSES["single"])
        form = form_request("/upload/photos/new", b"x" * 2_000_000)
        answers = [
            await alice("PUT", "/photos/new", {}, PIECES),
            await alice("PUT", "/photos/new", {"Prefer": "respond-async"}, PIECES),
            await alice.basic("PUT", form.target, dict(form.headers), [form.body, b""]),
        ]

        for answer in answers:
            assert (answer.status, answer.code) == (503, "SlowDown")
            assert answer.pieces_read == 0
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["connection"] == "close"
        assert (await alice("GET", "/photos")).status == 200, "reads go on"


async def test_an_anonymous_request_costs_no_database(s3_world: S3World, alice: Caller) -> None:
    s3_world.database.faults.is_down = True
    answer = await exchange(s3_world.app, plain("PUT", "/photos/new", {}, b"x"), b"x")

    assert (answer.status, answer.code) == (403, "AccessDenied")
