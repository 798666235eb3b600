"""The lean HTTP client against servers that behave and servers that do not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from fileflux.core.errors import NodeUnreachable
from fileflux.core.http_client import HttpPool, parse_origin
from fileflux.core.http_connection import BUFFER_BYTES

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A server whose connections follow a script, one after another; the last one repeats."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        self._scripts = list(scripts)
        self.connection_count = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self._scripts[min(self.connection_count, len(self._scripts) - 1)]
        self.connection_count += 1
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(*scripts: Script) -> AsyncIterator[Server]:
    server = Server(scripts)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answering(*raws: bytes, close: bool = False) -> Script:
    """Answer each request with these bytes, in turn; then wait, or close."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for raw in raws:
            await request_of(reader)
            writer.write(raw)
            await writer.drain()
        if not close:
            await reader.read()

    return script


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def get(pool: HttpPool, url: str, *, method: str = "GET", timeout_s: float = 5) -> bytes:
    async with await pool.exchange(parse_origin(url), method, "/", timeout_s=timeout_s) as answer:
        return bytes(await answer.body(10**8))


async def test_a_connection_is_used_again() -> None:
    pool = HttpPool()
    async with serving(answering(ok(b"one"), ok(b""), ok(b"three"))) as server:
        assert [await get(pool, server.url) for _ in range(3)] == [b"one", b"", b"three"]
        assert server.connection_count == 1
    await pool.close()


@pytest.mark.parametrize("size", [1, BUFFER_BYTES - 1, BUFFER_BYTES, 3 * BUFFER_BYTES + 7, 10**7])
async def test_a_body_of_any_size_arrives_in_any_pieces(size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    pool = HttpPool()
    async with serving(answering(ok(body[:size]), ok(body[:size]))) as server:
        for piece_size in (1_000_000, 70_001):
            origin = parse_origin(server.url)
            async with await pool.exchange(origin, "GET", "/", timeout_s=10) as answer:
                found = bytearray()
                while answer.body_left:
                    piece = bytearray(min(piece_size, answer.body_left))
                    await answer.read_into(memoryview(piece))
                    found += piece
                    await asyncio.sleep(0)
            assert found == body[:size]
        assert server.connection_count == 1
    await pool.close()


async def test_an_answer_that_trickles_in_is_put_together() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        for byte in ok(b"slow and steady"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    pool = HttpPool()
    async with serving(trickle) as server:
        assert await get(pool, server.url) == b"slow and steady"
    await pool.close()


async def test_an_idle_connection_that_the_server_closed_is_replaced() -> None:
    """The server may close it at the very moment of the next request."""

    async def closes_on_the_second(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_of(reader)
        writer.write(ok(b"first"))
        await request_of(reader)

    pool = HttpPool()
    async with serving(closes_on_the_second, answering(ok(b"second"))) as server:
        assert await get(pool, server.url) == b"first"
        assert await get(pool, server.url) == b"second"
        assert server.connection_count == 2
    await pool.close()


async def test_a_fresh_connection_that_breaks_is_not_tried_for_ever() -> None:
    pool = HttpPool()
    async with serving(answering(b"", close=True)) as server:
        with pytest.raises(NodeUnreachable):
            await get(pool, server.url)
        assert server.connection_count == 1
    await pool.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2xx OK\r\n\r\n",
        b"\r\n\r\n",
        b"x" * 20_000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000,
    ],
)
async def test_what_is_no_answer_of_ours_is_refused(raw: bytes) -> None:
    pool = HttpPool()
    async with serving(answering(raw)) as server:
        with pytest.raises(NodeUnreachable):
            await get(pool, server.url)
    await pool.close()


async def test_a_body_that_breaks_off_is_an_error_not_a_short_body() -> None:
    pool = HttpPool()
    async with serving(answering(ok(b"x" * 1_000)[:-1], close=True)) as server:
        with pytest.raises(NodeUnreachable):
            await get(pool, server.url)
    await pool.close()


async def test_a_body_that_ends_with_its_connection_is_whole() -> None:
    pool = HttpPool()
    raw = ok(b"x" * 200_000, "Connection: close")
    async with serving(answering(raw, close=True)) as server:
        assert await get(pool, server.url) == b"x" * 200_000
        assert await get(pool, server.url) == b"x" * 200_000
        assert server.connection_count == 2
    await pool.close()


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200", ok(b"half")[:-2]])
async def test_silence_ends_at_the_deadline(raw: bytes) -> None:
    pool = HttpPool()
    async with serving(answering(raw)) as server:
        async with asyncio.timeout(3):
            with pytest.raises(NodeUnreachable):
                await get(pool, server.url, timeout_s=0.1)
    await pool.close()


async def test_nobody_listening_is_said_at_once() -> None:
    async with serving(answering(b"")) as server:
        url = server.url
    pool = HttpPool()
    with pytest.raises(NodeUnreachable):
        await get(pool, url)
    await pool.close()


async def test_an_answer_that_was_left_unread_is_not_taken_for_the_next_one() -> None:
    pool = HttpPool()
    async with serving(answering(ok(b"unread" * 1_000)), answering(ok(b"second"))) as server:
        async with await pool.exchange(parse_origin(server.url), "GET", "/", timeout_s=5):
            pass
        assert await get(pool, server.url) == b"second"
    await pool.close()


async def test_bytes_behind_an_answer_are_not_taken_for_the_next_one() -> None:
    """A connection that says more than it was asked is not trusted again."""
    pool = HttpPool()
    injected = ok(b"first") + ok(b"injected")
    async with serving(answering(injected), answering(ok(b"second"))) as server:
        assert await get(pool, server.url) == b"first"
        assert await get(pool, server.url) == b"second"
    await pool.close()


async def test_a_cancelled_read_does_not_leave_its_memory_to_the_next_answer() -> None:
    pool = HttpPool()
    async with serving(answering(ok(b"half")[:-2]), answering(ok(b"second"))) as server:
        reading = asyncio.create_task(get(pool, server.url))
        async with asyncio.timeout(5):
            while not server.connection_count:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await get(pool, server.url) == b"second"
    await pool.close()


async def test_head_has_a_length_and_no_body() -> None:
    pool = HttpPool()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
    async with serving(answering(head, ok(b"next"))) as server:
        assert await get(pool, server.url, method="HEAD") == b""
        assert await get(pool, server.url) == b"next"
        assert server.connection_count == 1
    await pool.close()


async def test_so_many_connections_are_opened_and_no_more() -> None:
    pool = HttpPool(connections_max=3)
    async with serving(answering(*[ok(b"x") for _ in range(50)])) as server:
        answers = await asyncio.gather(*(get(pool, server.url) for _ in range(30)))
        assert answers == [b"x"] * 30
        assert server.connection_count <= 3
    await pool.close()


async def test_waiting_for_a_connection_ends_at_the_deadline_and_frees_the_place() -> None:
    pool = HttpPool(connections_max=1)
    async with serving(answering(ok(b"one"), ok(b"two"))) as server:
        origin = parse_origin(server.url)
        async with await pool.exchange(origin, "GET", "/", timeout_s=5) as answer:
            with pytest.raises(NodeUnreachable):
                await get(pool, server.url, timeout_s=0.05)
            await answer.body(100)
        assert await get(pool, server.url) == b"two"
    await pool.close()


@pytest.mark.parametrize("target", ["/a b\r\nX: y", "/ü", "/\r\n\r\n"])
async def test_a_target_cannot_smuggle_a_second_request(target: str) -> None:
    pool = HttpPool()
    with pytest.raises(NodeUnreachable):
        await pool.exchange(parse_origin("http://127.0.0.1:1"), "GET", target, timeout_s=1)


@pytest.mark.parametrize("url", ["ftp://a", "http://", "a:80", "http://[", "http://a:x"])
def test_what_is_no_url_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(NodeUnreachable):
        parse_origin(url)


def test_ports_follow_from_the_scheme() -> None:
    assert parse_origin("http://a").port == 80
    assert parse_origin("https://a").port == 443
    assert parse_origin("https://a").is_tls
    assert parse_origin("http://[::1]:9").host == "::1"
