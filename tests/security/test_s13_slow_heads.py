"""S13: a head that does not come holds no connection; slow bodies and idle connections stay.

Nothing here sleeps: a connection that never sends anything tells, by its end, that the time is up.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, S3World
from tests.security.test_s11_smuggling import GET, Line, Port, on_wire, put_wire

from fileflux.core.ops import EmbeddedServer, bound_socket
from fileflux.ingest.head_deadline import HEAD_BYTES_MAX, with_head_deadline
from fileflux.ingest.http_server import http_config

TIMEOUT_S = 0.2


@pytest.fixture
async def port(world: S3World) -> AsyncIterator[Port]:
    """The server with a short patience for heads."""
    protocol = with_head_deadline(TIMEOUT_S)
    server = EmbeddedServer(http_config(world.app, http=protocol, timeout_graceful_shutdown=1))
    await server.start(bound_socket("127.0.0.1", 0))
    opened = Port(world, server.port)
    assert (await Caller(world.app, ALICE)("PUT", "/photos")).status == 200
    assert (await Caller(world.app, ALICE)("PUT", "/photos/key", {}, b"0123456789")).status == 200
    yield opened
    await opened.close()
    await server.stop()


async def time_is_up(port: Port) -> None:
    """Return when a connection that was opened now and says nothing was closed."""
    assert await (await port.line()).is_closed()


@pytest.mark.parametrize(
    "begun", [b"", b"G", GET[:-1], b"\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * 99]
)
async def test_a_head_that_does_not_end_is_hung_up_on(port: Port, begun: bytes) -> None:
    line = await port.line()
    await line.send(begun)

    assert await line.is_closed()


@pytest.mark.parametrize(("begun", "drop"), [(GET[:-4] + b"y", b"y"), (b"", b"\r\n")])
async def test_bytes_that_drop_in_do_not_prolong_it(port: Port, begun: bytes, drop: bytes) -> None:
    line, silent = await port.line(), await port.line()
    await line.send(begun)
    is_over = asyncio.create_task(silent.is_closed())
    with contextlib.suppress(OSError):  # It may be over for this one first.
        while not is_over.done():
            await line.send(drop)
            await asyncio.wait({is_over}, timeout=TIMEOUT_S / 10)

    assert await is_over
    with contextlib.suppress(ConnectionResetError):  # What was sent too late is reset.
        assert await line.is_closed()


@pytest.mark.parametrize("begun", [GET[:20], b"\r\n", b"\r"])
async def test_the_second_head_of_a_connection_has_no_more_time(port: Port, begun: bytes) -> None:
    line = await port.line()
    await line.send(GET)
    assert (await line.answer()).status == 200
    await line.send(begun)

    assert await line.is_closed()


async def test_a_connection_may_be_idle_between_its_requests(port: Port) -> None:
    line = await port.line()
    for _ in range(3):
        await line.send(GET)
        assert (await line.answer()).body == b"0123456789"
        await time_is_up(port)


async def test_a_body_may_take_longer_than_a_head(port: Port) -> None:
    line = await port.line()
    await line.send(on_wire(put_wire(b"data")), b"d")
    await time_is_up(port)
    await line.send(b"at")
    await time_is_up(port)
    await line.send(b"a")

    assert (await line.answer()).status == 200
    assert (await Caller(port.world.app, ALICE)("GET", "/photos/new")).body == b"data"


async def test_the_next_head_may_begin_while_an_answer_is_on_its_way(port: Port) -> None:
    line = await port.line()
    await line.send(on_wire(put_wire(b"data")), b"dat")
    await time_is_up(port)
    await line.send(b"a" + GET[:9])
    assert (await line.answer()).status == 200
    await line.send(GET[9:])

    assert (await line.answer()).body == b"0123456789"


async def test_a_head_that_only_grows_is_refused(port: Port) -> None:
    line = await port.line()
    await line.send(b"GET / HTTP/1.1\r\nx: ", b"y" * HEAD_BYTES_MAX)

    assert (await line.answer()).status == 400
    assert await line.is_closed()


async def test_many_slow_heads_are_gone_and_others_are_served_meanwhile(port: Port) -> None:
    slow = [await port.line() for _ in range(200)]
    for line in slow:
        await line.send(GET[:30])
    good: Line = await port.line()
    await good.send(GET)
    assert (await good.answer()).status == 200

    assert all([await line.is_closed() for line in slow])
    await good.send(GET)
    assert (await good.answer()).status == 200


CHUNKED = b"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\nx: "


@pytest.mark.parametrize(
    "begun", [GET + b"GET / HTTP/1.1\r\nx: ", CHUNKED], ids=["head", "trailer"]
)
async def test_what_only_grows_before_an_answer_is_hung_up_on(begun: bytes) -> None:
    """The parser keeps a next head and a body's trailers, however long the answer takes."""

    async def never(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.Event().wait()

    protocol = with_head_deadline(60)
    server = EmbeddedServer(http_config(never, http=protocol, timeout_graceful_shutdown=0))
    await server.start(bound_socket("127.0.0.1", 0))
    line = Line(*await asyncio.open_connection("127.0.0.1", server.port))
    with contextlib.suppress(ConnectionResetError):
        await line.send(begun, *[b"y" * HEAD_BYTES_MAX] * 8)
        assert await line.is_closed()
    await server.stop()
