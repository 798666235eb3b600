"""S4: a body that is not the one that was signed, or is not whole, is never committed.

In every way of x-amz-content-sha256. The two unsigned ways are held to their length, their
framing and their checksum; the signed ones to every bit.
"""

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
from tests.security.inputs import Inputs
from tests.security.requests import cut, flip_bit
from tests.security.signing import Chunk, Wire, presign, sign_chunks
from tests.security.uploads import Upload, make_upload, receive

from fileflux.ingest.auth_errors import S3RequestError
from fileflux.ingest.payload_mode import PayloadKind

KINDS: Final = list(PayloadKind)
CHUNKED: Final = [kind for kind in KINDS if kind.is_chunked]
SIGNED: Final = [kind for kind in KINDS if kind.is_chunk_signed]
REFUSED: Final = frozenset((400, 403, 411))


def _payloads(rng: random.Random, *, at_least: int = 0) -> list[bytes]:
    sizes = [rng.choice((1, 2, 60, 300)) for _ in range(rng.randint(at_least, 4))]
    return [rng.randbytes(size) for size in sizes]


async def _assert_refused(wire: Wire, body: bytes, rng: random.Random) -> None:
    with pytest.raises(S3RequestError) as caught:
        await receive(wire, cut(body, rng))
    assert caught.value.status in REFUSED, caught.value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_s4_an_honest_upload_arrives_however_it_is_cut(
    kind: PayloadKind, inputs: Inputs
) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.004):
        payloads = _payloads(rng)
        upload = make_upload(kind, payloads)

        assert await receive(upload.wire, cut(upload.body, rng)) == b"".join(payloads)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_s4_a_truncated_body_is_refused(kind: PayloadKind, inputs: Inputs) -> None:
    """The end of the stream before the 0-chunk is how a lost connection looks."""
    rng = inputs.rng
    for _ in inputs.rounds(0.006):
        upload = make_upload(kind, _payloads(rng, at_least=1))
        size = rng.randrange(len(upload.body))
        await _assert_refused(upload.wire, upload.body[:size], rng)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_s4_bytes_after_the_end_are_refused(kind: PayloadKind, inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.003):
        upload = make_upload(kind, _payloads(rng))
        more = rng.choice((b"\r\n", b"0\r\n\r\n", b"x", rng.randbytes(9), upload.body + b"!"))
        await _assert_refused(upload.wire, upload.body + more, rng)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_s4_a_flipped_bit_of_the_payload_is_refused(
    kind: PayloadKind, inputs: Inputs
) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.006):
        upload = make_upload(kind, _payloads(rng, at_least=1))
        chunks = list(upload.chunks)
        at = rng.randrange(max(1, len(chunks) - 1))
        chunks[at] = replace(chunks[at], payload=flip_bit(chunks[at].payload, rng))
        await _assert_refused(upload.wire, upload.with_chunks(chunks).body, rng)


@pytest.mark.parametrize("kind", SIGNED, ids=lambda kind: kind.name)
async def test_s4_a_flipped_bit_anywhere_in_a_signed_body_changes_no_byte_that_is_kept(
    kind: PayloadKind, inputs: Inputs
) -> None:
    """Some bits of the frame do not matter, such as the case of a size; all others are refused."""
    rng = inputs.rng
    for _ in inputs.rounds(0.008):
        payloads = _payloads(rng, at_least=1)
        upload = make_upload(kind, payloads)
        with contextlib.suppress(S3RequestError):
            plain = await receive(upload.wire, cut(flip_bit(upload.body, rng), rng))
            assert plain == b"".join(payloads)


def _dropped(chunks: list[Chunk], rng: random.Random) -> list[Chunk]:
    del chunks[rng.randrange(len(chunks) - 1)]
    return chunks


def _doubled(chunks: list[Chunk], rng: random.Random) -> list[Chunk]:
    at = rng.randrange(len(chunks) - 1)
    return [*chunks[: at + 1], *chunks[at:]]


def _swapped(chunks: list[Chunk], rng: random.Random) -> list[Chunk]:
    a, b = rng.sample(range(len(chunks) - 1), 2)
    chunks[a], chunks[b] = chunks[b], chunks[a]
    return chunks


def _merged(chunks: list[Chunk], rng: random.Random) -> list[Chunk]:
    first = replace(chunks[0], payload=chunks[0].payload + chunks[1].payload)
    return [first, *chunks[2:]]


def _unsigned(chunks: list[Chunk], rng: random.Random) -> list[Chunk]:
    at = rng.randrange(len(chunks))
    chunks[at] = Chunk(chunks[at].payload)
    return chunks


def _from_another_upload(chunks: list[Chunk], rng: random.Random) -> list[Chunk]:
    return sign_chunks([chunk.payload for chunk in chunks[:-1]], "1" * 64)


@pytest.mark.parametrize(
    "attack", [_dropped, _doubled, _swapped, _merged, _unsigned, _from_another_upload]
)
@pytest.mark.parametrize("kind", SIGNED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("adjust", [True, False], ids=["length adjusted", "length kept"])
async def test_s4_the_chain_of_signed_chunks_cannot_be_rearranged(
    kind: PayloadKind,
    attack: Callable[[list[Chunk], random.Random], list[Chunk]],
    adjust: bool,
    inputs: Inputs,
) -> None:
    """x-amz-decoded-content-length need not be signed: the chain has to hold without it."""
    rng = inputs.rng
    for _ in inputs.rounds(0.001):
        payloads = [rng.randbytes(50) for _ in range(4)]
        upload = make_upload(kind, payloads)
        attacked = upload.with_chunks(attack(list(upload.chunks), rng))
        wire = upload.wire
        if adjust:
            wire = _with_length(upload, sum(len(chunk.payload) for chunk in attacked.chunks))
        await _assert_refused(wire, attacked.body, rng)


def _with_length(upload: Upload, size: int) -> Wire:
    return upload.wire.with_header("x-amz-decoded-content-length", str(size))


@pytest.mark.parametrize("kind", CHUNKED, ids=lambda kind: kind.name)
async def test_s4_a_decoded_length_that_is_wrong_absent_or_absurd_is_refused(
    kind: PayloadKind, inputs: Inputs
) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.004):
        upload = make_upload(kind, _payloads(rng, at_least=1))
        wrong = rng.choice(("0", "-1", "1e3", "99999999999999999999", "", "9999", "0x10"))
        wire = upload.wire.with_header("x-amz-decoded-content-length", wrong)
        await _assert_refused(wire, upload.body, rng)
        gone = upload.wire.without_header("x-amz-decoded-content-length")
        await _assert_refused(gone, upload.body, rng)


@pytest.mark.parametrize("kind", [k for k in CHUNKED if k.has_trailer], ids=lambda kind: kind.name)
async def test_s4_a_trailer_that_is_missing_changed_or_another_is_refused(
    kind: PayloadKind, inputs: Inputs
) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.006):
        upload = make_upload(kind, _payloads(rng))
        value = upload.end.partition(b":")[2].partition(b"\r\n")[0]
        ends = (
            b"\r\n",
            upload.end.replace(value, b"AAAAAA==" if value != b"AAAAAA==" else b"AAAAAQ=="),
            upload.end.replace(b"crc32:", b"crc32c:"),
            upload.end.replace(b"x-amz-checksum", b"x-amz-meta"),
            upload.end.replace(value, b""),
            upload.end[:-2],
            upload.end[:-2] + upload.end,
            b"x-amz-checksum-crc32:" + value + b"\r\n" + upload.end,
        )
        await _assert_refused(upload.wire, replace(upload, end=rng.choice(ends)).body, rng)


async def test_s4_the_way_of_an_upload_is_part_of_its_signature(inputs: Inputs) -> None:
    """Were it not, an attacker could choose the way that verifies least."""
    rng = inputs.rng
    for _ in inputs.rounds(0.015):
        kind, other = rng.sample(KINDS, 2)
        upload = make_upload(kind, _payloads(rng))
        value = "0" * 64 if other is PayloadKind.HASH else other.value
        wire = upload.wire.with_header("X-Amz-Content-SHA256", value)
        await _assert_refused(wire, upload.body, rng)


async def test_s4_chunks_without_any_credentials_are_refused(inputs: Inputs) -> None:
    """Servers have taken unsigned-trailer uploads with no signature, or with garbage for one."""
    rng = inputs.rng
    for _ in inputs.rounds(0.01):
        upload = make_upload(rng.choice(CHUNKED), _payloads(rng))
        garbage = upload.wire.with_header("Authorization", rng.choice(("garbage", "AWS4 x", "")))
        zeros = upload.wire.header("authorization")[:-64] + b"0" * 64
        link = presign("PUT", "/bucket/key")
        for wire in (
            upload.wire.without_header("authorization"),
            garbage,
            upload.wire.with_header("Authorization", zeros),
            replace(upload.wire.without_header("authorization"), query=link.query),
        ):
            await _assert_refused(wire, upload.body, rng)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_s4_noise_for_a_body_is_refused(kind: PayloadKind, inputs: Inputs) -> None:
    rng = inputs.rng
    words = (b"0", b"4", b"\r\n", b"\n", b";chunk-signature=", b"f" * 64, b":", b"abcd", b"\x00")
    for _ in inputs.rounds(0.003):
        upload = make_upload(kind, [b"abcd"])
        noise = b"".join(rng.choice(words) for _ in range(rng.randint(0, 20)))
        if noise != b"abcd":
            await _assert_refused(upload.wire, noise, rng)
