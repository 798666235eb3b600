"""The key that signs checkpoints: an Ed25519 key in a private file, made once.

`cryptography` has Ed25519, is what encrypts the users' secret keys already, and writes the file
form (PKCS#8, PEM) that every other tool reads.
"""

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fileflux.core.errors import Invalid

OPEN_TO_OTHERS: Final = 0o037
"""Any right of strangers, and the group's to write."""


class AuditKeyInvalid(Invalid):
    """The key's file cannot be used; the message says why."""


def new_audit_key(path: Path) -> Ed25519PrivateKey:
    """Make a key in a file that only its owner reads; raise AuditKeyInvalid, never overwrite."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise AuditKeyInvalid(f"{path} exists; a key is never written over another file") from None
    except OSError as error:
        raise AuditKeyInvalid(f"{path} cannot be written: {error.strerror}") from error
    return key


def load_audit_key(path: Path) -> Ed25519PrivateKey:
    """Return the key of a file; raise AuditKeyInvalid, also if everybody may read the file.

    Its group may: that is how secrets are mounted where processes are not root.
    """
    try:
        if path.stat().st_mode & OPEN_TO_OTHERS:
            raise AuditKeyInvalid(f"{path} may be read by others: chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise AuditKeyInvalid(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise AuditKeyInvalid(f"{path} holds no private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditKeyInvalid(f"{path} holds a key of another kind than Ed25519")
    return key
