"""What the node's HTTP API reads of a request: an ASGI scope and a bounded body."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fileflux.core.errors import FormatInvalid, InvalidRange
from fileflux.core.node_messages import MESSAGE_BYTES_MAX

BODY_DEADLINE_S: Final = 30.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def parse_range(text: str, size: int) -> tuple[int, int]:
    """Return (start, end) of `bytes=a-b` or `bytes=a-`: the forms that our own readers use."""
    unit, _, spec = text.partition("=")
    first, _, last = spec.partition("-")
    if unit != "bytes" or not first.isdecimal() or not (last.isdecimal() or not last):
        raise InvalidRange("not a range that is served here")
    start, end = int(first), min(size, int(last) + 1 if last else size)
    if start >= end:
        raise InvalidRange("beyond the bundle's end")
    return start, end


async def read_body(receive: Receive) -> bytes:
    """Return the body; raise FormatInvalid, or TimeoutError when it does not come."""
    pieces: list[bytes] = []
    length = 0
    async with asyncio.timeout(BODY_DEADLINE_S):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise FormatInvalid("the sender went away")
            pieces.append(message.get("body", b""))
            length += len(pieces[-1])
            if length > MESSAGE_BYTES_MAX:
                raise FormatInvalid("a message of that size was never ours")
            if not message.get("more_body", False):
                return b"".join(pieces)


def header_of(scope: Scope, name: bytes) -> str | None:
    """Return a header by its lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def query_of(scope: Scope) -> dict[str, str]:
    """Our own queries are hexadecimal digits and numbers: nothing in them is encoded."""
    text: str = scope["query_string"].decode("latin-1")
    pairs = (pair.partition("=") for pair in text.split("&"))
    return {name: value for name, _, value in pairs}
