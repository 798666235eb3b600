"""SigV4 requests as ready bytes, signed before the clock starts: signing is not measured."""

import datetime
import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Account:
    """Whose requests they are, and where they go."""

    host: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"


def signed_request(
    account: Account,
    method: str,
    path: str,
    *,
    query: str = "",
    body: bytes = b"",
    sign_body: bool = False,
    headers: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """The head of a request, to be followed by `body`. `path` is not encoded, `query` is."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest() if sign_body or not body else UNSIGNED
    signed = sorted(
        [("host", account.host), ("x-amz-content-sha256", digest), ("x-amz-date", now), *headers]
    )
    names = ";".join(name for name, _ in signed)
    encoded = quote(path, safe="/-_.~")
    canonical = "\n".join(
        [method, encoded, query, *(f"{name}:{value}" for name, value in signed), "", names, digest]
    )
    scope = f"{now[:8]}/{account.region}/s3/aws4_request"
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    signature = _hmac(_signing_key(account, now[:8]), to_sign).hex()
    lines = [
        f"{method} {encoded}{'?' + query if query else ''} HTTP/1.1",
        *(f"{name}: {value}" for name, value in signed),
        f"authorization: AWS4-HMAC-SHA256 Credential={account.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}",
    ]
    if body or method in ("PUT", "POST"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode()


def _signing_key(account: Account, date: str) -> bytes:
    key = f"AWS4{account.secret_key}".encode()
    for part in (date, account.region, "s3", "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
