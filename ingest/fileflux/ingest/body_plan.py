"""What the headers promise about a body, checked before its first byte is read.

A contradiction costs nothing here; after five gigabytes it costs five gigabytes.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fileflux.core.checksum import Algorithm, from_base64
from fileflux.core.model import OBJECT_SIZE_BYTES_MAX
from fileflux.ingest.auth_errors import (
    EntityTooLarge,
    InvalidDigest,
    InvalidRequest,
    MissingContentLength,
)
from fileflux.ingest.payload_mode import (
    CHECKSUM_HEADERS,
    PayloadMode,
    checksum_header,
    parse_length,
)

_CHECKSUM_PREFIX: Final = "x-amz-checksum-"
_NOT_CHECKSUMS: Final = frozenset(
    ("x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type")
)
_MD5_SIZE_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """`length_required`: whether a body whose size is not told beforehand gets 411, as in S3."""

    size_bytes_max: int = OBJECT_SIZE_BYTES_MAX
    length_required: bool = True
    slow_bytes_s_min: int = 1024
    slow_s_max: float = 30.0
    total_s_max: float = 12 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPlan:
    """`size`: of the plain body, None if not told. `algorithm`: None if the client chose none.

    `checksum`: the header's value, None if it comes in the trailer.
    """

    size: int | None
    md5: bytes | None
    algorithm: Algorithm | None
    checksum: str | None


def plan_body(headers: Mapping[str, str], payload: PayloadMode, limits: BodyLimits) -> BodyPlan:
    """Return what the body has to be; raise an S3RequestError if that cannot be."""
    size = _size(headers, payload, limits)
    if size is not None and size > limits.size_bytes_max:
        raise too_large(size, limits)
    algorithm, checksum = _checksum(headers, payload)
    return BodyPlan(size=size, md5=_md5(headers), algorithm=algorithm, checksum=checksum)


def too_large(size: int, limits: BodyLimits) -> EntityTooLarge:
    """Return the error for a body of at least `size` bytes."""
    sizes = {"ProposedSize": str(size), "MaxSizeAllowed": str(limits.size_bytes_max)}
    return EntityTooLarge(extra=sizes)


def stored_content_encoding(headers: Mapping[str, str]) -> str | None:
    """Return the Content-Encoding to store: that of the object, without the transfer's own."""
    value = headers.get("content-encoding")
    if value is None or "aws-chunked" not in value.lower():
        return value or None
    names = [name.strip(" \t") for name in value.split(",")]
    kept = [name for name in names if name and name.lower() != "aws-chunked"]
    return ",".join(kept) or None


def _size(headers: Mapping[str, str], payload: PayloadMode, limits: BodyLimits) -> int | None:
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    wire_size = None if length is None else parse_length("Content-Length", length)
    if coding is not None and (wire_size is not None or coding.lower() != "chunked"):
        raise InvalidRequest("Content-Length and Transfer-Encoding contradict each other.")
    if payload.kind.is_chunked:
        return payload.decoded_length
    if wire_size is None and limits.length_required:
        raise MissingContentLength
    return 0 if wire_size is None and coding is None else wire_size


def _md5(headers: Mapping[str, str]) -> bytes | None:
    text = headers.get("content-md5")
    if text is None:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidDigest from None
    if len(digest) != _MD5_SIZE_BYTES:
        raise InvalidDigest
    return digest


def _checksum(
    headers: Mapping[str, str], payload: PayloadMode
) -> tuple[Algorithm | None, str | None]:
    """Return algorithm and value of the one checksum that the client may send."""
    given = [n for n in headers if n.startswith(_CHECKSUM_PREFIX) and n not in _NOT_CHECKSUMS]
    if len(given) + (payload.trailer is not None) > 1:
        raise InvalidRequest("Expecting a single x-amz-checksum- header or trailer.")
    algorithm, checksum = payload.trailer, None
    if given:
        algorithm, checksum = _header_checksum(given[0], headers[given[0]])
    _check_announced(headers.get("x-amz-sdk-checksum-algorithm"), algorithm)
    return algorithm, checksum


def _header_checksum(name: str, value: str) -> tuple[Algorithm, str]:
    algorithm = CHECKSUM_HEADERS.get(name)
    if algorithm is None:
        raise InvalidRequest(f"A header names a checksum that we do not know; we know {_KNOWN}.")
    return algorithm, checked_value(algorithm, value)


def checked_value(algorithm: Algorithm, value: str) -> str:
    """Return a checksum as the client wrote it; refuse what this algorithm cannot have made."""
    try:
        from_base64(algorithm, value)
    except ValueError:
        raise InvalidRequest(
            f"The value of {checksum_header(algorithm)} is not a valid {algorithm} checksum."
        ) from None
    return value


def _check_announced(announced: str | None, algorithm: Algorithm | None) -> None:
    if announced is None or announced.upper() == algorithm:
        return
    if algorithm is None:
        raise InvalidRequest(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
            "x-amz-trailer headers were found."
        )
    raise InvalidRequest("x-amz-sdk-checksum-algorithm and the checksum sent do not agree.")


_KNOWN: Final = ", ".join(CHECKSUM_HEADERS.values())
