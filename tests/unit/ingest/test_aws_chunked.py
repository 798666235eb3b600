"""The aws-chunked decoder: what it accepts, and what breaks it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
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
from fileflux.ingest.auth_errors import (
    IncompleteBody,
    InvalidChunkSize,
    InvalidRequest,
    MalformedTrailer,
    S3RequestError,
    SignatureDoesNotMatch,
)
from fileflux.ingest.aws_chunked import AwsChunkedDecoder
from fileflux.ingest.payload_mode import PayloadKind, PayloadMode
from fileflux.ingest.sigv4 import ChunkSigner

SEED = "5eed" * 16
SIGNER = ChunkSigner(signing_key(), TIMESTAMP, SCOPE, SEED)
PAYLOADS = (b"a" * 70_000, b"b" * 9_000, b"tail")
TOTAL = sum(map(len, PAYLOADS))
CRC = ("x-amz-checksum-crc32", "dGVzdA==")


def _mode(kind: PayloadKind, *, length: int = TOTAL, trailer: bool = True) -> PayloadMode:
    return PayloadMode(
        kind,
        signer=SIGNER if kind.is_chunk_signed else None,
        trailer=Algorithm.CRC32 if kind.has_trailer and trailer else None,
        decoded_length=length,
    )


SIGNED = _mode(PayloadKind.SIGNED_CHUNKS)
SIGNED_TRAILER = _mode(PayloadKind.SIGNED_CHUNKS_TRAILER)
UNSIGNED = _mode(PayloadKind.UNSIGNED_CHUNKS_TRAILER)


def _encode(chunks: Sequence[Chunk], end: bytes = b"\r\n") -> bytes:
    return b"".join(chunk.encoded() for chunk in chunks) + end


def _signed_end(chunks: Sequence[Chunk]) -> bytes:
    return trailer_lines(*CRC, sign_trailer(*CRC, chunks[-1].signature))


CHUNKS = sign_chunks(PAYLOADS, SEED)
PLAIN_CHUNKS = [Chunk(payload) for payload in (*PAYLOADS, b"")]
BODIES = {
    "signed": (SIGNED, _encode(CHUNKS)),
    "signed trailer": (SIGNED_TRAILER, _encode(CHUNKS, _signed_end(CHUNKS))),
    "unsigned trailer": (UNSIGNED, _encode(PLAIN_CHUNKS, trailer_lines(*CRC))),
}


def _decode(mode: PayloadMode, *pieces: bytes) -> tuple[bytes, str | None]:
    decoder = AwsChunkedDecoder(mode)
    plain = b"".join(view for piece in pieces for view in map(bytes, decoder.feed(piece)))
    return plain, decoder.finish()


def _refusal(mode: PayloadMode, body: bytes) -> S3RequestError:
    with pytest.raises(S3RequestError) as caught:
        _decode(mode, body)
    return caught.value


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_decoded_whole_and_byte_by_byte(name: str) -> None:
    mode, body = BODIES[name]
    expected = (b"".join(PAYLOADS), CRC[1] if mode.trailer else None)

    assert _decode(mode, body) == expected
    assert _decode(mode, *(body[at : at + 1] for at in range(len(body)))) == expected


@pytest.mark.parametrize("name", BODIES)
def test_a_body_cut_anywhere_is_incomplete(name: str) -> None:
    mode, body = BODIES[name]
    near_lines = [*range(200), *range(70_000, 70_300), *range(len(body) - 400, len(body))]
    for size in near_lines:
        decoder = AwsChunkedDecoder(mode)
        decoder.feed(body[:size])
        with pytest.raises(IncompleteBody):
            decoder.finish()


@pytest.mark.parametrize("name", BODIES)
def test_nothing_may_follow_the_end(name: str) -> None:
    mode, body = BODIES[name]
    assert isinstance(_refusal(mode, body + b"x"), InvalidRequest)
    assert isinstance(_refusal(mode, body + b"\r\n"), InvalidRequest)
    assert isinstance(_refusal(mode, body + body), InvalidRequest)


@pytest.mark.parametrize("name", BODIES)
def test_an_empty_body_is_one_empty_chunk(name: str) -> None:
    mode = replace(BODIES[name][0], decoded_length=0)
    chunks = sign_chunks([], SEED) if mode.signer else [Chunk(b"")]
    end = _signed_end(chunks) if mode is not SIGNED and mode.signer else trailer_lines(*CRC)
    body = _encode(chunks, b"\r\n" if not mode.trailer else end)

    assert _decode(mode, body) == (b"", CRC[1] if mode.trailer else None)


@pytest.mark.parametrize("difference", [-1, 1, 10**9])
@pytest.mark.parametrize("name", BODIES)
def test_the_decoded_length_is_exact(name: str, difference: int) -> None:
    mode, body = BODIES[name]
    wrong = replace(mode, decoded_length=TOTAL + difference)
    assert isinstance(_refusal(wrong, body), InvalidRequest | IncompleteBody)


def test_a_chunk_larger_than_the_body_is_refused_by_its_size_line() -> None:
    decoder = AwsChunkedDecoder(_mode(PayloadKind.UNSIGNED_CHUNKS_TRAILER, length=10))
    with pytest.raises(InvalidRequest):
        decoder.feed(b"b\r\n")


@pytest.mark.parametrize("at", range(len(CHUNKS)))
def test_a_chunk_whose_signature_is_wrong_is_refused(at: int) -> None:
    chunks = [*CHUNKS]
    chunks[at] = replace(chunks[at], signature="0" * 64)
    assert isinstance(_refusal(SIGNED, _encode(chunks)), SignatureDoesNotMatch)


@pytest.mark.parametrize("at", range(len(PAYLOADS)))
def test_a_chunk_whose_payload_changed_is_refused(at: int) -> None:
    chunks = [*CHUNKS]
    changed = bytearray(chunks[at].payload)
    changed[-1] ^= 1
    chunks[at] = replace(chunks[at], payload=bytes(changed))
    assert isinstance(_refusal(SIGNED, _encode(chunks)), SignatureDoesNotMatch)


def test_chunks_cannot_change_places() -> None:
    chunks = sign_chunks([b"a" * 100, b"b" * 100], SEED)
    mode = replace(SIGNED, decoded_length=200)
    assert _decode(mode, _encode(chunks))
    chunks[0], chunks[1] = chunks[1], chunks[0]
    assert isinstance(_refusal(mode, _encode(chunks)), SignatureDoesNotMatch)


def test_a_chunk_cannot_be_left_out_or_sent_twice() -> None:
    chunks = sign_chunks([b"a" * 100, b"a" * 100], SEED)
    for wrong, length in ((chunks[1:], 100), ([chunks[0], *chunks], 300)):
        mode = replace(SIGNED, decoded_length=length)
        assert isinstance(_refusal(mode, _encode(wrong)), SignatureDoesNotMatch)


def test_the_chain_begins_with_the_requests_own_signature() -> None:
    other = sign_chunks(PAYLOADS, "0" * 64)
    assert isinstance(_refusal(SIGNED, _encode(other)), SignatureDoesNotMatch)


def test_an_unsigned_chunk_cannot_stand_in_for_a_signed_one() -> None:
    assert isinstance(_refusal(SIGNED, _encode(PLAIN_CHUNKS)), SignatureDoesNotMatch)


def test_a_signed_chunk_cannot_stand_in_for_an_unsigned_one() -> None:
    """Nobody would check its signature, while its sender believes that somebody does."""
    assert isinstance(_refusal(UNSIGNED, _encode(CHUNKS)), SignatureDoesNotMatch)


@pytest.mark.parametrize(
    "line",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+4\r\n",
        b"0x4\r\n",
        b" 4\r\n",
        b"4 \r\n",
        b"4\n",
        b"40\n",
        b"4\r\r\n",
        b"4;\r\n",
        b"4;name=value\r\n",
        b"4;chunk-signature\r\n",
        b"00000000000000004\r\n",
        b"4;chunk-signature=" + b"0" * 1024,
        b"0" * 1025,
        b"\xff\r\n",
    ],
)
def test_a_malformed_size_line_is_refused(line: bytes) -> None:
    mode = _mode(PayloadKind.UNSIGNED_CHUNKS_TRAILER, length=4)
    assert isinstance(_refusal(mode, line), InvalidRequest | SignatureDoesNotMatch)


@pytest.mark.parametrize("after", [b"xx", b"\n", b"\r\r\n", b"x\r\n"])
def test_a_payload_ends_where_its_size_line_says(after: bytes) -> None:
    mode = _mode(PayloadKind.UNSIGNED_CHUNKS_TRAILER, length=8)
    assert isinstance(_refusal(mode, b"4\r\nabcd" + after + b"4\r\nefgh\r\n"), InvalidRequest)


@pytest.mark.parametrize(
    "end",
    [
        b"\r\n",
        b"x-amz-checksum-crc32:dGVzdA==\r\nx-amz-checksum-crc32:dGVzdA==\r\n\r\n",
        b"x-amz-checksum-crc32c:dGVzdA==\r\n\r\n",
        b"x-amz-checksum-crc32:dGVzdA==\r\nx-amz-meta-a:1\r\n\r\n",
        b"x-amz-checksum-crc32:dGVzdA==\r\nx-amz-trailer-signature:00\r\n\r\n",
        b"content-type:text/html\r\n\r\n",
        b"\n\r\n",
        b"\r\n\r\n",
        b"no colon\r\n\r\n",
        b"x-amz-checksum-crc32:dGVzdA==\n\n",
        b"x" * (16 * 1024 + 1),
        b"x-amz-checksum-crc32:" + b"A" * 16 * 1024 + b"\r\n\r\n",
    ],
)
def test_a_trailer_is_the_declared_one_and_nothing_else(end: bytes) -> None:
    error = _refusal(UNSIGNED, _encode(PLAIN_CHUNKS, end))
    assert isinstance(error, MalformedTrailer | InvalidRequest)


def test_without_a_declaration_no_trailer_may_come() -> None:
    mode = _mode(PayloadKind.UNSIGNED_CHUNKS_TRAILER, trailer=False)
    assert _decode(mode, _encode(PLAIN_CHUNKS)) == (b"".join(PAYLOADS), None)
    assert isinstance(_refusal(mode, _encode(PLAIN_CHUNKS, trailer_lines(*CRC))), MalformedTrailer)


def test_signed_chunks_without_trailer_mode_end_at_the_empty_chunk() -> None:
    assert isinstance(_refusal(SIGNED, _encode(CHUNKS, _signed_end(CHUNKS))), MalformedTrailer)


@pytest.mark.parametrize(
    "end",
    [
        trailer_lines(*CRC),
        trailer_lines(*CRC, "0" * 64),
        trailer_lines("x-amz-checksum-crc32", "AAAAAA==", sign_trailer(*CRC, CHUNKS[-1].signature)),
        trailer_lines(*CRC, sign_trailer(*CRC, CHUNKS[-2].signature)),
        b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n" + trailer_lines(*CRC),
    ],
)
def test_a_signed_trailer_must_be_signed_upon_the_last_chunk(end: bytes) -> None:
    error = _refusal(SIGNED_TRAILER, _encode(CHUNKS, end))
    assert isinstance(error, SignatureDoesNotMatch | MalformedTrailer)


def test_the_line_ends_of_awss_page_are_understood() -> None:
    """Its trailer ends a header by a bare line feed and then the line; a client copied that."""
    name, value = CRC
    signature = sign_trailer(*CRC, CHUNKS[-1].signature)
    signed = f"{name}:{value}\n\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()
    unsigned = f"{name}:{value}\n\r\n\r\n".encode()

    assert _decode(SIGNED_TRAILER, _encode(CHUNKS, signed))[1] == value
    assert _decode(UNSIGNED, _encode(PLAIN_CHUNKS, unsigned))[1] == value


def test_a_trailers_name_may_be_in_any_case_and_its_value_have_blanks() -> None:
    body = _encode(PLAIN_CHUNKS, b"X-Amz-Checksum-CRC32: \tdGVzdA== \r\n\r\n")
    assert _decode(UNSIGNED, body)[1] == "dGVzdA=="


def test_a_body_of_dust_is_refused_before_it_costs_more_than_its_size() -> None:
    count = 100_000
    mode = _mode(PayloadKind.UNSIGNED_CHUNKS_TRAILER, length=count)
    decoder = AwsChunkedDecoder(mode)
    with pytest.raises(InvalidChunkSize):
        decoder.feed(b"1\r\nx\r\n" * count)


def test_a_large_chunk_is_handed_on_without_being_held() -> None:
    size = 8 * 1024 * 1024
    payload = bytes(size)
    chunks = sign_chunks([payload], SEED)
    decoder = AwsChunkedDecoder(replace(SIGNED, decoded_length=size))
    body = _encode(chunks)
    handed_on = 0
    for at in range(0, len(body), 65536):
        handed_on += sum(map(len, decoder.feed(body[at : at + 65536])))
        assert handed_on >= min(size, at + 65536 - 200)
    decoder.finish()

    assert handed_on == size
