"""Take credentials out of texts that clients choose, before they are recorded for ever. Pure.

Requests bring theirs in headers and queries that no record has. What is left is free text: some
clients put the URL that they call, or a header, into their user agent. Values are cut out after
the names that announce them; what looks like a token without a name cannot be known.
"""

import re
from functools import lru_cache
from typing import Final

REDACTED: Final = "[redacted]"
_NAMED: Final = re.compile(
    r"""(?ix)
    ( \b (?: x-amz- (?:signature|credential|security-token|signedheaders)
        | aws_?access_?key_?id | (?:aws_?)?secret_?(?:access_?)?key | (?:x-)?api[-_]?key
        | (?:access|refresh|session|id|auth|security|bearer)[-_]?token | token
        | signature | credential | password | passwd | pwd | secret | client_secret
      ) ["']? \s* (?: = | : | %3d | %3a ) \s* ["']? )
    [^\s&;,"'<>)]+
    """
)
_SCHEMES: Final = re.compile(r"(?i)\b((?:bearer|basic|negotiate|aws4-hmac-sha256)\s+)[^\s;,\"')]+")
_AUTHORIZATION: Final = re.compile(r"(?i)\b((?:proxy-)?authorization\s*[:=]\s*).*")
_IN_URL: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@]+@")
_MAYBE: Final = re.compile(r"[=:%@]|bearer|basic|negotiate|hmac", re.IGNORECASE)


@lru_cache(maxsize=1_024)
def redacted(text: str) -> str:
    """Return the text without the credentials in it. Texts repeat: a client says the same."""
    if not _MAYBE.search(text):
        return text
    text = _AUTHORIZATION.sub(rf"\1{REDACTED}", text)
    text = _IN_URL.sub(rf"\1{REDACTED}@", text)
    text = _NAMED.sub(rf"\1{REDACTED}", text)
    return _SCHEMES.sub(rf"\1{REDACTED}", text)
