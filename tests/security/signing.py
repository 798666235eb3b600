"""The other side of SigV4: botocore's signer with a clock of ours, and an aws-chunked encoder.

None of it shares code with what it tests.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from fileflux.core.clock import ManualClock
from fileflux.core.ids import UserId
from fileflux.ingest.auth import Authenticated, AuthSettings, Credential, authenticate
from fileflux.ingest.parsed_request import RawRequest

ACCESS_KEY: Final = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY: Final = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION: Final = "us-east-1"
HOST: Final = "localhost:9000"
TIMESTAMP: Final = "20130524T000000Z"
NOW_S: Final = 1_369_353_600
SCOPE: Final = f"{TIMESTAMP[:8]}/{REGION}/s3/aws4_request"
SETTINGS: Final = AuthSettings(region=REGION)
USER: Final = UserId(b"u" * 16)
Headers = tuple[tuple[bytes, bytes], ...]


class OneKey:
    """The `CredentialStore` of one user."""

    def __init__(self, *, active: bool = True) -> None:
        self.credential = Credential(USER, "alice", SECRET_KEY, active=active)

    async def secret_for(self, access_key: str) -> Credential | None:
        return self.credential if access_key == ACCESS_KEY else None


@dataclass(frozen=True)
class Wire:
    """A request as it is sent, and what its signer hashed."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    canonical: str = field(default="", repr=False)

    def raw(self) -> RawRequest:
        return RawRequest(self.method, self.path, self.query, self.headers)

    def header(self, name: str) -> bytes:
        return next(value for each, value in self.headers if each.lower() == name.encode())

    def with_header(self, name: str, value: bytes | str) -> "Wire":
        """Replace a header, or add it."""
        text = value.encode() if isinstance(value, str) else value
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower().encode())
        return replace(self, headers=(*kept, (name.encode(), text)))

    def adding(self, name: str, value: str) -> "Wire":
        return replace(self, headers=(*self.headers, (name.encode(), value.encode())))

    def without_header(self, name: str) -> "Wire":
        return replace(
            self, headers=tuple(p for p in self.headers if p[0].lower() != name.encode())
        )


async def ask(
    wire: Wire, *, now_s: int = NOW_S, settings: AuthSettings = SETTINGS
) -> Authenticated:
    """Let the server look at a request."""
    return await authenticate(wire.raw(), OneKey(), ManualClock(now_s * 1_000_000), settings)


class _HeaderSigner(S3SigV4Auth):  # type: ignore[misc]
    def payload(self, request: AWSRequest) -> str:
        return str(request.context.get("payload") or super().payload(request))


class _QuerySigner(S3SigV4QueryAuth):  # type: ignore[misc]
    pass


def sign(
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    *,
    payload: str = "",
    timestamp: str = TIMESTAMP,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
    region: str = REGION,
    service: str = "s3",
) -> Wire:
    """Sign by header. `target` is what goes on the wire; `payload`: x-amz-content-sha256."""
    signer = _HeaderSigner(Credentials(access_key, secret_key), service, region)
    request = _request(method, target, headers)
    request.context["payload"] = payload
    return _signed(signer, request, timestamp)


def presign(
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    *,
    expires: object = 3600,
    timestamp: str = TIMESTAMP,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
    region: str = REGION,
    service: str = "s3",
) -> Wire:
    """Sign by query."""
    signer = _QuerySigner(Credentials(access_key, secret_key), service, region, expires)
    return _signed(signer, _request(method, target, headers), timestamp)


def _request(method: str, target: str, headers: Sequence[tuple[str, str]]) -> AWSRequest:
    host = dict(headers).get("Host", HOST)
    request = AWSRequest(method=method, url=f"http://{host}{target}")
    for name, value in headers:
        request.headers.add_header(name, value)
    if "Host" not in request.headers:
        request.headers["Host"] = host
    return request


def _signed(signer: Any, request: AWSRequest, timestamp: str) -> Wire:
    request.context["timestamp"] = timestamp
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    signer._inject_signature_to_request(request, signature)
    url = urlsplit(request.url)
    headers = tuple((n.encode(), str(v).encode()) for n, v in request.headers.items())
    return Wire(request.method, url.path.encode(), url.query.encode(), headers, canonical)


def signature_of(wire: Wire) -> str:
    """Return the signature in the Authorization header."""
    return wire.header("authorization").decode().rpartition("Signature=")[2]


@dataclass(frozen=True)
class Chunk:
    """One chunk as it is sent."""

    payload: bytes
    signature: str = ""

    def encoded(self) -> bytes:
        extension = f";chunk-signature={self.signature}" if self.signature else ""
        line = f"{len(self.payload):x}{extension}\r\n".encode()
        return line + self.payload + (b"\r\n" if self.payload else b"")


def sign_chunks(payloads: Sequence[bytes], seed: str) -> list[Chunk]:
    """Sign the payloads, and the empty one that ends them, each upon the one before."""
    chunks = []
    for payload in (*payloads, b""):
        digest = hashlib.sha256(payload).hexdigest()
        empty = hashlib.sha256(b"").hexdigest()
        seed = _chained("PAYLOAD", f"{seed}\n{empty}\n{digest}")
        chunks.append(Chunk(payload, seed))
    return chunks


def sign_trailer(name: str, value: str, previous: str) -> str:
    """Return the trailer's signature upon that of the last chunk."""
    digest = hashlib.sha256(f"{name}:{value}\n".encode()).hexdigest()
    return _chained("TRAILER", f"{previous}\n{digest}")


def trailer_lines(name: str, value: str, signature: str = "") -> bytes:
    """Return the end of a body that has a trailer."""
    lines = f"{name}:{value}\r\n"
    if signature:
        lines += f"x-amz-trailer-signature:{signature}\r\n"
    return f"{lines}\r\n".encode()


def _chained(kind: str, last: str) -> str:
    text = f"AWS4-HMAC-SHA256-{kind}\n{TIMESTAMP}\n{SCOPE}\n{last}"
    return _hmac(signing_key(), text).hex()


def signing_key() -> bytes:
    key = f"AWS4{SECRET_KEY}".encode()
    for part in SCOPE.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
