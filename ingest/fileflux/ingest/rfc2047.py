"""User metadata that is not ASCII, as S3 carries it in headers: RFC 2047 encoded words.

A value that consists of encoded words is stored decoded; a stored value that a header cannot carry
as it is leaves as one encoded word. So what a client reads, decoded, is what it wrote, decoded, and
a plain value comes back byte for byte.
"""

import base64
import binascii
import quopri
import re
from typing import Final

_WORD: Final = re.compile(r"=\?(utf-8|iso-8859-1|us-ascii)\?([bq])\?([!->@-~]*)\?=", re.IGNORECASE)


def decode(raw: str) -> str:
    """Return the text that a header's value stands for; `raw` has octets as Latin-1."""
    text = _octets_as_text(raw)
    words = text.split(" ")
    matches = [_WORD.fullmatch(word) for word in words]
    try:
        decoded = "".join(_decode_word(match) for match in matches)
    except ValueError:
        return text
    # Controls would end the header that the value leaves in.
    return decoded if _is_text(decoded) else text


def encode(value: str) -> str:
    """Return the form in which a stored value leaves: itself wherever that is possible."""
    if _is_plain(value) and decode(value) == value:
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode('utf-8')).decode('ascii')}?="


def _octets_as_text(raw: str) -> str:
    """Clients send UTF-8 nowadays; what is no UTF-8 is Latin-1, as HTTP once said."""
    if raw.isascii():
        return raw
    try:
        return raw.encode("latin-1").decode("utf-8")
    except ValueError:
        return raw


def _decode_word(match: re.Match[str] | None) -> str:
    if match is None:
        raise ValueError("not an encoded word")
    charset, encoding, payload = match.groups()
    if encoding in "bB":
        return _from_base64(payload).decode(charset)
    return quopri.decodestring(payload.encode("ascii"), header=True).decode(charset)


def _from_base64(payload: str) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _is_text(value: str) -> bool:
    return not any(char < " " and char != "\t" for char in value) and "\x7f" not in value


def _is_plain(value: str) -> bool:
    return value.isascii() and _is_text(value) and value == value.strip()
