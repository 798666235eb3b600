"""A client of an ASGI application that does what servers do, and checks what they rely on.

It hands the body over piece by piece, goes away when a test says so, and refuses an answer that no
HTTP server could send: two heads, a length that is not the body's, a body for HEAD.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring
from tests.security.signing import Wire

BODILESS = frozenset((204, 304))
DEADLINE_S = 20.0


@dataclass(slots=True)
class Response:
    """What came back. `pieces_read`: how many pieces of the request's body were taken.

    `asked_beyond_end`: more was asked for when all had been taken, and before the answer began.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces_read: int = 0
    is_whole: bool = False
    asked_beyond_end: bool = False

    @property
    def code(self) -> str:
        """The code of an error document, empty if this is none."""
        if self.status < 300 or not self.body.startswith(b"<?xml"):
            return ""
        return self.xml().findtext("Code") or ""

    def xml(self) -> Element:
        """The document, its namespace taken off."""
        root = fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        found: Element = root
        return found

    def texts(self, path: str) -> list[str]:
        return [element.text or "" for element in self.xml().findall(path)]


class Exchange:
    """One request and its answer. `gone_after`: the client leaves after so many pieces."""

    def __init__(self, wire: Wire, pieces: Sequence[bytes], gone_after: int | None) -> None:
        self._wire = wire
        self._pieces = list(pieces)
        self._gone_after = gone_after
        self._ended = asyncio.Event()
        self.response = Response()

    def scope(self) -> dict[str, Any]:
        wire = self._wire
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": wire.method,
            "scheme": "http",
            "path": wire.path.decode("latin-1"),
            "raw_path": wire.path,
            "query_string": wire.query,
            "headers": [(name.lower(), value) for name, value in wire.headers],
            "client": ("198.51.100.7", 40_000),
            "server": ("localhost", 9000),
        }

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        read = self.response.pieces_read
        if self._gone_after is not None and read >= self._gone_after:
            return {"type": "http.disconnect"}
        if read < max(1, len(self._pieces)):
            self.response.pieces_read += 1
            piece = self._pieces[read] if self._pieces else b""
            more = read + 1 < len(self._pieces)
            return {"type": "http.request", "body": piece, "more_body": more}
        self.response.asked_beyond_end |= not self.response.status
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        answer = self.response
        assert not answer.is_whole, "a message after the answer's end"
        if message["type"] == "http.response.start":
            assert not answer.status, "two heads"
            answer.status = message["status"]
            pairs = [(n.decode("ascii"), v.decode("latin-1")) for n, v in message["headers"]]
            answer.headers = dict(pairs)
            assert len(answer.headers) == len(pairs), "a header twice"
            assert all(name == name.lower() for name, _ in pairs), "upper case"
            assert not any("\r" in v or "\n" in v for _, v in pairs), "a header split"
            return
        assert answer.status, "a body without a head"
        answer.body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            self._end()

    def _end(self) -> None:
        answer = self.response
        answer.is_whole = True
        self._ended.set()
        length = answer.headers.get("content-length")
        if self._wire.method == "HEAD" or answer.status in BODILESS:
            assert not answer.body, "a body where none may be"
        else:
            assert length == str(len(answer.body)), (length, len(answer.body))


async def exchange(
    app: Any, wire: Wire, body: bytes | Sequence[bytes] = b"", *, gone_after: int | None = None
) -> Response:
    """Send a request as it is; return the answer, which may be broken off."""
    pieces = [body] if isinstance(body, bytes) else body
    one = Exchange(wire, pieces, gone_after)
    async with asyncio.timeout(DEADLINE_S):
        await app(one.scope(), one.receive, one.send)
    return one.response
