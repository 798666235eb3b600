"""ETag and checksum of a completed multipart upload, from those of its parts. Pure.

S3 has two kinds of checksum for an upload in parts: COMPOSITE, a digest of the parts' digests with
their number behind it, and FULL_OBJECT, the checksum of the whole, which CRCs can be combined to.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.checksum import (
    FULL_OBJECT_ALGORITHMS,
    S3_ALGORITHMS,
    Algorithm,
    composite_checksum,
    full_object_checksum,
)
from fileflux.metadata.rows import PartRow

FULL_OBJECT: Final = "FULL_OBJECT"
COMPOSITE: Final = "COMPOSITE"
_PREFERRED: Final = (
    Algorithm.CRC64NVME,
    Algorithm.CRC32C,
    Algorithm.CRC32,
    Algorithm.SHA256,
    Algorithm.SHA1,
)


@dataclass(frozen=True, slots=True)
class WholeChecksum:
    """`value` is in S3's form: base64, for COMPOSITE with `-N` behind it."""

    algorithm: str
    kind: str
    value: str


def multipart_etag(parts: Sequence[PartRow]) -> str:
    """Return the MD5 of the parts' MD5s, and their number."""
    return etag_of_etags([part.etag for part in parts])


def etag_of_etags(etags: Sequence[str]) -> str:
    """Return the same of the parts' ETags."""
    digest = hashlib.md5(usedforsecurity=False)
    for etag in etags:
        digest.update(_etag_bytes(etag))
    return f"{digest.hexdigest()}-{len(etags)}"


def _etag_bytes(etag: str) -> bytes:
    try:
        return bytes.fromhex(etag)
    except ValueError:
        # A copied part's ETag is no MD5 of anything; what matters is that it goes in.
        return etag.encode()


def whole_checksum(
    parts: Sequence[PartRow], *, algorithm: str, kind: str, claimed: Mapping[str, str]
) -> WholeChecksum | None:
    """Return the object's checksum, None where the parts do not have what it takes.

    `algorithm`, `kind`: as the upload was created with, may be empty; then the one that the client
    claims, or the best that all parts have.
    """
    chosen = _choose(parts, algorithm, claimed)
    if chosen is None:
        return None
    kind = kind or _default_kind(chosen, created_with=algorithm)
    try:
        value = _combine(chosen, kind, [(p.meta.checksums[chosen], p.size) for p in parts])
    except (KeyError, ValueError):
        return None
    return WholeChecksum(chosen.value, kind, value)


def _choose(
    parts: Sequence[PartRow], algorithm: str, claimed: Mapping[str, str]
) -> Algorithm | None:
    if algorithm:
        return next((known for known in S3_ALGORITHMS if known == algorithm.upper()), None)
    wanted = [known for known in S3_ALGORITHMS if known in claimed] or _PREFERRED
    return next((a for a in wanted if all(a in part.meta.checksums for part in parts)), None)


def _default_kind(algorithm: Algorithm, *, created_with: str) -> str:
    """Return S3's default: composite for what was asked for at creation, unless it cannot be."""
    if algorithm is Algorithm.CRC64NVME:
        return FULL_OBJECT
    if not created_with and algorithm in FULL_OBJECT_ALGORITHMS:
        return FULL_OBJECT
    return COMPOSITE


def _combine(algorithm: Algorithm, kind: str, values: Sequence[tuple[str, int]]) -> str:
    if kind == FULL_OBJECT:
        return full_object_checksum(algorithm, values)
    return composite_checksum(algorithm, [value for value, _ in values])


def claim_holds(claimed: Mapping[str, str], whole: WholeChecksum | None) -> bool:
    """Tell whether what the client claims for the whole object is what its parts give.

    A composite checksum may be claimed without the number of parts. A claim that the parts cannot
    confirm does not hold: nobody could vouch for it later.
    """
    if not claimed:
        return True
    if whole is None or whole.algorithm not in claimed:
        return False
    return claimed[whole.algorithm] in (whole.value, whole.value.partition("-")[0])
