"""S11 and the connection itself, through the real server on a socket: one request, one answer.

What two readers could understand in two ways is refused, and the connection ends; a marked second
request hidden in a body must never be answered.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, S3World
from tests.security.inputs import Inputs
from tests.security.requests import cut
from tests.security.signing import Wire, sign
from tests.security.test_s4_handlers import Write, send_as

from fileflux.core.ops import EmbeddedServer, bound_socket
from fileflux.ingest.http_server import http_config
from fileflux.ingest.payload_mode import PayloadKind

DEADLINE_S: Final = 10.0
QUIET_S: Final = 0.2
HIDDEN: Final = b"GET /hidden HTTP/1.1\r\nHost: localhost:9000\r\n\r\n"
"""If this is answered too, a request was smuggled."""


@dataclass
class Answer:
    """One response as it came over the wire."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Line:
    """A connection, spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)

    async def answer(self, *, head_only: bool = False) -> Answer:
        """Read one response."""
        async with asyncio.timeout(DEADLINE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
            status = int(first.split(" ")[1])
            is_bodiless = head_only or status in (100, 204, 304)
            length = 0 if is_bodiless else int(headers.get("content-length", "0"))
            return Answer(status, headers, await self._reader.readexactly(length))

    async def begin(self) -> int:
        """Read the head of a response only; return its status."""
        async with asyncio.timeout(DEADLINE_S):
            return int((await self._reader.readuntil(b"\r\n\r\n")).split(b" ")[1])

    async def is_closed(self) -> bool:
        """Whether the server hung up, having said nothing more."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                rest = await self._reader.read()
        except TimeoutError:
            return False
        assert rest == b"", "a second answer"
        return True

    async def is_quiet(self) -> bool:
        """Whether nothing more comes for a while."""
        try:
            async with asyncio.timeout(QUIET_S):
                return not await self._reader.read(1)
        except TimeoutError:
            return True

    async def everything(self) -> bytes:
        """Say that we are done, and read until the server is, too."""
        with contextlib.suppress(OSError):  # It may have hung up already.
            self._writer.write_eof()
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.read()

    async def close(self) -> None:
        self._writer.close()


class Port:
    """Where the server listens."""

    def __init__(self, world: S3World, number: int) -> None:
        self.world = world
        self._number = number
        self._lines: list[Line] = []

    async def line(self) -> Line:
        made = Line(*await asyncio.open_connection("127.0.0.1", self._number))
        self._lines.append(made)
        return made

    async def close(self) -> None:
        for line in self._lines:
            await line.close()


@pytest.fixture
async def port(world: S3World) -> AsyncIterator[Port]:
    """The application under uvicorn, configured as the worker configures it."""
    server = EmbeddedServer(http_config(world.app, timeout_graceful_shutdown=1))
    await server.start(bound_socket("127.0.0.1", 0))
    opened = Port(world, server.port)
    assert (await Caller(world.app, ALICE)("PUT", "/photos")).status == 200
    assert (await Caller(world.app, ALICE)("PUT", "/photos/key", {}, b"0123456789")).status == 200
    yield opened
    await opened.close()
    await server.stop()


def on_wire(wire: Wire, extra: Sequence[bytes] = ()) -> bytes:
    """Return the head of a request as it is sent."""
    target = wire.path + (b"?" + wire.query if wire.query else b"")
    lines = [wire.method.encode() + b" " + target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in wire.headers]
    return b"\r\n".join([*lines, *extra]) + b"\r\n\r\n"


def put_wire(body: bytes, headers: Sequence[tuple[str, str]] = ()) -> Wire:
    payload = hashlib.sha256(body).hexdigest()
    given = [("Content-Length", str(len(body))), *headers]
    return sign("PUT", "/photos/new", given, payload=payload)


GET: Final = on_wire(sign("GET", "/photos/key"))


async def _stored(port: Port) -> bytes | None:
    got = await Caller(port.world.app, ALICE)("GET", "/photos/new")
    return got.body if got.status == 200 else None


# --- a connection is used again -----------------------------------------------------------------


async def test_a_connection_serves_many_requests_also_after_errors(port: Port) -> None:
    line = await port.line()
    for _ in range(3):
        await line.send(GET)
        assert (await line.answer()).body == b"0123456789"
        await line.send(on_wire(sign("GET", "/photos/none")))
        assert (await line.answer()).status == 404
        await line.send(on_wire(put_wire(b"data")), b"da", b"ta")
        assert (await line.answer()).status == 200
        await line.send(on_wire(sign("HEAD", "/photos/key")))
        assert (await line.answer(head_only=True)).headers["content-length"] == "10"
        await line.send(on_wire(sign("DELETE", "/photos/new")))
        assert (await line.answer()).status == 204

    assert await line.is_quiet()


async def test_pipelined_requests_are_answered_in_order(port: Port) -> None:
    line = await port.line()
    await line.send(GET + on_wire(sign("GET", "/photos/none")) + GET)

    assert [(await line.answer()).status for _ in range(3)] == [200, 404, 200]


async def test_a_refused_body_that_is_short_leaves_the_connection_usable(port: Port) -> None:
    line = await port.line()
    await line.send(on_wire(sign("PUT", "/missing/x", [("Content-Length", "4")])), b"data")
    refused = await line.answer()
    await line.send(GET)

    assert refused.status == 404
    assert (await line.answer()).body == b"0123456789"


async def test_a_refused_body_that_is_long_ends_the_connection(port: Port) -> None:
    line = await port.line()
    await line.send(on_wire(sign("PUT", "/missing/x", [("Content-Length", "9999999")])), b"data")
    refused = await line.answer()

    assert (refused.status, refused.headers["connection"]) == (404, "close")
    assert await line.is_closed()


# --- 100-continue -------------------------------------------------------------------------------


async def test_a_client_that_asks_first_hears_continue_and_then_the_answer(port: Port) -> None:
    line = await port.line()
    await line.send(on_wire(put_wire(b"data", [("Expect", "100-continue")])))
    assert (await line.answer()).status == 100
    await line.send(b"data")

    assert (await line.answer()).status == 200
    assert await _stored(port) == b"data"


@pytest.mark.parametrize("target", ["/missing/x", "/photos/new?acl", "/photos/key"])
async def test_a_client_that_asks_first_is_refused_without_its_body(
    target: str, port: Port
) -> None:
    line = await port.line()
    headers = [("Content-Length", "4"), ("Expect", "100-continue"), ("If-None-Match", "*")]
    wire = sign("PUT", target, headers, payload=hashlib.sha256(b"data").hexdigest())
    await line.send(on_wire(wire))
    refused = await line.answer()

    assert refused.status in (404, 412, 501)
    assert refused.headers["connection"] == "close"
    assert await line.is_closed()


# --- chunked transfer around aws-chunked --------------------------------------------------------


@pytest.mark.parametrize("kind", [k for k in PayloadKind if k.is_chunked], ids=lambda k: k.name)
async def test_aws_chunks_arrive_inside_http_chunks_as_sdks_send_them_by_https(
    kind: PayloadKind, port: Port, inputs: Inputs
) -> None:
    data = b"0123456789" * 50
    sent = send_as(kind, Write("PUT", "/photos/new", data))
    line = await port.line()
    pieces = [p for p in cut(sent.body, inputs.rng) if p]
    framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    await line.send(on_wire(sent.wire, [b"Transfer-Encoding: chunked"]), *framed, b"0\r\n\r\n")

    assert (await line.answer()).status == 200
    assert await _stored(port) == data
    await line.send(GET)
    assert (await line.answer()).status == 200


async def test_http_chunks_without_a_decoded_length_are_411(port: Port) -> None:
    line = await port.line()
    wire = sign("PUT", "/photos/new", payload="UNSIGNED-PAYLOAD")
    await line.send(on_wire(wire, [b"Transfer-Encoding: chunked"]), b"4\r\ndata\r\n0\r\n\r\n")

    assert (await line.answer()).status == 411
    assert await _stored(port) is None


# --- what has two meanings ----------------------------------------------------------------------

_PUT = put_wire(HIDDEN)
_UNSIGNED_LENGTH = sign("PUT", "/photos/new", payload="UNSIGNED-PAYLOAD")
_CHUNKED: Final = b"0\r\n\r\n" + HIDDEN


def _head(*extra: bytes) -> bytes:
    return on_wire(_UNSIGNED_LENGTH, extra)


AMBIGUOUS: Final = {
    "CL.TE": _head(b"Content-Length: %d" % len(_CHUNKED), b"Transfer-Encoding: chunked") + _CHUNKED,
    "TE.CL": _head(b"Transfer-Encoding: chunked", b"Content-Length: 4") + b"5c\r\n" + HIDDEN,
    "CL twice": _head(b"Content-Length: 0", b"Content-Length: %d" % len(HIDDEN)) + HIDDEN,
    "CL list": _head(b"Content-Length: 0, %d" % len(HIDDEN)) + HIDDEN,
    "CL +": _head(b"Content-Length: +%d" % len(HIDDEN)) + HIDDEN,
    "CL negative": _head(b"Content-Length: -1") + HIDDEN,
    "CL hex": _head(b"Content-Length: 0x2") + HIDDEN,
    "CL huge": _head(b"Content-Length: 99999999999999999999999") + HIDDEN,
    "CL blank": _head(b"Content-Length: ") + HIDDEN,
    "CL blank before the colon": _head(b"Content-Length : %d" % len(HIDDEN)) + HIDDEN,
    "TE unknown": _head(b"Transfer-Encoding: xchunked") + _CHUNKED,
    "TE identity": _head(b"Transfer-Encoding: identity") + _CHUNKED,
    "TE twice": _head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + _CHUNKED,
    "TE tab": _head(b"Transfer-Encoding:\tchunked") + _CHUNKED,
    "TE gzip": _head(b"Transfer-Encoding: gzip, chunked") + _CHUNKED,
    "TE not last": _head(b"Transfer-Encoding: chunked, gzip") + _CHUNKED,
    "TE vertical tab": _head(b"Transfer-Encoding: \x0bchunked") + _CHUNKED,
    "chunk size +": _head(b"Transfer-Encoding: chunked") + b"+4\r\ndata\r\n" + _CHUNKED,
    "chunk size 0x": _head(b"Transfer-Encoding: chunked") + b"0x4\r\ndata\r\n" + _CHUNKED,
    "chunk size overflow": _head(b"Transfer-Encoding: chunked")
    + b"10000000000000004\r\ndata\r\n"
    + _CHUNKED,
    "chunk without an end": _head(b"Transfer-Encoding: chunked") + b"4\r\ndataX" + _CHUNKED,
    "bare LF": _head(b"Content-Length: 4").replace(b"\r\n", b"\n") + b"data",
    "bare CR": _head(b"Content-Length: 4\rX: y") + b"data",
    "obs-fold": _head(b"X-Long: a", b" b", b"Content-Length: 0") + HIDDEN,
    "NUL": _head(b"X: a\x00b", b"Content-Length: 0") + HIDDEN,
    "no colon": _head(b"Content-Length 4") + HIDDEN,
    "two hosts": _head(b"Host: elsewhere", b"Content-Length: 0") + HIDDEN,
    "body of a GET": GET[:-2] + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "HTTP/0.9": b"GET /photos/key\r\n\r\n",
    "HTTP/2.0": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": GET.replace(b"HTTP/1.1", b"HTTP/9.9"),
    "absolute form": GET.replace(b"GET /", b"GET http://localhost:9000/"),
    "absolute form, another host": GET.replace(b"GET /", b"GET http://elsewhere/"),
    "authority form": b"CONNECT localhost:9000 HTTP/1.1\r\nHost: localhost:9000\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: localhost:9000\r\n\r\n",
    "upgrade": GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "h2c": GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "a blank target": GET.replace(b"GET /photos/key", b"GET  /photos/key"),
    "octets in the target": GET.replace(b"/photos/key", b"/photos/\xff\xfe"),
    "a fragment": GET.replace(b"/photos/key", b"/photos/key#x"),
    "noise": bytes(range(256)) * 10,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
    "an endless target": b"GET /" + b"a" * 200_000,
}


def _heads(raw: bytes) -> list[bytes]:
    return [line for line in raw.split(b"\r\n") if line.startswith(b"HTTP/1.")]


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_s11_what_has_two_meanings_is_one_request_at_most(
    name: str, port: Port, inputs: Inputs
) -> None:
    raw = AMBIGUOUS[name]
    for pieces in ([raw], cut(raw, inputs.rng), cut(raw, inputs.rng)):
        inputs.count()
        line = await port.line()
        try:
            await line.send(*pieces)
            said = await line.everything()
        except (ConnectionError, BrokenPipeError):
            said = b""  # It hung up in the middle, which answers every question.
        assert b"/hidden" not in said, "the hidden request was answered"
        heads = _heads(said)
        assert len(heads) <= 1, heads
        assert not [head for head in heads if b" 500 " in head], said

    line = await port.line()
    await line.send(GET)
    assert (await line.answer()).body == b"0123456789", "the next connection is served"
    assert port.world.is_idle()


async def test_s11_a_hidden_request_in_an_honest_body_is_only_bytes(port: Port) -> None:
    line = await port.line()
    await line.send(on_wire(_PUT) + HIDDEN + GET)

    assert (await line.answer()).status == 200
    assert (await line.answer()).body == b"0123456789"
    assert await _stored(port) == HIDDEN


async def test_a_client_that_vanishes_anywhere_in_a_request_leaves_nothing(
    port: Port, inputs: Inputs
) -> None:
    raw = on_wire(put_wire(b"x" * 2_000)) + b"x" * 2_000
    for _ in inputs.rounds(0.002):
        line = await port.line()
        await line.send(raw[: inputs.rng.randrange(len(raw))])
        await line.close()
    async with asyncio.timeout(DEADLINE_S):
        while not port.world.is_idle():
            await asyncio.sleep(0.01)

    assert await _stored(port) is None


async def test_a_client_that_hangs_up_in_a_download_ends_the_reading(port: Port) -> None:
    """The server drops what is sent to nobody: a large object was read to its end for nothing."""
    size = 64 << 20
    alice = Caller(port.world.app, ALICE)
    await alice("PUT", "/photos/large", {}, [bytes(1 << 20)] * 64)
    line = await port.line()
    await line.send(on_wire(sign("GET", "/photos/large")))
    assert await line.begin() == 200
    await line.close()
    async with asyncio.timeout(DEADLINE_S):
        while not port.world.is_idle():
            await asyncio.sleep(0.01)

    assert port.world.nodes.read_bytes < size // 2
    line = await port.line()
    await line.send(on_wire(sign("GET", "/photos/large")))
    assert len((await line.answer()).body) == size
