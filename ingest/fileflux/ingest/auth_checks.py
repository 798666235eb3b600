"""What a signature must satisfy before its request is believed. Pure; each check has one error.

The order does not matter to security, all must pass; it matters to people, who read the first
error: where and when it was signed, by whom, over what, and only then whether it is correct.
"""

from collections.abc import Mapping
from typing import Final

from fileflux.ingest import sigv4
from fileflux.ingest.auth_errors import (
    AccessDenied,
    InvalidRequest,
    InvalidToken,
    MissingSecurityHeader,
    RequestTimeTooSkewed,
    SignatureDoesNotMatch,
)
from fileflux.ingest.claim import SIGNATURE_PARAM, Claim
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.payload_mode import UNSIGNED_PAYLOAD

UNSIGNED_HEADERS_ALLOWED: Final = frozenset(
    ("x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer")
)
"""The envelope of the body. The first is a line of the canonical request itself; the others can
only make the body fail its own verification. Every other x-amz-* header steers an operation."""
_STEERING_PREFIXES: Final = ("x-amz-", "x-fileflux-")
_NOT_SIGNED: Final = "There were headers present in the request which were not signed"


def check_scope(claim: Claim, *, region: str, service: str) -> None:
    """Refuse a key that was made for another region, service or day."""
    scope = claim.scope
    if scope.region != region:
        raise claim.malformed(
            f"The region of the credential is wrong; expecting '{region}'.", {"Region": region}
        )
    if scope.service != service:
        raise claim.malformed(f"The service of the credential must be '{service}'.")
    _signed_s(claim)  # What is no date is said to be none, before it is compared with one.
    if scope.date != claim.timestamp[:8]:
        raise claim.malformed("The date of the credential is not the date of the request.")


def check_time(claim: Claim, *, now_s: int, skew_s_max: int) -> None:
    """Refuse a request signed too long ago, or by a clock that is too far ahead."""
    signed_s, expires_s = _signed_s(claim), claim.expires_s
    if expires_s is None:
        if abs(now_s - signed_s) > skew_s_max:
            allowed = {"MaxAllowedSkewMilliseconds": str(skew_s_max * 1000)}
            raise RequestTimeTooSkewed(extra=_times(signed_s, now_s) | allowed)
    elif signed_s > now_s + skew_s_max:
        raise AccessDenied("Request is not valid yet", _times(signed_s, now_s))
    elif now_s > signed_s + expires_s:
        given = {"X-Amz-Expires": str(expires_s)}
        raise AccessDenied("Request has expired", _times(signed_s, now_s) | given)


def _signed_s(claim: Claim) -> int:
    """Return when the request was signed, in seconds since 1970."""
    try:
        return sigv4.parse_timestamp(claim.timestamp)
    except ValueError:
        if claim.expires_s is None:
            raise AccessDenied("AWS authentication requires a valid x-amz-date.") from None
        raise claim.malformed("X-Amz-Date must be like 20130524T000000Z.") from None


def _times(signed_s: int, now_s: int) -> dict[str, str]:
    return {
        "RequestTime": sigv4.format_timestamp(signed_s),
        "ServerTime": sigv4.format_timestamp(now_s),
    }


def check_coverage(headers: Mapping[str, str], claim: Claim) -> None:
    """Refuse a request that carries what its signature does not cover."""
    signed = frozenset(claim.signed_headers)
    if "host" not in signed:
        raise AccessDenied(_NOT_SIGNED, {"HeadersNotSigned": "host"})
    unsigned = [
        name
        for name in headers
        if name.startswith(_STEERING_PREFIXES)
        and name not in signed
        and name not in UNSIGNED_HEADERS_ALLOWED
    ]
    if unsigned:
        raise AccessDenied(_NOT_SIGNED, {"HeadersNotSigned": ", ".join(unsigned)})
    if not signed <= headers.keys():
        raise SignatureDoesNotMatch("A header named in SignedHeaders is not in the request.")
    if "x-amz-security-token" in headers:
        raise InvalidToken


def content_sha256_of(headers: Mapping[str, str], claim: Claim) -> str:
    """Return the last line of the canonical request: the signature binds the payload's mode."""
    header = headers.get("x-amz-content-sha256")
    if claim.expires_s is None:
        if header is None:
            raise MissingSecurityHeader(
                "Missing required header for this request: x-amz-content-sha256"
            )
        return header
    if header is not None and claim.payload_hash not in (None, header):
        raise InvalidRequest("The URL and the headers name two x-amz-content-sha256.")
    return header or claim.payload_hash or UNSIGNED_PAYLOAD


def check_signature(
    request: ParsedRequest, claim: Claim, signer: sigv4.ChunkSigner, payload_hash: str
) -> None:
    """Refuse a request whose signature is not the one that its owner's key would make."""
    query = request.query
    if claim.expires_s is not None:
        query = tuple(pair for pair in query if pair[0] != SIGNATURE_PARAM)
    canonical = sigv4.canonical_request(
        request.method,
        request.path,
        query,
        headers=request.headers,
        signed_headers=claim.signed_headers,
        payload_hash=payload_hash,
    )
    text = sigv4.string_to_sign(signer.timestamp, signer.scope, canonical)
    if not sigv4.is_same(sigv4.sign(signer.key, text), claim.signature):
        raise SignatureDoesNotMatch
