"""Positions of the audit stream as clients hold them: `id:` of an event, `next` of a page.

Operators get the number. A tenant gets it sealed: from numbers, and from whether one has changed,
it would learn how much everybody else writes. A sealed cursor is bound to its user, and looks new
each time. Both mean "everything up to this position is done".
"""

import base64
import binascii
import hmac
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fileflux.ingest.auth import Principal
from fileflux.ingest.s3_errors import S3Error

POSITION_DIGITS_MAX: Final = 18
_LABEL: Final = b"fileflux event cursor 1"
_NONCE_SIZE: Final = 12
_POSITION_SIZE: Final = 8
_SEALED_CHARS: Final = 48


class Cursors:
    """`master_key`: the same for every ingest, so that any of them reads what another one gave."""

    def __init__(self, master_key: bytes) -> None:
        self._aead = AESGCM(hmac.digest(master_key, _LABEL, "sha256"))

    def text_of(self, position: int, principal: Principal) -> str:
        if principal.is_root:
            return str(position)
        nonce = os.urandom(_NONCE_SIZE)
        plain = position.to_bytes(_POSITION_SIZE, "big")
        sealed = nonce + self._aead.encrypt(nonce, plain, principal.user_id)
        return base64.urlsafe_b64encode(sealed).decode()

    def position_of(self, text: str, principal: Principal) -> int:
        """Return the position; raise InvalidArgument for what was not given to this user."""
        position = _number(text) if principal.is_root else self._unsealed(text, principal)
        if position is None:
            raise S3Error("InvalidArgument", "That is no cursor of yours.")
        return position

    def _unsealed(self, text: str, principal: Principal) -> int | None:
        if len(text) != _SEALED_CHARS or not text.isascii():
            return None
        try:
            sealed = base64.b64decode(text, altchars=b"-_", validate=True)
            nonce, rest = sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:]
            return int.from_bytes(self._aead.decrypt(nonce, rest, principal.user_id), "big")
        except (InvalidTag, binascii.Error):
            return None


def is_position(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= POSITION_DIGITS_MAX


def _number(text: str) -> int | None:
    return int(text) if is_position(text) else None
