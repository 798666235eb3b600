"""The signing key's file: made once, private, Ed25519."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fileflux.metadata.audit_keys import AuditKeyInvalid, load_audit_key, new_audit_key


def test_a_key_comes_back_from_its_file_which_only_its_owner_reads(tmp_path: Path) -> None:
    made = new_audit_key(tmp_path / "key.pem")

    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert load_audit_key(tmp_path / "key.pem").private_bytes_raw() == made.private_bytes_raw()


def test_a_key_is_never_written_over_another_one(tmp_path: Path) -> None:
    made = new_audit_key(tmp_path / "key.pem")
    with pytest.raises(AuditKeyInvalid, match="exists"):
        new_audit_key(tmp_path / "key.pem")

    assert load_audit_key(tmp_path / "key.pem").private_bytes_raw() == made.private_bytes_raw()


def test_a_key_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    new_audit_key(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o440)
    load_audit_key(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o604)

    with pytest.raises(AuditKeyInvalid, match="chmod 600"):
        load_audit_key(tmp_path / "key.pem")


def test_a_file_without_an_ed25519_key_is_refused_with_a_sentence(tmp_path: Path) -> None:
    for name, body in (("none", None), ("text", b"hello"), ("other", _other_key())):
        path = tmp_path / name
        if body is not None:
            path.write_bytes(body)
            path.chmod(0o600)
        with pytest.raises(AuditKeyInvalid, match=str(path)):
            load_audit_key(path)


def _other_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
