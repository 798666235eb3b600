"""The body of a request: plain, whole, verified, in time."""

import asyncio
import base64
import hashlib
import random
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.security.signing import Chunk, sign_chunks, sign_trailer, trailer_lines
from tests.security.streaming import signer_from

from fileflux.core.checksum import Algorithm, hasher, to_base64
from fileflux.core.clock import LoopClock, ManualClock
from fileflux.ingest.auth_errors import (
    BadDigest,
    EntityTooLarge,
    IncompleteBody,
    InvalidRequest,
    MalformedTrailer,
    RequestTimeout,
    S3RequestError,
    SignatureDoesNotMatch,
    XAmzContentSHA256Mismatch,
)
from fileflux.ingest.body import BodyReader, BodyResult
from fileflux.ingest.body_plan import BodyLimits
from fileflux.ingest.payload_mode import PLAIN, PayloadKind, PayloadMode

BODY = b"The quick brown fox jumps over the lazy dog." * 100
LENGTH = {"content-length": str(len(BODY))}


async def _stream(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _checksum(algorithm: Algorithm, body: bytes = BODY) -> str:
    running = hasher(algorithm)
    running.update(body)
    return to_base64(running.digest())


async def _read(
    pieces: Iterable[bytes],
    headers: Mapping[str, str] = LENGTH,
    payload: PayloadMode = PLAIN,
    limits: BodyLimits | None = None,
) -> tuple[bytes, BodyResult]:
    reader = BodyReader(
        _stream(pieces), payload, headers, clock=ManualClock(), limits=limits or BodyLimits()
    )
    plain = b"".join([bytes(piece) async for piece in reader])
    return plain, reader.result


async def _refusal(
    pieces: Iterable[bytes],
    headers: Mapping[str, str] = LENGTH,
    payload: PayloadMode = PLAIN,
    limits: BodyLimits | None = None,
) -> S3RequestError:
    with pytest.raises(S3RequestError) as caught:
        await _read(pieces, headers, payload, limits)
    return caught.value


async def test_a_plain_body_gets_an_md5_and_the_checksum_that_s3_would_make() -> None:
    plain, result = await _read([BODY[:7], b"", BODY[7:]])

    assert plain == BODY
    assert result.size == len(BODY)
    assert result.md5_hex == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert result.checksums == {"CRC64NVME": _checksum(Algorithm.CRC64NVME)}
    assert not result.is_checksum_from_client


async def test_an_empty_body_is_a_body() -> None:
    plain, result = await _read([], {"content-length": "0"})

    assert (plain, result.size) == (b"", 0)
    assert result.md5_hex == "d41d8cd98f00b204e9800998ecf8427e"
    assert result.checksums == {"CRC64NVME": "AAAAAAAAAAA="}


@pytest.mark.parametrize("algorithm", [a for a in Algorithm if a != Algorithm.MD5])
async def test_the_clients_checksum_is_verified_and_kept(algorithm: Algorithm) -> None:
    name = f"x-amz-checksum-{algorithm.lower()}"
    right = _checksum(algorithm)
    _, result = await _read([BODY], LENGTH | {name: right})

    assert result.checksums == {algorithm.value: right}
    assert result.is_checksum_from_client
    error = await _refusal([BODY], LENGTH | {name: _checksum(algorithm, b"other")})
    assert isinstance(error, BadDigest)
    assert algorithm.value in error.message


async def test_a_right_content_md5_is_accepted_and_a_wrong_one_is_not() -> None:
    right = base64.b64encode(hashlib.md5(BODY, usedforsecurity=False).digest()).decode()
    assert await _read([BODY], LENGTH | {"content-md5": right})
    wrong = base64.b64encode(bytes(16)).decode()
    assert isinstance(await _refusal([BODY], LENGTH | {"content-md5": wrong}), BadDigest)


async def test_the_signed_hash_is_the_hash_of_the_body() -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    assert await _read([BODY], LENGTH, PayloadMode(PayloadKind.HASH, sha256=digest))
    other = PayloadMode(PayloadKind.HASH, sha256=hashlib.sha256(b"").hexdigest())
    error = await _refusal([BODY], LENGTH, other)

    assert isinstance(error, XAmzContentSHA256Mismatch)
    assert error.extra["S3ComputedContentSHA256"] == digest


async def test_a_body_shorter_than_its_length_is_incomplete() -> None:
    assert isinstance(await _refusal([BODY[:-1]]), IncompleteBody)


async def test_a_body_longer_than_its_length_is_refused_before_the_rest_is_read() -> None:
    assert isinstance(await _refusal([BODY, b"x"]), InvalidRequest)


async def test_a_body_too_large_is_refused_before_it_is_read() -> None:
    error = await _refusal([], {"content-length": str(5 * 1024**3 + 1)})

    assert isinstance(error, EntityTooLarge)
    assert error.extra["MaxSizeAllowed"] == str(5 * 1024**3)


async def test_a_body_of_unknown_length_is_cut_at_the_limit() -> None:
    limits = BodyLimits(size_bytes_max=100, length_required=False)
    chunked = {"transfer-encoding": "chunked"}
    assert (await _read([b"a" * 100], chunked, limits=limits))[1].size == 100
    assert isinstance(await _refusal([b"a" * 101], chunked, limits=limits), EntityTooLarge)


async def test_the_result_is_there_only_when_the_body_was_read_to_its_end() -> None:
    reader = BodyReader(_stream([BODY]), PLAIN, LENGTH, clock=ManualClock())
    async for _ in reader:
        break
    with pytest.raises(AssertionError):
        _ = reader.result


def _unsigned(body: bytes, value: str, *, piece: int = 1000) -> tuple[PayloadMode, bytes]:
    chunks = [Chunk(body[at : at + piece]) for at in range(0, len(body), piece)]
    mode = PayloadMode(
        PayloadKind.UNSIGNED_CHUNKS_TRAILER, trailer=Algorithm.CRC32, decoded_length=len(body)
    )
    wire = b"".join(chunk.encoded() for chunk in (*chunks, Chunk(b"")))
    return mode, wire + trailer_lines("x-amz-checksum-crc32", value)


async def test_an_unsigned_trailer_is_verified_like_a_header() -> None:
    right = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
    headers = {
        "transfer-encoding": "chunked",
        "content-encoding": "aws-chunked",
        "x-amz-sdk-checksum-algorithm": "CRC32",
    }
    mode, wire = _unsigned(BODY, right)
    plain, result = await _read([wire[:50], wire[50:]], headers, mode)

    assert plain == BODY
    assert result.checksums == {"CRC32": right}
    for value, error in (("AAAAAA==", BadDigest), ("AAAA", InvalidRequest), ("", InvalidRequest)):
        mode, wire = _unsigned(BODY, value)
        assert isinstance(await _refusal([wire], headers, mode), error)


async def test_a_body_whose_trailer_is_missing_never_ends_well() -> None:
    mode, wire = _unsigned(BODY, "AAAAAA==")
    cut = wire[: wire.index(b"x-amz-checksum")]
    assert isinstance(await _refusal([cut], {}, mode), IncompleteBody)
    assert isinstance(await _refusal([cut + b"\r\n"], {}, mode), MalformedTrailer)


async def test_large_signed_chunks_are_verified_in_threads_and_in_order() -> None:
    body = random.Random(3).randbytes(3_000_000)
    payloads = [body[:1_500_000], body[1_500_000:]]
    signer = signer_from("0" * 64)
    mode = PayloadMode(
        PayloadKind.SIGNED_CHUNKS_TRAILER,
        signer=signer,
        trailer=Algorithm.SHA256,
        decoded_length=len(body),
    )
    chunks = sign_chunks(payloads, "0" * 64)
    trailer = ("x-amz-checksum-sha256", _checksum(Algorithm.SHA256, body))
    end = trailer_lines(*trailer, sign_trailer(*trailer, chunks[-1].signature))
    wire = b"".join(chunk.encoded() for chunk in chunks) + end
    for step in (65_536, 300_000, len(wire)):
        pieces = [wire[at : at + step] for at in range(0, len(wire), step)]
        plain, result = await _read(pieces, {}, mode)
        assert plain == body
        assert result.md5_hex == hashlib.md5(body, usedforsecurity=False).hexdigest()
    damaged = wire.replace(body[2_000_000:2_000_010], bytes(10))
    assert isinstance(await _refusal([damaged], {}, mode), SignatureDoesNotMatch)


@given(st.lists(st.binary(max_size=200), max_size=20))
async def test_the_pieces_are_the_body_however_it_came(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    plain, result = await _read(pieces, {"content-length": str(len(whole))})

    assert plain == whole
    assert result.md5_hex == hashlib.md5(whole, usedforsecurity=False).hexdigest()


async def _trickle(
    clock: ManualClock, size: int, every_s: float, count: int
) -> AsyncIterator[bytes]:
    for _ in range(count):
        clock.advance(every_s)
        yield b"x" * size


async def _read_trickle(size: int, every_s: float, count: int, limits: BodyLimits) -> int:
    clock = ManualClock()
    stream = _trickle(clock, size, every_s, count)
    headers = {"content-length": str(size * count)}
    reader = BodyReader(stream, PLAIN, headers, clock=clock, limits=limits)
    return len([piece async for piece in reader])


async def test_a_client_of_a_kilobyte_a_second_is_slow_but_welcome() -> None:
    assert await _read_trickle(1024, 1.0, 500, BodyLimits()) == 500


async def test_a_client_slower_than_that_is_cut_after_thirty_seconds() -> None:
    with pytest.raises(RequestTimeout) as caught:
        await _read_trickle(1000, 1.0, 500, BodyLimits())

    assert caught.value.status == 408


async def test_a_request_is_cut_at_twelve_hours() -> None:
    assert await _read_trickle(1 << 17, 60.0, 12 * 60 - 1, BodyLimits(slow_s_max=100))
    with pytest.raises(RequestTimeout):
        await _read_trickle(1 << 17, 60.0, 13 * 60, BodyLimits(slow_s_max=100))


async def test_our_own_slowness_is_not_the_clients() -> None:
    clock = ManualClock()
    reader = BodyReader(_stream([b"x"] * 100), PLAIN, {"content-length": "100"}, clock=clock)
    async for _ in reader:
        clock.advance(100.0)

    assert reader.result.size == 100


async def test_a_client_that_says_nothing_is_cut() -> None:
    async def silence() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    limits = BodyLimits(slow_s_max=0.05)
    reader = BodyReader(silence(), PLAIN, {"content-length": "9"}, clock=LoopClock(), limits=limits)
    with pytest.raises(RequestTimeout):
        async for _ in reader:
            pass
