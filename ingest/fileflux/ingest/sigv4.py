"""Signature Version 4, the pure part: canonical request, string to sign, keys, chained signatures.

S3's dialect: the path is neither normalised nor encoded twice. Nothing here knows a clock, a user
or a policy; `fileflux.ingest.auth` decides what a correct signature is worth.
"""

import functools
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from fileflux.ingest import percent

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
EMPTY_SHA256: Final = hashlib.sha256().hexdigest()
SIGNING_KEYS_MAX: Final = 4096
"""One per active access key and day; 4,096 of them are about 1 MiB."""
TIMESTAMPS_MAX: Final = 2048
"""Requests of half an hour share their seconds: skew allows no more distinct ones."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signing key is good for: one day, one region, one service."""

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


def canonical_request(
    method: str,
    path: bytes,
    query: Iterable[tuple[str, str]],
    *,
    headers: Mapping[str, str],
    signed_headers: Sequence[str],
    payload_hash: str,
) -> str:
    """Return what both sides hash. Every name in `signed_headers` must be in `headers`."""
    lines = [method, percent.encode_path(path), canonical_query(query)]
    lines += [f"{name}:{_trimmed(headers[name])}" for name in signed_headers]
    lines += ("", ";".join(signed_headers), payload_hash)
    return "\n".join(lines)


def canonical_query(query: Iterable[tuple[str, str]]) -> str:
    """Return the parameters encoded and sorted, first by name, then by value."""
    encode = percent.encode_text
    pairs = sorted((encode(name), encode(value)) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in pairs)


def _trimmed(value: str) -> str:
    # Only ASCII blanks collapse: str.split() would also eat octets of UTF-8, such as 0xA0.
    if "  " in value or "\t" in value:
        return b" ".join(value.encode("latin-1").split()).decode("latin-1")
    return value


def string_to_sign(timestamp: str, scope: str, canonical: str) -> str:
    """Return what the signing key signs."""
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}"


@functools.lru_cache(maxsize=SIGNING_KEYS_MAX)
def signing_key(secret_key: str, scope: Scope) -> bytes:
    """Return the key of one secret for one scope. A rotated secret has another key at once."""
    key = f"AWS4{secret_key}".encode()
    for part in (scope.date, scope.region, scope.service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(key: bytes, text: str) -> str:
    """Return the signature in hexadecimal."""
    return hmac.digest(key, text.encode("latin-1"), "sha256").hex()


def is_same(expected: str, given: str) -> bool:
    """Compare two signatures in a time that does not tell where they differ."""
    return hmac.compare_digest(expected.encode("latin-1"), given.encode("utf-8"))


@functools.lru_cache(maxsize=TIMESTAMPS_MAX)
def parse_timestamp(text: str) -> int:
    """Return the seconds since 1970 of `YYYYMMDDTHHMMSSZ`; raise ValueError for anything else."""
    if len(text) != 16 or text[8] != "T" or text[15] != "Z" or not text.isascii():
        raise ValueError("not a time of the form YYYYMMDDTHHMMSSZ")
    digits = text[:8] + text[9:15]
    if not digits.isdigit():
        raise ValueError("a time has digits")
    month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    return int(datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=UTC).timestamp())


def format_timestamp(seconds: int) -> str:
    """Return `YYYYMMDDTHHMMSSZ`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


@dataclass(frozen=True, slots=True)
class ChunkSigner:
    """Signs the pieces of one body; each signature covers the one before it."""

    key: bytes = field(repr=False)
    timestamp: str
    scope: str
    seed: str = field(repr=False)
    """The request's own signature, which the first chunk continues."""

    def chunk(self, previous: str, chunk_sha256: str) -> str:
        """Return the signature of a chunk with this digest."""
        return self._sign("PAYLOAD", previous, f"{EMPTY_SHA256}\n{chunk_sha256}")

    def trailer(self, previous: str, trailer_sha256: str) -> str:
        """Return the signature of the trailer headers with this digest."""
        return self._sign("TRAILER", previous, trailer_sha256)

    def _sign(self, kind: str, previous: str, last: str) -> str:
        text = f"{ALGORITHM}-{kind}\n{self.timestamp}\n{self.scope}\n{previous}\n{last}"
        return sign(self.key, text)
