"""A lean HTTP/1.1 client for our own services: keep-alive, deadlines, bytes where they belong.

A small GET costs the whole system about half a millisecond of CPU, and a general client would
spend as much alone. This one reads a body straight into the caller's memory, knows only answers
with a Content-Length, and follows nothing. A staging bucket's presigned URLs work as well (TLS).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from fileflux.core.errors import NodeUnreachable
from fileflux.core.http_connection import HttpConnection, HttpHead

CONNECT_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to connect. `host_header` is what the server expects in `Host`."""

    host: str
    port: int
    is_tls: bool
    host_header: str


@lru_cache(maxsize=1_024)
def parse_origin(url: str) -> Origin:
    """Return the origin of a base URL such as `http://10.0.0.7:9301`; raise NodeUnreachable."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise NodeUnreachable("not a URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NodeUnreachable("not a URL of a service")
    is_tls = parts.scheme == "https"
    return Origin(parts.hostname, port or (443 if is_tls else 80), is_tls, parts.netloc)


@dataclass(slots=True)
class _Shelf:
    """The connections to one origin that wait for work, the latest used on top."""

    idle: deque[HttpConnection] = field(default_factory=deque)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))


class Exchange:
    """One answer. Use it in `async with`: leaving gives the connection back, or closes it."""

    __slots__ = ("_connection", "_pool", "_shelf", "_timeout_s", "head")

    def __init__(
        self,
        pool: "HttpPool",
        shelf: _Shelf,
        connection: HttpConnection,
        head: HttpHead,
        timeout_s: float,
    ) -> None:
        self._pool = pool
        self._shelf = shelf
        self._connection = connection
        self._timeout_s = timeout_s
        self.head = head

    @property
    def body_left(self) -> int:
        return self._connection.body_left

    async def read_into(self, target: memoryview) -> None:
        """Fill `target`; raise NodeUnreachable when that takes longer than the deadline."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connection.read_into(target)
        except TimeoutError:
            raise NodeUnreachable("the answer stopped coming") from None

    async def body(self, length_max: int) -> bytearray:
        """Return the rest of the body, which must not be longer than this."""
        if self.body_left > length_max:
            raise NodeUnreachable(f"an answer of {self.body_left} bytes is too long")
        memory = bytearray(self.body_left)
        if memory:
            await self.read_into(memoryview(memory))
        return memory

    async def __aenter__(self) -> "Exchange":
        return self

    async def __aexit__(self, *_: object) -> None:
        connection = self._connection
        if connection.body_left or not connection.is_reusable:
            connection.close()
        self._pool.give_back(self._shelf, connection)


class HttpPool:
    """Keep-alive connections to many origins, at most `connections_max` to each."""

    def __init__(self, *, connections_max: int = 512) -> None:
        self._connections_max = connections_max
        self._shelves: dict[Origin, _Shelf] = {}
        self._tls: ssl.SSLContext | None = None
        self._is_closed = False

    async def exchange(
        self,
        origin: Origin,
        method: str,
        target: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout_s: float,
    ) -> Exchange:
        """Send one request that may be sent twice; return its answer once the head is there.

        Raise NodeUnreachable when there is none within `timeout_s`.
        """
        request = _encode_request(origin, method, target, headers, body)
        shelf = self._shelf(origin)
        try:
            async with asyncio.timeout(timeout_s):
                await shelf.slots.acquire()
                return await self._send(origin, shelf, request, timeout_s)
        except TimeoutError:
            raise NodeUnreachable(f"{origin.host_header} did not answer in time") from None

    def give_back(self, shelf: _Shelf, connection: HttpConnection) -> None:
        """Let the next request have the connection if it is still good."""
        shelf.slots.release()
        if connection.is_reusable and connection.is_open and not self._is_closed:
            shelf.idle.append(connection)
        else:
            connection.close()

    async def close(self) -> None:
        """Close what is idle; what is in use closes when it is given back."""
        self._is_closed = True
        for shelf in self._shelves.values():
            while shelf.idle:
                shelf.idle.pop().close()

    def _shelf(self, origin: Origin) -> _Shelf:
        shelf = self._shelves.get(origin)
        if shelf is None:
            shelf = _Shelf(slots=asyncio.Semaphore(self._connections_max))
            self._shelves[origin] = shelf
        return shelf

    async def _send(
        self, origin: Origin, shelf: _Shelf, request: bytes, timeout_s: float
    ) -> Exchange:
        connection = None
        try:
            while True:
                connection = self._take_idle(shelf) or await self._connect(origin)
                was_used = connection.was_used
                try:
                    head = await connection.send(request)
                except NodeUnreachable:
                    # A server may close an idle connection at the very moment we use it.
                    if not was_used:
                        raise
                    connection.close()
                else:
                    return Exchange(self, shelf, connection, head, timeout_s)
        except BaseException:
            if connection is not None:
                connection.close()
            shelf.slots.release()
            raise

    def _take_idle(self, shelf: _Shelf) -> HttpConnection | None:
        while shelf.idle:
            connection = shelf.idle.pop()
            if connection.is_open:
                return connection
            connection.close()
        return None

    async def _connect(self, origin: Origin) -> HttpConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    HttpConnection, origin.host, origin.port, ssl=self._tls_for(origin)
                )
        except (OSError, TimeoutError) as error:
            raise NodeUnreachable(f"{origin.host_header} cannot be reached: {error}") from error
        return connection

    def _tls_for(self, origin: Origin) -> ssl.SSLContext | None:
        if not origin.is_tls:
            return None
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def _encode_request(
    origin: Origin, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {origin.host_header}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines)
    if not head.isascii() or head.count("\r\n") != len(lines) - 1:
        raise NodeUnreachable("a request that HTTP cannot carry")
    return head.encode() + b"\r\n\r\n" + body
