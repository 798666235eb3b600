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
    """Return the header's value: `time_us:hex`. `target` is the path with its query string."""
    return f"{now_us}:{_digest(secret, method, target, now_us, body)}"


def verify(
    secret: bytes, value: str, *, method: str, target: str, now_us: int, body: bytes = b""
) -> bool:
    """Return whether `value` was made with our secret for this request, within five minutes."""
    at_text, _, digest = value.partition(":")
    if not (at_text.isascii() and at_text.isdigit() and len(at_text) <= 20):
        return False
    at_us = int(at_text)
    if abs(now_us - at_us) > SKEW_S_MAX * 1_000_000:
        return False
    expected = _digest(secret, method, target, at_us, body)
    return hmac.compare_digest(expected.encode(), digest.encode("utf-8", "surrogateescape"))


def _digest(secret: bytes, method: str, target: str, at_us: int, body: bytes) -> str:
    body_hash = hashlib.sha256(body).hexdigest() if body else ""
    text = f"{method}\n{target}\n{at_us}\n{body_hash}"
    return hmac.new(secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
