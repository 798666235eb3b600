"""How the body of a request is framed and proven: what x-amz-content-sha256 says.

Every value that we do not know is refused. A server that stores a framed body as if it were plain
writes the frames into its users' files; that happened to most of S3's relatives in 2025.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fileflux.core.checksum import S3_ALGORITHMS, Algorithm
from fileflux.ingest.auth_errors import InvalidArgument, InvalidRequest, MissingContentLength
from fileflux.ingest.sigv4 import ChunkSigner

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
_HEX_DIGITS: Final = "0123456789abcdefABCDEF"
_LENGTH_DIGITS_MAX: Final = 16


class PayloadKind(enum.Enum):
    """The ways of x-amz-content-sha256. `HASH`: the digest of the whole body."""

    HASH = "HASH"
    UNSIGNED = UNSIGNED_PAYLOAD
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    @property
    def is_chunked(self) -> bool:
        """Return whether the body is aws-chunked."""
        return self not in (PayloadKind.HASH, PayloadKind.UNSIGNED)

    @property
    def is_chunk_signed(self) -> bool:
        return self in (PayloadKind.SIGNED_CHUNKS, PayloadKind.SIGNED_CHUNKS_TRAILER)

    @property
    def has_trailer(self) -> bool:
        return self in (PayloadKind.SIGNED_CHUNKS_TRAILER, PayloadKind.UNSIGNED_CHUNKS_TRAILER)


_NAMED_KINDS: Final = {kind.value: kind for kind in PayloadKind if kind is not PayloadKind.HASH}


def checksum_header(algorithm: Algorithm) -> str:
    """Return the header, or trailer, in which this checksum travels."""
    return f"x-amz-checksum-{algorithm.lower()}"


CHECKSUM_HEADERS: Final = {checksum_header(each): each for each in S3_ALGORITHMS}
"""Header → algorithm. Nothing else may come in a trailer."""


@dataclass(frozen=True, slots=True)
class PayloadMode:
    """What the reader of the body has to do. `sha256`: the signed digest (HASH), in lower case.

    `signer` verifies signed chunks; `trailer` is the checksum that the trailer will hold;
    `decoded_length` is the size of the plain body of an aws-chunked one.
    """

    kind: PayloadKind
    sha256: str = ""
    signer: ChunkSigner | None = None
    trailer: Algorithm | None = None
    decoded_length: int | None = None


PLAIN: Final = PayloadMode(PayloadKind.UNSIGNED)
"""A body that nobody signed: presigned URLs and the REST endpoints."""


def kind_of(content_sha256: str) -> PayloadKind:
    """Return the way a body is sent; refuse what we cannot verify."""
    if len(content_sha256) == 64 and not content_sha256.strip(_HEX_DIGITS):
        return PayloadKind.HASH
    kind = _NAMED_KINDS.get(content_sha256)
    if kind is None:
        names = ", ".join(_NAMED_KINDS)
        raise InvalidArgument(
            f"x-amz-content-sha256 must be {names}, or a valid sha256 value.",
            {"ArgumentName": "x-amz-content-sha256"},
        )
    return kind


def payload_mode(
    kind: PayloadKind, content_sha256: str, headers: Mapping[str, str], signer: ChunkSigner
) -> PayloadMode:
    """Return what the headers of a verified request promise about its body."""
    if not kind.is_chunked:
        _refuse_framing_headers(headers)
        is_hash = kind is PayloadKind.HASH
        return PayloadMode(kind, sha256=content_sha256.lower() if is_hash else "")
    return PayloadMode(
        kind,
        signer=signer if kind.is_chunk_signed else None,
        trailer=_declared_trailer(kind, headers.get("x-amz-trailer")),
        decoded_length=_decoded_length(headers.get("x-amz-decoded-content-length")),
    )


def _refuse_framing_headers(headers: Mapping[str, str]) -> None:
    encodings = headers.get("content-encoding")
    if encodings and "aws-chunked" in encodings.lower():
        raise InvalidRequest("Content-Encoding aws-chunked needs a STREAMING x-amz-content-sha256.")
    if "x-amz-trailer" in headers:
        raise InvalidRequest("x-amz-trailer needs a STREAMING x-amz-content-sha256 with TRAILER.")


def _declared_trailer(kind: PayloadKind, declared: str | None) -> Algorithm | None:
    if declared is None:
        if kind is PayloadKind.SIGNED_CHUNKS_TRAILER:
            raise InvalidRequest("x-amz-trailer is required with a signed trailer.")
        return None
    if not kind.has_trailer:
        raise InvalidRequest("x-amz-trailer needs a STREAMING x-amz-content-sha256 with TRAILER.")
    algorithm = CHECKSUM_HEADERS.get(declared.lower())
    if algorithm is None:
        raise InvalidRequest("x-amz-trailer must name one x-amz-checksum-… header that we know.")
    return algorithm


def _decoded_length(text: str | None) -> int:
    if text is None:
        raise MissingContentLength(
            "x-amz-decoded-content-length is required for a STREAMING payload."
        )
    return parse_length("x-amz-decoded-content-length", text)


def parse_length(name: str, text: str) -> int:
    """Return a length header's value; refuse signs, blanks, other digits and absurd sizes."""
    if not (text.isascii() and text.isdigit() and len(text) <= _LENGTH_DIGITS_MAX):
        raise InvalidRequest(f"The header {name} is not a length.")
    return int(text)
