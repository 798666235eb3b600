"""Random requests: what clients send, and what attackers would."""

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Final
from urllib.parse import quote

METHODS: Final = ("GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS")
_SEGMENTS: Final = (
    "a",
    "photos",
    "2026-11-25",
    "",
    ".",
    "..",
    "~user",
    "a b",
    "a+b",
    "a%2Fb",
    "100%",
    "é",
    "e\u0301",
    "日本語",
    "🔑",
    "x=1&y=2",
    "a?b#c",
    "!$'()*,;:@[]|",
    '"<>\\^`{}',
    "\x00",
    "line\r\nend",
    "\x7f\x1f",
    "\u2028",
)
_PARAMETERS: Final = (
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "uploads",
    "uploadId",
    "partNumber",
    "response-content-type",
    "versionId",
    "A",
    "a",
    "a-b",
    "a.b",
    "é",
    "x y",
    "x/y",
    "ﬁ",
    "😀",
)
_HEADER_VALUES: Final = (
    "plain",
    "two  blanks",
    "  around  ",
    "tab\tinside",
    "\ttab around\t",
    "a,b, c",
    '"quoted  blanks"',
    "a;b=c",
    "",
    "x" * 300,
    "bytes=0-9",
    'attachment; filename="a b.txt"',
)


def random_key(rng: random.Random) -> str:
    """Return a key of odd segments, sometimes of random characters."""
    if rng.random() < 0.3:
        points = [rng.choice((0x7F, 0x2FF, 0xD7FF, 0x10FFFF)) for _ in range(rng.randint(1, 12))]
        text = "".join(chr(rng.randrange(limit)) for limit in points)
        return "".join(c for c in text if not 0xD800 <= ord(c) <= 0xDFFF)
    return "/".join(rng.choice(_SEGMENTS) for _ in range(rng.randint(1, 5)))


def random_query(rng: random.Random) -> str:
    """Return an encoded query: any order, repetitions, empty values, values without `=`."""
    items = []
    for _ in range(rng.choice((0, 0, 1, 2, 5))):
        name = quote(rng.choice(_PARAMETERS), safe="-_.~")
        value = quote(rng.choice((*_SEGMENTS, "1", "")), safe="-_.~")
        items.append(name if not value and rng.random() < 0.5 else f"{name}={value}")
    return "&".join(items)


def random_headers(rng: random.Random) -> list[tuple[str, str]]:
    """Return headers with odd blanks and repetitions, in any case."""
    names = ["x-amz-meta-a", "X-Amz-Meta-B", "Range", "Content-Type", "Cache-Control", "x-amz-acl"]
    headers = [(rng.choice(names), rng.choice(_HEADER_VALUES)) for _ in range(rng.randint(0, 5))]
    if rng.random() < 0.2:
        headers.append(("User-Agent", "client/1.0"))
    return headers


def target_of(key: str, query: str) -> str:
    """Return the request target as a client writes it."""
    path = f"/bucket/{quote(key, safe='/-_.~')}"
    return f"{path}?{query}" if query else path


def loosely_encoded(path: bytes, rng: random.Random) -> bytes:
    """Return another spelling of a path that is decoded to the same octets."""
    spelled = bytearray()
    for octet in path:
        choice = rng.random()
        is_bare = 0x20 < octet < 0x7F and octet not in b"%?#"
        if is_bare and choice < 0.6:
            spelled.append(octet)
        elif choice < 0.8:
            spelled += b"%%%02x" % octet
        else:
            spelled += b"%%%02X" % octet
    return b"/" + bytes(spelled[1:] if spelled[:1] == b"/" else spelled[3:])


def flip_bit(data: bytes, rng: random.Random) -> bytes:
    """Return the same bytes but for one bit."""
    changed = bytearray(data)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(body: bytes, rng: random.Random) -> Sequence[bytes]:
    """Return the body in a few pieces."""
    marks = sorted({0, len(body), *(rng.randint(0, len(body)) for _ in range(rng.randint(0, 4)))})
    return [body[a:b] for a, b in pairwise(marks)]
