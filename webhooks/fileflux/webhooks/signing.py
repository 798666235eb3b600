"""Standard Webhooks 1.0: who receives a delivery can prove that we sent it, and when.

`webhook-signature` is HMAC-SHA256 over `id.timestamp.body`, one `v1,<base64>` for each secret that
is valid: while a secret is being replaced there are two, so that no receiver has to change at the
same moment as we do.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Final

from fileflux.core.errors import Invalid

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
ROTATION_S: Final = 24 * 3_600
"""How long the old secret signs beside the new one."""


def new_secret() -> str:
    """Return a fresh secret as its receiver is told it."""
    return PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """Return the key that `whsec_<base64>` stands for; raise Invalid for anything else."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise Invalid(
            f"a secret is {PREFIX} and {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes in base64"
        )
    return key


def signature_headers(
    secrets: Sequence[str], *, message_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """Return the three headers of one attempt. `secrets`: the new one first."""
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    digest = hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
