"""Requests between our own services, signed by the cluster's shared secret.

The signature covers method, path with query, and time, so that a token for one thing is no token
for another. Bodies are covered by their SHA-256 when there is one.
"""

import hashlib
import hmac
from typing import Final

HEADER: Final = "X-FileFlux-Signature"
SKEW_S_MAX: Final = 300


def sign(secret: bytes, *, method: str, target: str, now_us: int, body: bytes = b"") -> str:
    """Return the header's value: `time_us:hex`, and `:hash` of the body when there is one.

    `target` is the path with its query string.
    """
    hashed = body_hash(body)
    value = f"{now_us}:{_digest(secret, method, target, now_us, hashed)}"
    return f"{value}:{hashed}" if hashed else value


def verify(
    secret: bytes, value: str, *, method: str, target: str, now_us: int, body: bytes = b""
) -> bool:
    """Return whether `value` was made with our secret for this request, within five minutes."""
    promised = verify_head(secret, value, method=method, target=target, now_us=now_us)
    return promised == body_hash(body)


def verify_head(secret: bytes, value: str, *, method: str, target: str, now_us: int) -> str | None:
    """Return the `body_hash` of the body that this request must have; None: it is not ours.

    Before a body is read, so that who does not know the secret makes us read nothing.
    """
    at_text, digest, hashed = [*value.split(":", 2), "", ""][:3]
    if not (at_text.isascii() and at_text.isdigit() and len(at_text) <= 20):
        return None
    at_us = int(at_text)
    if abs(now_us - at_us) > SKEW_S_MAX * 1_000_000:
        return None
    expected = _digest(secret, method, target, at_us, hashed)
    is_ours = hmac.compare_digest(expected.encode(), digest.encode("utf-8", "surrogateescape"))
    return hashed if is_ours else None


def body_hash(body: bytes) -> str:
    """Return the SHA-256 of a body in hexadecimal digits; empty when there is none."""
    return hashlib.sha256(body).hexdigest() if body else ""


def _digest(secret: bytes, method: str, target: str, at_us: int, hashed: str) -> str:
    text = f"{method}\n{target}\n{at_us}\n{hashed}"
    return hmac.new(secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
