"""A signed upload in each of the five ways of x-amz-content-sha256, and what reads it."""

import hashlib
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.security.signing import (
    NOW_S,
    Chunk,
    Wire,
    ask,
    sign,
    sign_chunks,
    sign_trailer,
    signature_of,
    trailer_lines,
)

from fileflux.core.checksum import to_base64
from fileflux.core.clock import ManualClock
from fileflux.ingest.body import BodyReader
from fileflux.ingest.payload_mode import PayloadKind

TRAILER: Final = "x-amz-checksum-crc32"


@dataclass(frozen=True)
class Upload:
    """A request, the chunks of its body (one, if it is not aws-chunked) and what follows them."""

    kind: PayloadKind
    wire: Wire
    chunks: Sequence[Chunk]
    end: bytes

    @property
    def body(self) -> bytes:
        if not self.kind.is_chunked:
            return self.chunks[0].payload + self.end
        return b"".join(chunk.encoded() for chunk in self.chunks) + self.end

    def with_chunks(self, chunks: Sequence[Chunk]) -> "Upload":
        return replace(self, chunks=chunks)


def make_upload(kind: PayloadKind, payloads: Sequence[bytes]) -> Upload:
    """Sign an upload of the joined payloads, one chunk each."""
    body = b"".join(payloads)
    crc = to_base64(zlib.crc32(body).to_bytes(4, "big"))
    if not kind.is_chunked:
        return _plain_upload(kind, body, crc)
    headers = [
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", str(len(body))),
    ]
    if kind.has_trailer:
        headers += [("x-amz-trailer", TRAILER), ("x-amz-sdk-checksum-algorithm", "CRC32")]
    wire = sign("PUT", "/bucket/key", headers, payload=kind.value)
    chunks = [Chunk(payload) for payload in (*payloads, b"")]
    if kind.is_chunk_signed:
        chunks = sign_chunks(payloads, signature_of(wire))
    return Upload(kind, wire, chunks, _end(kind, crc, chunks[-1].signature))


def _plain_upload(kind: PayloadKind, body: bytes, crc: str) -> Upload:
    payload = hashlib.sha256(body).hexdigest() if kind is PayloadKind.HASH else kind.value
    headers = [("Content-Length", str(len(body))), (TRAILER, crc)]
    wire = sign("PUT", "/bucket/key", headers, payload=payload)
    return Upload(kind, wire, [Chunk(body)], b"")


def _end(kind: PayloadKind, crc: str, last_signature: str) -> bytes:
    if not kind.has_trailer:
        return b"\r\n"
    signature = sign_trailer(TRAILER, crc, last_signature) if kind.is_chunk_signed else ""
    return trailer_lines(TRAILER, crc, signature)


async def receive(wire: Wire, pieces: Sequence[bytes]) -> bytes:
    """Do what an upload handler does; return the bytes that it may commit."""
    verified = await ask(wire)
    reader = BodyReader(
        _stream(pieces),
        verified.payload,
        verified.request.headers,
        clock=ManualClock(NOW_S * 1_000_000),
    )
    plain = b"".join([bytes(piece) async for piece in reader])
    assert reader.result.size == len(plain)
    return plain


async def _stream(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
