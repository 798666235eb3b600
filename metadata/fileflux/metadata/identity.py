"""Secrets at rest: S3's secret keys are encrypted with the master key, since SigV4 needs them back.

AES-256-GCM with a random nonce; the access key is authenticated beside it, so that an encrypted
secret cannot be moved to another key. Layout: version byte 1, nonce (12 bytes), ciphertext and tag.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fileflux.core.errors import FormatInvalid

VERSION: Final = b"\x01"
NONCE_SIZE: Final = 12


def encrypt_secret(master_key: bytes, access_key: str, secret_key: str) -> bytes:
    """Return what is stored. `master_key`: 32 bytes."""
    nonce = os.urandom(NONCE_SIZE)
    sealed = AESGCM(master_key).encrypt(nonce, secret_key.encode(), access_key.encode())
    return VERSION + nonce + sealed


def decrypt_secret(master_key: bytes, access_key: str, stored: bytes) -> str:
    """Return the secret key; raise FormatInvalid for another master key, access key or layout."""
    if stored[:1] != VERSION or len(stored) <= 1 + NONCE_SIZE:
        raise FormatInvalid(f"the secret of {access_key} has an unknown layout")
    nonce, sealed = stored[1 : 1 + NONCE_SIZE], stored[1 + NONCE_SIZE :]
    try:
        return AESGCM(master_key).decrypt(nonce, sealed, access_key.encode()).decode()
    except InvalidTag:
        raise FormatInvalid(
            f"the secret of {access_key} was encrypted with another FILEFLUX_MASTER_KEY"
        ) from None
