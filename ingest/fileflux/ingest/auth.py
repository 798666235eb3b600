"""Who asks: a request becomes a principal, or an exception that says why not.

SigV4 in the Authorization header or in the query of a presigned URL is S3; HTTP Basic is the REST
endpoints. Never two of them at once, and never nobody: what is not proven is refused.
"""

import enum
from dataclasses import dataclass, field
from typing import Protocol

from fileflux.core.clock import Clock
from fileflux.core.ids import UserId
from fileflux.ingest import sigv4
from fileflux.ingest.auth_checks import (
    check_coverage,
    check_scope,
    check_signature,
    check_time,
    content_sha256_of,
)
from fileflux.ingest.auth_errors import (
    AccessDenied,
    InvalidAccessKeyId,
    InvalidArgument,
    InvalidRequest,
)
from fileflux.ingest.basic import PasswordStore, name_and_password
from fileflux.ingest.claim import (
    AUTH_PARAMS,
    UNSUPPORTED,
    Claim,
    claim_of_header,
    claim_of_query,
)
from fileflux.ingest.parsed_request import (
    ParsedRequest,
    RawRequest,
    parse_request,
    require_key_size,
)
from fileflux.ingest.payload_mode import (
    PLAIN,
    UNSIGNED_PAYLOAD,
    PayloadMode,
    kind_of,
    payload_mode,
)


class Scheme(enum.Enum):
    """How a request says who it is from."""

    NONE = "none"
    BASIC = "basic"
    SIGV4_HEADER = "sigv4 header"
    SIGV4_QUERY = "sigv4 query"


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """`domains`: requests to `<bucket>.<domain>` name their bucket by the host. Lower case."""

    region: str = "us-east-1"
    service: str = "s3"
    skew_s_max: int = 15 * 60
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """What is known of an access key."""

    user_id: UserId
    name: str
    secret_key: str = field(repr=False)
    is_root: bool = False
    active: bool = True


class CredentialStore(Protocol):
    """Access keys and their secrets."""

    async def secret_for(self, access_key: str) -> Credential | None:
        """Return the key's credential, None if there is none. May be some seconds old."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified request is from. `access_key` is empty for HTTP Basic."""

    user_id: UserId
    name: str
    access_key: str = ""
    is_root: bool = False


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A verified request. Its body is not: that is `payload`'s and the body reader's work."""

    principal: Principal
    payload: PayloadMode
    request: ParsedRequest
    scheme: Scheme


async def authenticate(
    request: RawRequest,
    credentials: CredentialStore,
    clock: Clock,
    settings: AuthSettings,
    *,
    passwords: PasswordStore | None = None,
) -> Authenticated:
    """Return who sent the request; raise an S3RequestError if that is not proven."""
    parsed = parse_request(request, domains=settings.domains)
    scheme = scheme_of(parsed)
    if scheme is Scheme.SIGV4_HEADER:
        authorization, timestamp = (parsed.headers.get(n) for n in ("authorization", "x-amz-date"))
        claim = claim_of_header(authorization or "", timestamp)
    elif scheme is Scheme.SIGV4_QUERY:
        claim = claim_of_query(parsed.query)
    elif scheme is Scheme.BASIC and passwords is not None:
        return await _authenticate_password(parsed, passwords)
    else:
        raise AccessDenied
    credential = await _credential(claim, credentials, clock, settings)
    return _verified(parsed, claim, credential, scheme)


def scheme_of(request: ParsedRequest) -> Scheme:
    """Return how the request names its sender; refuse one that does so twice, or by SigV2."""
    is_presigned = any(name.lower() in AUTH_PARAMS for name, _ in request.query)
    authorization = request.headers.get("authorization")
    if authorization is None:
        if not is_presigned and request.has("AWSAccessKeyId"):
            raise InvalidRequest(UNSUPPORTED)
        return Scheme.SIGV4_QUERY if is_presigned else Scheme.NONE
    if is_presigned:
        raise InvalidArgument(
            "Only one auth mechanism allowed: the X-Amz-* query parameters or the Authorization "
            "header, not both."
        )
    is_basic = authorization.partition(" ")[0].lower() == "basic"
    return Scheme.BASIC if is_basic else Scheme.SIGV4_HEADER


async def _authenticate_password(request: ParsedRequest, passwords: PasswordStore) -> Authenticated:
    if request.headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD) != UNSIGNED_PAYLOAD:
        raise InvalidRequest("x-amz-content-sha256 needs a signed request.")
    account = await passwords.verify(*name_and_password(request.headers["authorization"]))
    principal = Principal(account.user_id, account.name, is_root=account.is_root)
    return Authenticated(principal, PLAIN, request, Scheme.BASIC)


async def _credential(
    claim: Claim, credentials: CredentialStore, clock: Clock, settings: AuthSettings
) -> Credential:
    check_scope(claim, region=settings.region, service=settings.service)
    check_time(claim, now_s=clock.now_us() // 1_000_000, skew_s_max=settings.skew_s_max)
    credential = await credentials.secret_for(claim.access_key)
    if credential is None or not credential.active:
        raise InvalidAccessKeyId
    return credential


def _verified(
    request: ParsedRequest, claim: Claim, credential: Credential, scheme: Scheme
) -> Authenticated:
    check_coverage(request.headers, claim)
    content_sha256 = content_sha256_of(request.headers, claim)
    kind = kind_of(content_sha256)
    key = sigv4.signing_key(credential.secret_key, claim.scope)
    signer = sigv4.ChunkSigner(key, claim.timestamp, str(claim.scope), claim.signature)
    check_signature(request, claim, signer, content_sha256)
    require_key_size(request.key)
    payload = payload_mode(kind, content_sha256, request.headers, signer)
    if scheme is Scheme.SIGV4_QUERY and kind.is_chunked:
        raise InvalidRequest("A presigned URL cannot be used with a STREAMING payload.")
    principal = Principal(credential.user_id, credential.name, claim.access_key, credential.is_root)
    return Authenticated(principal, payload, request, scheme)
