"""Digests of streams."""

import asyncio
import base64
import hashlib
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.checksum import (
    FULL_OBJECT_ALGORITHMS,
    S3_ALGORITHMS,
    THREAD_BYTES_MIN,
    Algorithm,
    Buffer,
    DigestSet,
    composite_checksum,
    crc32c,
    from_base64,
    full_object_checksum,
    hasher,
    to_base64,
)

CHECK = b"123456789"
"""The catalogue of CRCs gives each one's value for these nine digits."""


def _digest(algorithm: Algorithm, data: bytes) -> bytes:
    running = hasher(algorithm)
    running.update(data)
    return running.digest()


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (Algorithm.CRC32, "cbf43926"),
        (Algorithm.CRC32C, "e3069283"),
        (Algorithm.CRC64NVME, "ae8b14860a799888"),
        (Algorithm.MD5, "25f9e794323b453885f5181f1b624d0b"),
        (Algorithm.SHA1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        (
            Algorithm.SHA256,
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        ),
    ],
)
def test_the_check_value_of_each_algorithm_is_the_published_one(
    algorithm: Algorithm, expected: str
) -> None:
    assert _digest(algorithm, CHECK).hex() == expected


def test_the_checksum_of_awss_trailer_example_is_the_published_one() -> None:
    assert to_base64(_digest(Algorithm.CRC32C, b"a" * 66560)) == "sOO8/Q=="


def test_crc32c_continues_from_the_bytes_before() -> None:
    assert crc32c(CHECK[4:], crc32c(CHECK[:4])) == 0xE3069283
    assert crc32c(memoryview(CHECK)) == 0xE3069283
    assert crc32c(b"") == 0


@given(st.lists(st.binary(max_size=300), max_size=20))
async def test_a_set_of_digests_does_not_depend_on_how_the_stream_was_cut(
    pieces: list[bytes],
) -> None:
    digests = DigestSet(Algorithm)
    for piece in pieces:
        await digests.update(piece)

    whole = b"".join(pieces)
    assert await digests.finish() == {each: _digest(each, whole) for each in Algorithm}


async def test_large_pieces_are_hashed_in_the_order_they_came() -> None:
    rng = random.Random(7)
    sizes = [1, THREAD_BYTES_MIN, 5, THREAD_BYTES_MIN - 1, 3 * THREAD_BYTES_MIN, 70_000, 0, 9]
    pieces = [rng.randbytes(size) for size in sizes * 3]
    digests = DigestSet([Algorithm.MD5, Algorithm.CRC64NVME])
    for piece in pieces:
        await digests.update(memoryview(piece))

    found = await digests.finish()
    whole = b"".join(pieces)
    assert found[Algorithm.MD5] == hashlib.md5(whole, usedforsecurity=False).digest()
    assert found[Algorithm.CRC64NVME] == _digest(Algorithm.CRC64NVME, whole)


def _gated(digests: DigestSet, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let nothing be hashed before the gate opens."""
    gate, hash_now = threading.Event(), digests._hash

    def hash_later(pieces: list[Buffer]) -> None:
        assert gate.wait(10), "the loop stands still"
        hash_now(pieces)

    monkeypatch.setattr(digests, "_hash", hash_later)
    return gate


async def test_the_loop_goes_on_while_a_large_piece_is_hashed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digests = DigestSet([Algorithm.MD5])
    gate = _gated(digests, monkeypatch)
    large = bytes(THREAD_BYTES_MIN)
    await digests.update(large)
    finishing = asyncio.create_task(digests.finish())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not finishing.done()
    gate.set()

    assert (await finishing)[Algorithm.MD5] == hashlib.md5(large, usedforsecurity=False).digest()


async def test_a_cancelled_update_loses_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = DigestSet([Algorithm.SHA256])
    gate = _gated(digests, monkeypatch)
    first, second = (bytes([n]) * THREAD_BYTES_MIN for n in (1, 2))
    await digests.update(first)
    waiting = asyncio.create_task(digests.update(second))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()

    found = await digests.finish()
    assert found[Algorithm.SHA256] == hashlib.sha256(first + second).digest()


@given(st.sampled_from(FULL_OBJECT_ALGORITHMS), st.lists(st.binary(max_size=200), min_size=1))
def test_the_crcs_of_parts_combine_to_the_crc_of_the_whole(
    algorithm: Algorithm, parts: list[bytes]
) -> None:
    listed = [(to_base64(_digest(algorithm, part)), len(part)) for part in parts]

    assert full_object_checksum(algorithm, listed) == to_base64(_digest(algorithm, b"".join(parts)))


@pytest.mark.parametrize("algorithm", [Algorithm.SHA1, Algorithm.SHA256, Algorithm.MD5])
def test_other_digests_have_no_full_object_form(algorithm: Algorithm) -> None:
    with pytest.raises(ValueError, match="full-object"):
        full_object_checksum(algorithm, [(to_base64(_digest(algorithm, b"")), 0)])


@pytest.mark.parametrize("algorithm", [a for a in S3_ALGORITHMS if a != Algorithm.CRC64NVME])
def test_a_composite_is_the_checksum_of_the_joined_checksums(algorithm: Algorithm) -> None:
    digests = [_digest(algorithm, part) for part in (b"one", b"two", b"three")]

    composite = composite_checksum(algorithm, [to_base64(each) for each in digests])
    assert composite == f"{to_base64(_digest(algorithm, b''.join(digests)))}-3"


def test_crc64nvme_has_no_composite_form() -> None:
    with pytest.raises(ValueError, match="composite"):
        composite_checksum(Algorithm.CRC64NVME, [])


@given(st.sampled_from(list(Algorithm)), st.binary(max_size=50))
def test_the_base64_form_is_read_back(algorithm: Algorithm, data: bytes) -> None:
    digest = _digest(algorithm, data)

    assert from_base64(algorithm, to_base64(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAA",
        "AAAAAA",
        "AAAAAA==\n",
        " AAAAAA==",
        "AAAAAAAA",
        "AAAAAB==",
        "AAAA*A==",
        "ÄAAAAA==",
        "AAAAAA==AAAA",
        base64.b64encode(bytes(5)).decode(),
    ],
)
def test_what_is_not_the_one_base64_form_of_four_bytes_is_no_crc32(text: str) -> None:
    with pytest.raises(ValueError, match="CRC32"):
        from_base64(Algorithm.CRC32, text)
