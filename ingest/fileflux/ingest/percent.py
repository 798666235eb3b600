"""Percent-encoding, strict on the way in and canonical on the way out.

Decoding happens once per request, here. What cannot be decoded is refused, so that no later
reader finds another meaning in the same bytes.
"""

from typing import Final
from urllib.parse import quote_from_bytes

from fileflux.ingest.auth_errors import InvalidURI

_DIGITS: Final = b"0123456789abcdefABCDEF"
_OCTETS: Final = {
    bytes((high, low)): bytes((int(bytes((high, low)), 16),)) for high in _DIGITS for low in _DIGITS
}
_UNRESERVED: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_UNRESERVED_AND_SLASH: Final = _UNRESERVED + b"/"
_VISIBLE: Final = bytes(octet for octet in range(256) if octet > 0x20 and octet not in b"#\x7f")


def decode(raw: bytes) -> bytes:
    """Return the octets that `raw` stands for; raise InvalidURI for what is no encoding.

    Spaces, controls and `#` cannot stand for themselves in a request target.
    """
    if raw.translate(None, _VISIBLE):
        raise InvalidURI("The URI contains a character that must be percent-encoded.")
    if b"%" not in raw:
        return raw
    first, *rest = raw.split(b"%")
    decoded = [first]
    for part in rest:
        octet = _OCTETS.get(part[:2])
        if octet is None:
            raise InvalidURI("The URI contains a '%' that is not followed by two hex digits.")
        decoded += (octet, part[2:])
    return b"".join(decoded)


def decode_text(raw: bytes) -> str:
    """Return `decode(raw)` as text; raise InvalidURI if that is not UTF-8."""
    return require_utf8(decode(raw))


def require_utf8(decoded: bytes) -> str:
    """Return the text; raise InvalidURI for overlong forms, surrogates and stray octets."""
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidURI("The URI is not UTF-8 once it is percent-decoded.") from error


def encode_path(path: bytes) -> str:
    """Return SigV4's canonical form of a path: everything but `A-Za-z0-9-._~/` encoded once."""
    if path.translate(None, _UNRESERVED_AND_SLASH):
        return quote_from_bytes(path, safe="/")
    return path.decode("ascii")


def encode_text(text: str) -> str:
    """Return SigV4's canonical form of a query name or value; here `/` is encoded too."""
    if text.isascii() and text.isalnum():
        return text
    return quote_from_bytes(text.encode("utf-8"), safe="")
