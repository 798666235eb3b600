"""XML out: text that is well-formed whatever a key contains.

A key may hold any character, XML 1.0 may not: most controls have no form in it, not even as a
character reference. Such characters appear percent-encoded. A listing says so (`EncodingType`), so
that its reader can undo it; elsewhere an echoed name is for people only.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote_from_bytes

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

_ILLEGAL: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_SPECIAL: Final = re.compile(f'[&<>"\r{_ILLEGAL}]')
_HAS_ILLEGAL: Final = re.compile(f"[{_ILLEGAL}]")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}


def text(value: str) -> str:
    """Return `value` as element content. A carriage return survives the reader's normalisation."""
    return _SPECIAL.sub(_replacement, value)


def _replacement(match: re.Match[str]) -> str:
    char = match.group()
    return _ENTITIES.get(char) or quote_from_bytes(char.encode("utf-8", "surrogatepass"))


def key_text(key: bytes) -> str:
    """Return a key as element content; bytes that are no UTF-8 appear percent-encoded."""
    try:
        return text(key.decode("utf-8"))
    except UnicodeDecodeError:
        return quote_from_bytes(key, safe="/")


def url_text(key: bytes) -> str:
    """Return a key as `encoding-type=url` asks for it; safe as element content."""
    return quote_from_bytes(key, safe="/")


def is_representable(keys: Iterable[bytes]) -> bool:
    """Tell whether XML 1.0 has a form for all of these keys."""
    try:
        return _HAS_ILLEGAL.search(b"".join(keys).decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def element(name: str, value: str | int) -> str:
    """Return `<name>value</name>`, escaped."""
    return f"<{name}>{text(str(value))}</{name}>"


def flag(name: str, value: object) -> str:
    """Return an element that says `true` or `false`."""
    return f"<{name}>{'true' if value else 'false'}</{name}>"


def optional(name: str, value: str | int | None) -> str:
    """Return the element, or nothing if there is no value."""
    return "" if value is None or value == "" else element(name, value)


def person(role: str, person_id: str, name: str) -> str:
    """Return an owner or initiator."""
    return f"<{role}>{element('ID', person_id)}{element('DisplayName', name)}</{role}>"


def document(root: str, content: Iterable[str], *, namespace: str = NAMESPACE) -> bytes:
    """Return a whole document; `content` is escaped already."""
    attribute = f' xmlns="{namespace}"' if namespace else ""
    whole = f"{DECLARATION}<{root}{attribute}>{''.join(content)}</{root}>"
    return whole.encode("utf-8")


def timestamp(at_us: int) -> str:
    """Return a time as S3's XML has it: whole seconds, so that it equals `Last-Modified`."""
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}.000Z"
