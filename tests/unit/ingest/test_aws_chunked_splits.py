"""The decoder gives the same answer however the network cut the bytes."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.security.signing import (
    SCOPE,
    TIMESTAMP,
    Chunk,
    sign_chunks,
    sign_trailer,
    signing_key,
    trailer_lines,
)

from fileflux.core.checksum import Algorithm
from fileflux.ingest.auth_errors import S3RequestError
from fileflux.ingest.aws_chunked import AwsChunkedDecoder
from fileflux.ingest.payload_mode import PayloadKind, PayloadMode
from fileflux.ingest.sigv4 import ChunkSigner

SEED = "0" * 64
SIGNER = ChunkSigner(signing_key(), TIMESTAMP, SCOPE, SEED)
CRC = ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")
KINDS = st.sampled_from([kind for kind in PayloadKind if kind.is_chunked])
PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def _mode(kind: PayloadKind, length: int) -> PayloadMode:
    return PayloadMode(
        kind,
        signer=SIGNER if kind.is_chunk_signed else None,
        trailer=Algorithm.CRC64NVME if kind.has_trailer else None,
        decoded_length=length,
    )


def _body(kind: PayloadKind, payloads: list[bytes]) -> bytes:
    chunks = [Chunk(payload) for payload in (*payloads, b"")]
    signature = ""
    if kind.is_chunk_signed:
        chunks = sign_chunks(payloads, SEED)
        signature = sign_trailer(*CRC, chunks[-1].signature)
    end = trailer_lines(*CRC, signature) if kind.has_trailer else b"\r\n"
    return b"".join(chunk.encoded() for chunk in chunks) + end


def _outcome(mode: PayloadMode, pieces: list[bytes]) -> tuple[bytes, object]:
    """Return the payload handed on, and the trailer or the class of the error."""
    decoder = AwsChunkedDecoder(mode)
    plain = bytearray()
    try:
        for piece in pieces:
            for view in decoder.feed(piece):
                plain += view
        return bytes(plain), decoder.finish()
    except S3RequestError as error:
        return b"", type(error)


def _cut(body: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[a:b] for a, b in itertools.pairwise(marks)]


@given(KINDS, PAYLOADS)
def test_one_cut_at_every_place_changes_nothing(kind: PayloadKind, payloads: list[bytes]) -> None:
    body = _body(kind, payloads)
    whole = b"".join(payloads)
    mode = _mode(kind, len(whole))
    expected = (whole, CRC[1] if kind.has_trailer else None)
    for at in range(len(body) + 1):
        assert _outcome(mode, [body[:at], body[at:]]) == expected


@given(KINDS, PAYLOADS, st.lists(st.integers(0, 10**6), max_size=30))
def test_many_cuts_change_nothing(
    kind: PayloadKind, payloads: list[bytes], cuts: list[int]
) -> None:
    body = _body(kind, payloads)
    mode = _mode(kind, sum(map(len, payloads)))

    assert _outcome(mode, _cut(body, cuts)) == _outcome(mode, [body])


@given(
    KINDS,
    PAYLOADS,
    st.integers(0, 10**6),
    st.sampled_from([b"", b"\n", b"\r\n", b"0", b";", b":", b"\x00", b"\r\n\r\n", b"0\r\n"]),
    st.integers(0, 3),
    st.lists(st.integers(0, 10**6), max_size=10),
)
def test_a_damaged_body_has_one_outcome_however_it_is_cut(
    kind: PayloadKind,
    payloads: list[bytes],
    at: int,
    inserted: bytes,
    removed: int,
    cuts: list[int],
) -> None:
    body = _body(kind, payloads)
    at %= len(body) + 1
    damaged = body[:at] + inserted + body[at + removed :]
    mode = _mode(kind, sum(map(len, payloads)))
    whole = _outcome(mode, [damaged])

    assert _outcome(mode, _cut(damaged, cuts)) == whole
    if kind is not PayloadKind.UNSIGNED_CHUNKS_TRAILER and whole[1] in (None, CRC[1]):
        assert whole[0] == b"".join(payloads)


@given(st.binary(max_size=3000), KINDS, st.integers(0, 3000), st.integers(1, 64))
def test_noise_is_refused_and_breaks_nothing(
    noise: bytes, kind: PayloadKind, length: int, step: int
) -> None:
    pieces = [noise[at : at + step] for at in range(0, len(noise), step)]
    plain, outcome = _outcome(_mode(kind, length), pieces)

    assert plain == b""
    assert isinstance(outcome, type)
    assert issubclass(outcome, S3RequestError)


@given(KINDS, PAYLOADS, st.integers(1, 50))
def test_a_length_that_is_wrong_is_found(
    kind: PayloadKind, payloads: list[bytes], more: int
) -> None:
    mode = _mode(kind, sum(map(len, payloads)))
    for length in (mode.decoded_length or 0) + more, (mode.decoded_length or 0) - more:
        if length >= 0:
            wrong = replace(mode, decoded_length=length)
            assert isinstance(_outcome(wrong, [_body(kind, payloads)])[1], type)
