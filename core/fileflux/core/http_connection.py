"""One keep-alive HTTP/1.1 connection of our lean client: one request, one answer at a time.

It knows only answers with a Content-Length, and lets body bytes go from the socket straight into
the memory of whoever reads them.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from fileflux.core.errors import NodeUnreachable
from fileflux.core.model import KIB

BUFFER_BYTES: Final = 64 * KIB
HEAD_BYTES_MAX: Final = 16 * KIB


class HttpConnection(asyncio.BufferedProtocol):
    """One connection, one request at a time. Body bytes go to the reader's memory if he waits."""

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(BUFFER_BYTES))
        self._start = 0
        self._end = 0
        self._target: memoryview | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._error: NodeUnreachable | None = None
        self._is_paused = False
        self.body_left = 0
        self.is_reusable = True
        self.was_used = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's, but have all of their methods.
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._target is not None:
            return self._target
        if self._start == self._end:
            self._start = self._end = 0
        return self._memory[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._target is not None:
            self._target = self._target[nbytes:]
            if not self._target:
                self._target = None
                self._wake()
            return
        self._end += nbytes
        if self._end == BUFFER_BYTES:
            self._pause()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._error = NodeUnreachable(f"the connection ended: {exc or 'closed by the other side'}")
        self.is_reusable = False
        self._wake()

    # What the client calls.

    @property
    def is_open(self) -> bool:
        return self._error is None and self._transport is not None and self._start == self._end

    def close(self) -> None:
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    async def send(self, request: bytes) -> "HttpHead":
        """Write one request; return the head of its answer, whose body may follow."""
        assert self._transport is not None
        if self._error is not None:
            raise self._error
        self._transport.write(request)
        self.was_used = True
        while (end := self._find_head_end()) < 0:
            if self._end - self._start >= HEAD_BYTES_MAX:
                raise NodeUnreachable("the head of an answer is too long")
            await self._wait()
        raw = bytes(self._memory[self._start : end])
        self._start = end + 4
        head = _parse_head(raw)
        # An answer to HEAD tells the length of a body that does not follow.
        self.body_left = 0 if request.startswith(b"HEAD ") else head.content_length
        self.is_reusable = self.is_reusable and head.keeps_alive
        return head

    async def read_into(self, target: memoryview) -> None:
        """Fill `target` with the next bytes of the body, straight from the socket."""
        assert len(target) <= self.body_left, "the body ends before that"
        length = len(target)
        have = min(length, self._end - self._start)
        target[:have] = self._memory[self._start : self._start + have]
        self._start += have
        if have < length:
            self._target = target[have:]
            try:
                while self._target is not None:
                    await self._wait()
            except BaseException:
                # What is still to come must not be taken for the next answer.
                self._target = None
                self.close()
                raise
        self.body_left -= length

    def _find_head_end(self) -> int:
        if self._end - self._start < 4:
            return -1
        found = self._memory[self._start : self._end].tobytes().find(b"\r\n\r\n")
        return -1 if found < 0 else self._start + found

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._resume()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and self._target is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pause(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None:
            if self._start and self._target is None:
                self._make_room()
            self._is_paused = False
            self._transport.resume_reading()

    def _make_room(self) -> None:
        left = self._end - self._start
        self._memory[:left] = bytes(self._memory[self._start : self._end])
        self._start, self._end = 0, left


@dataclass(frozen=True, slots=True)
class HttpHead:
    """Status and headers of an answer; names in lower case."""

    status: int
    headers: Mapping[str, str]
    content_length: int
    keeps_alive: bool


def _parse_head(raw: bytes) -> HttpHead:
    first, *lines = raw.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status_text = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not status_text.isdecimal():
        raise NodeUnreachable("an answer that is not HTTP")
    headers = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator:
            raise NodeUnreachable("an answer with a broken header")
        headers[name.lower()] = value.strip()
    length_text = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not (length_text.isascii() and length_text.isdecimal()):
        raise NodeUnreachable("an answer without a length")
    keeps_alive = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    status = int(status_text)
    return HttpHead(status, headers, 0 if status in (204, 304) else int(length_text), keeps_alive)
