"""Closed-loop load over raw sockets: each client sends its next request when the last was answered.

A heavy client would measure itself; this one writes ready bytes and looks only at the status line,
the length and the end of the answer.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

RECEIVE_BYTES = 1 << 18
Request = tuple[bytes, bytes]
"""Head and body, ready to send."""


class RequestFailed(Exception):
    """The answer's status was not the expected one."""


@dataclass(slots=True)
class Measured:
    """Latencies in seconds, one per request, and the whole run's wall time."""

    latencies_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    received_bytes: int = 0
    errors: int = 0

    def quantile_ms(self, q: float) -> float:
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0

    @property
    def ops_per_s(self) -> float:
        return len(self.latencies_s) / self.wall_s if self.wall_s else 0.0


class _Connection(asyncio.BufferedProtocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray(RECEIVE_BYTES)
        self._answer: asyncio.Future[int] | None = None
        self._head = bytearray()
        self._left = -1
        self._chunked = False
        self.status = 0
        self.received = 0
        self.body = bytearray()
        self.keep_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name.

    async def request(self, request: Request, *, expects_body: bool = True) -> int:
        self._answer = asyncio.get_running_loop().create_future()
        self._head.clear()
        self.body.clear()
        self._left, self._chunked, self._expects_body = -1, False, expects_body
        self._transport.write(request[0])
        if request[1]:
            self._transport.write(request[1])
        return await self._answer

    def get_buffer(self, _sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        data = memoryview(self._buffer)[:count]
        if self._left < 0 and not self._chunked:
            data = self._take_head(data)
        if len(data):
            self._take_body(data)
        self._finish_if_done()

    def _take_head(self, data: memoryview) -> memoryview:
        before = len(self._head)
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return data[:0]
        head = bytes(self._head[:end]).lower()
        self.status = int(head[9:12])
        if self.status == 100:
            self._head.clear()
            return self._take_head(data[end + 4 - before :])
        self._chunked = b"\r\ntransfer-encoding: chunked" in head
        mark = head.find(b"\r\ncontent-length:")
        self._left = int(head[mark + 17 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
        if not self._expects_body or self.status in (204, 304):
            self._left, self._chunked = 0, False
        return data[end + 4 - before :]

    def _take_body(self, data: memoryview) -> None:
        self.received += len(data)
        if self.keep_body or self._chunked:
            self.body += data
        if self._chunked and self.body.endswith(b"0\r\n\r\n"):
            self._chunked, self._left = False, 0
        elif not self._chunked:
            self._left -= len(data)

    def _finish_if_done(self) -> None:
        if self._left == 0 and not self._chunked and self._answer and not self._answer.done():
            self._answer.set_result(self.status)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("closed by the server"))


async def connect(host: str, port: int) -> _Connection:
    _, protocol = await asyncio.get_running_loop().create_connection(_Connection, host, port)
    return protocol


async def run_load(
    address: tuple[str, int],
    requests: Sequence[Request],
    *,
    clients: int,
    expects: tuple[int, ...] = (200, 204),
    expects_body: bool = True,
    on_done: Callable[[], None] = lambda: None,
) -> Measured:
    """Send all requests, `clients` at a time; return what was measured."""
    measured = Measured()
    waiting = iter(requests)
    connections = [await connect(*address) for _ in range(min(clients, len(requests)))]
    began = time.perf_counter()
    await asyncio.gather(
        *(_client(one, waiting, measured, expects, expects_body, on_done) for one in connections)
    )
    measured.wall_s = time.perf_counter() - began
    measured.received_bytes = sum(one.received for one in connections)
    for one in connections:
        one._transport.close()
    return measured


async def _client(
    connection: _Connection,
    waiting: Iterator[Request],
    measured: Measured,
    expects: tuple[int, ...],
    expects_body: bool,
    on_done: Callable[[], None],
) -> None:
    for request in waiting:
        began = time.perf_counter()
        status = await connection.request(request, expects_body=expects_body)
        measured.latencies_s.append(time.perf_counter() - began)
        if status not in expects:
            measured.errors += 1
        on_done()


async def fetch(address: tuple[str, int], request: Request) -> tuple[int, bytes]:
    """One request, with its body: for set-up and listings."""
    connection = await connect(*address)
    connection.keep_body = True
    status = await connection.request(request)
    connection._transport.close()
    return status, bytes(connection.body)
