"""S4, crossed with the handlers: every way to send a body, at everything that reads one.

Bodies themselves are `test_s4_streaming`'s; here each attack goes through the whole application,
and what counts is that nothing was stored.
"""

import hashlib
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pytest
from tests.model.asgi_client import Response, exchange
from tests.model.s3_caller import Caller
from tests.model.s3_requests import COMPLETE_BODY, DELETE_BODY, IMPLEMENTED
from tests.model.s3_world import ALICE, S3World
from tests.security.inputs import Inputs
from tests.security.requests import cut, flip_bit
from tests.security.signing import (
    Chunk,
    Wire,
    sign,
    sign_chunks,
    sign_trailer,
    signature_of,
    trailer_lines,
)
from tests.security.uploads import TRAILER

from fileflux.core.checksum import to_base64
from fileflux.ingest.operations import Body
from fileflux.ingest.payload_mode import PayloadKind

KINDS: Final = tuple(PayloadKind)
CREATE_BODY: Final = (
    b"<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint>"
    b"</CreateBucketConfiguration>"
)
CONTENT: Final = random.Random(4).randbytes(300)
NOTIFICATION_BODY: Final = (
    b'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"</NotificationConfiguration>"
)
LARGE: Final = random.Random(5).randbytes(1_200_000)


@dataclass(frozen=True)
class Write:
    """An operation that reads a body: its request, and whether what it does was done."""

    method: str
    target: str
    body: bytes


@dataclass(frozen=True)
class Sent:
    """A signed request and its body in chunks (one, if the body is not aws-chunked)."""

    kind: PayloadKind
    wire: Wire
    chunks: Sequence[Chunk]
    end: bytes

    @property
    def body(self) -> bytes:
        if not self.kind.is_chunked:
            return self.chunks[0].payload + self.end
        return b"".join(chunk.encoded() for chunk in self.chunks) + self.end


def send_as(kind: PayloadKind, write: Write) -> Sent:
    """Sign the write in one of the five ways, its body in chunks of 100 bytes or 256 KiB."""
    body = write.body
    crc = to_base64(zlib.crc32(body).to_bytes(4, "big"))
    if not kind.is_chunked:
        payload = hashlib.sha256(body).hexdigest() if kind is PayloadKind.HASH else kind.value
        headers = [("Content-Length", str(len(body)))]
        if b"CompleteMultipartUpload" not in body:
            headers.append((TRAILER, crc))  # There it would be the object's, not the document's.
        return Sent(
            kind, sign(write.method, write.target, headers, payload=payload), [Chunk(body)], b""
        )
    step = 100 if len(body) < 10_000 else 256 << 10
    payloads = [body[at : at + step] for at in range(0, len(body), step)]
    headers = [
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", str(len(body))),
    ]
    if kind.has_trailer:
        headers += [("x-amz-trailer", TRAILER), ("x-amz-sdk-checksum-algorithm", "CRC32")]
    wire = sign(write.method, write.target, headers, payload=kind.value)
    chunks = [Chunk(payload) for payload in (*payloads, b"")]
    if kind.is_chunk_signed:
        chunks = sign_chunks(payloads, signature_of(wire))
    return Sent(kind, wire, chunks, _end(kind, crc, chunks[-1].signature))


def _end(kind: PayloadKind, crc: str, last_signature: str) -> bytes:
    if not kind.has_trailer:
        return b"\r\n"
    signature = sign_trailer(TRAILER, crc, last_signature) if kind.is_chunk_signed else ""
    return trailer_lines(TRAILER, crc, signature)


async def _writes(world: S3World) -> dict[str, Write]:
    """Return one write per operation with a body; make what they need."""
    alice = Caller(world.app, ALICE)
    await alice("PUT", "/photos")
    await alice("PUT", "/photos/key", {}, b"to be deleted")
    begun = await alice("POST", "/photos/multi?uploads")
    upload_id = begun.xml().findtext("UploadId") or ""
    part = await alice("PUT", f"/photos/multi?partNumber=9&uploadId={upload_id}", {}, CONTENT)
    complete = COMPLETE_BODY.replace(b">1<", b">9<") % part.headers["etag"].encode()
    return {
        "PutObject": Write("PUT", "/photos/new", CONTENT),
        "UploadPart": Write("PUT", f"/photos/multi?partNumber=1&uploadId={upload_id}", CONTENT),
        "DeleteObjects": Write("POST", "/photos?delete", DELETE_BODY),
        "CompleteMultipartUpload": Write("POST", f"/photos/multi?uploadId={upload_id}", complete),
        "CreateBucket": Write("PUT", "/another", CREATE_BODY),
        "PutBucketNotificationConfiguration": Write(
            "PUT", "/photos?notification", NOTIFICATION_BODY
        ),
        "a large PutObject": Write("PUT", "/photos/large", LARGE),
    }


WRITES: Final = (
    "PutObject",
    "UploadPart",
    "DeleteObjects",
    "CompleteMultipartUpload",
    "CreateBucket",
    "PutBucketNotificationConfiguration",
    "a large PutObject",
)


def content_of(world: S3World) -> object:
    names = ("buckets", "objects", "uploads", "parts")
    return {name: dict(world.database.tables.rows(name)) for name in names}


async def _deliver(world: S3World, wire: Wire, body: bytes, rng: random.Random) -> Response:
    return await exchange(world.app, wire, cut(body, rng))


def test_s4_every_operation_with_a_body_is_attacked() -> None:
    with_body = {each.name for each in IMPLEMENTED if each.body is not Body.NONE}

    assert with_body <= set(WRITES)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", WRITES)
async def test_s4_an_honest_body_is_taken_in_every_way(
    name: str, kind: PayloadKind, world: S3World, inputs: Inputs
) -> None:
    inputs.count()
    write = (await _writes(world))[name]
    sent = send_as(kind, write)
    before = content_of(world)
    answer = await _deliver(world, sent.wire, sent.body, inputs.rng)

    assert answer.status == 200, answer.body
    assert content_of(world) != before
    if "PutObject" in name:
        got = await Caller(world.app, ALICE)("GET", write.target)
        assert got.body == write.body
        assert "content-encoding" not in got.headers, "the transfer's own coding is not stored"


def _truncated(sent: Sent, rng: random.Random) -> Sent:
    body = sent.body[: rng.randrange(len(sent.body))]
    return _Raw.of(sent, body)


def _with_more(sent: Sent, rng: random.Random) -> Sent:
    return _Raw.of(sent, sent.body + rng.choice((b"x", b"0\r\n\r\n", b"\r\n\r\n")))


def _with_flipped_payload(sent: Sent, rng: random.Random) -> Sent:
    chunks = list(sent.chunks)
    at = rng.randrange(max(1, len(chunks) - 1))
    chunks[at] = replace(chunks[at], payload=flip_bit(chunks[at].payload, rng))
    return replace(sent, chunks=chunks)


def _with_swapped_chunks(sent: Sent, rng: random.Random) -> Sent:
    chunks = list(sent.chunks)
    if len(chunks) < 3:
        return _with_flipped_payload(sent, rng)
    chunks[0], chunks[1] = chunks[1], chunks[0]
    return replace(sent, chunks=chunks)


def _as_another_kind(sent: Sent, rng: random.Random) -> Sent:
    other = rng.choice([kind for kind in KINDS if kind is not sent.kind])
    value = "0" * 64 if other is PayloadKind.HASH else other.value
    return replace(sent, wire=sent.wire.with_header("X-Amz-Content-SHA256", value))


def _without_signature(sent: Sent, rng: random.Random) -> Sent:
    return replace(sent, wire=sent.wire.without_header("authorization"))


def _with_wrong_length(sent: Sent, rng: random.Random) -> Sent:
    name = "x-amz-decoded-content-length" if sent.kind.is_chunked else "Content-Length"
    wrong = rng.choice(("0", "1", "-1", "99999", "x", ""))
    return replace(sent, wire=sent.wire.with_header(name, wrong))


@dataclass(frozen=True)
class _Raw(Sent):
    raw: bytes = b""

    @property
    def body(self) -> bytes:
        return self.raw

    @classmethod
    def of(cls, sent: Sent, raw: bytes) -> "_Raw":
        return cls(sent.kind, sent.wire, sent.chunks, sent.end, raw)


ATTACKS: Final[Sequence[Callable[[Sent, random.Random], Sent]]] = (
    _truncated,
    _with_more,
    _with_flipped_payload,
    _with_swapped_chunks,
    _as_another_kind,
    _without_signature,
    _with_wrong_length,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", WRITES)
async def test_s4_a_body_that_is_not_what_was_promised_stores_nothing(
    name: str, kind: PayloadKind, world: S3World, inputs: Inputs
) -> None:
    writes = await _writes(world)
    honest = send_as(kind, writes[name])
    before = content_of(world)
    for attack in ATTACKS:
        for _ in inputs.rounds(0.0001):
            attacked = attack(honest, inputs.rng)
            answer = await _deliver(world, attacked.wire, attacked.body, inputs.rng)
            assert answer.status in (400, 403, 411), (attack.__name__, answer.status, answer.body)
            assert content_of(world) == before, attack.__name__
    assert world.is_idle()


async def test_s4_chunks_are_refused_where_nobody_signed_them(
    world: S3World, inputs: Inputs
) -> None:
    """With a presigned URL or a password: servers have taken such frames for the bytes."""
    writes = await _writes(world)
    before = content_of(world)
    alice = Caller(world.app, ALICE)
    for kind in KINDS:
        if not kind.is_chunked:
            continue
        inputs.count()
        sent = send_as(kind, writes["PutObject"])
        framing = {"x-amz-content-sha256": kind.value, "x-amz-decoded-content-length": "300"}
        by_url = await alice.presigned("PUT", "/photos/new", framing, sent.body)
        by_name = await alice.basic("PUT", "/upload/photos/new", framing, sent.body)
        assert by_url.status in (400, 403), by_url.body
        assert by_name.status in (400, 403), by_name.body

    assert content_of(world) == before
