"""What a request claims about its own signature: read here, believed nowhere.

The header form and the presigned form say the same things in two places; both become one `Claim`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fileflux.ingest.auth_errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidRequest,
    S3RequestError,
)
from fileflux.ingest.sigv4 import ALGORITHM, TERMINATOR, Scope

SIGNATURE_PARAM: Final = "X-Amz-Signature"
SHA256_PARAM: Final = "X-Amz-Content-Sha256"
_QUERY_PARAMS: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    SIGNATURE_PARAM,
)
_SPELLING: Final = {
    name.lower(): name for name in (*_QUERY_PARAMS, SHA256_PARAM, "X-Amz-Security-Token")
}
AUTH_PARAMS: Final = frozenset(_SPELLING) - {SHA256_PARAM.lower()}
"""Lower-case names of query parameters, any of which makes a request a presigned one."""

ID_SIZE_MAX: Final = 128
"""S3's limit for access keys; longer ones are not even looked up."""
EXPIRES_S_MAX: Final = 7 * 24 * 3600
_HEADER_FIELDS: Final = frozenset(("Credential", "SignedHeaders", "Signature"))
UNSUPPORTED: Final = (
    f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}."
)


@dataclass(frozen=True, slots=True)
class Claim:
    """Who says to have signed what, and when. `expires_s` None: the header form.

    `payload_hash`: the presigned form's optional X-Amz-Content-Sha256.
    """

    access_key: str
    scope: Scope
    timestamp: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)
    expires_s: int | None = None
    payload_hash: str | None = None

    def malformed(self, message: str, extra: Mapping[str, str] | None = None) -> S3RequestError:
        """Return the error that this form of signing has for a claim that cannot hold."""
        if self.expires_s is None:
            return AuthorizationHeaderMalformed(message, extra)
        return AuthorizationQueryParametersError(message, extra)


def claim_of_header(authorization: str, timestamp: str | None) -> Claim:
    """Read an Authorization header of SigV4 and the x-amz-date beside it."""
    scheme, _, rest = authorization.partition(" ")
    if scheme != ALGORITHM:
        raise InvalidRequest(UNSUPPORTED)
    fields: dict[str, str] = {}
    for item in rest.split(",", len(_HEADER_FIELDS)):
        name, _, value = item.strip(" ").partition("=")
        if name not in _HEADER_FIELDS or name in fields:
            raise AuthorizationHeaderMalformed
        fields[name] = value
    if len(fields) != len(_HEADER_FIELDS):
        raise AuthorizationHeaderMalformed("Credential, SignedHeaders and Signature are required.")
    if timestamp is None:
        raise AccessDenied("AWS authentication requires a valid x-amz-date header.")
    access_key, scope = _credential(fields["Credential"], AuthorizationHeaderMalformed)
    names = _signed_headers(fields["SignedHeaders"], AuthorizationHeaderMalformed)
    return Claim(access_key, scope, timestamp, names, fields["Signature"])


def claim_of_query(query: Sequence[tuple[str, str]]) -> Claim:
    """Read the parameters of a presigned URL; each must be there, once, as AWS spells it."""
    given = _auth_params(query)
    missing = [name for name in _QUERY_PARAMS if name not in given]
    if missing:
        raise AuthorizationQueryParametersError(f"The parameter {missing[0]} is missing.")
    if given["X-Amz-Algorithm"] != ALGORITHM:
        raise AuthorizationQueryParametersError(f"X-Amz-Algorithm only supports {ALGORITHM}.")
    error = AuthorizationQueryParametersError
    access_key, scope = _credential(given["X-Amz-Credential"], error)
    return Claim(
        access_key,
        scope,
        given["X-Amz-Date"],
        _signed_headers(given["X-Amz-SignedHeaders"], error),
        given[SIGNATURE_PARAM],
        _expires(given["X-Amz-Expires"]),
        given.get(SHA256_PARAM),
    )


def _auth_params(query: Sequence[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query:
        spelling = _SPELLING.get(name.lower())
        if spelling is None:
            continue
        if name != spelling or name in given:
            raise AuthorizationQueryParametersError(
                f"The parameter {spelling} may be given once, in this spelling."
            )
        given[name] = value
    return given


def _credential(text: str, error: type[S3RequestError]) -> tuple[str, Scope]:
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or not parts[0]:
        raise error("Credential must be <access key>/<date>/<region>/<service>/aws4_request.")
    access_key, date, region, service, terminator = parts
    if not (access_key.isascii() and access_key.isprintable()) or len(access_key) > ID_SIZE_MAX:
        raise error("The access key of the credential is not one of ours.")
    if terminator != TERMINATOR:
        raise error(f"Credential should be scoped with a terminator '{TERMINATOR}'.")
    return access_key, Scope(date, region, service)


def _signed_headers(text: str, error: type[S3RequestError]) -> tuple[str, ...]:
    names = tuple(text.split(";"))
    if text != text.lower() or names != tuple(sorted(set(names))):
        raise error("SignedHeaders must be distinct lower-case names in alphabetical order.")
    return names


def _expires(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise AuthorizationQueryParametersError(
            f"X-Amz-Expires should be a number from 1 to {EXPIRES_S_MAX}."
        )
    seconds = int(text)
    if not 1 <= seconds <= EXPIRES_S_MAX:
        raise AuthorizationQueryParametersError(
            f"X-Amz-Expires must be at least 1 and at most {EXPIRES_S_MAX} seconds."
        )
    return seconds
