"""One attempt against receivers that misbehave; row S17's limits, row S16's rebinding."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from fileflux.core.clock import SystemClock
from fileflux.webhooks.egress import Egress, EgressPolicy, parse_networks
from fileflux.webhooks.retry import Result
from fileflux.webhooks.sender import HttpSender

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]
LOCAL = EgressPolicy(allowed=parse_networks("127.0.0.1/32"))


class Receiver:
    """A server of raw bytes. `requests`: the heads that came, with their bodies."""

    def __init__(self, answer: bytes, *, hangs: bool = False) -> None:
        self._answer = answer
        self._hangs = hangs
        self.requests: list[bytes] = []
        self.sent = 0
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Receiver"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(size))
            if self._hangs:
                await reader.read()
                return
            for at in range(0, len(self._answer), 4_096):
                writer.write(self._answer[at : at + 4_096])
                await writer.drain()
                self.sent += 4_096
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def attempt(
    receiver: Receiver, *, policy: EgressPolicy = LOCAL, timeout_s: float = 10.0, url: str = ""
) -> Result:
    sender = HttpSender(Egress(policy), SystemClock(), timeout_s=timeout_s)
    try:
        return await sender.send(
            url or f"http://127.0.0.1:{receiver.port}/hook", {"webhook-id": "1"}, b"body"
        )
    finally:
        await sender.close()


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_delivery_is_one_post_with_its_headers_and_body() -> None:
    async with Receiver(answer("204 No Content")).running() as receiver:
        result = await attempt(receiver)
    assert result.verdict == "delivered"
    assert receiver.requests[0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"webhook-id: 1\r\n" in receiver.requests[0]
    assert receiver.requests[0].endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    async with Receiver(b"").running() as inside:
        location = f"location: http://127.0.0.1:{inside.port}/"
        async with Receiver(answer(f"{status} Moved", location)).running() as receiver:
            result = await attempt(receiver)
        assert (result.status, result.verdict) == (status, "failed")
        assert inside.requests == []


async def test_the_answers_body_is_read_to_a_limit_and_shown_to_nobody() -> None:
    secret = b"inner secret "
    async with Receiver(answer("500 No", body=secret * 2_000_000)).running() as receiver:
        result = await attempt(receiver)
    assert result.status == 500
    assert "inner secret" not in repr(result)
    assert receiver.sent < 13_000_000  # Of 26 MB: what the system's buffers on the way hold.


async def test_who_hangs_is_left_after_the_timeout() -> None:
    async with Receiver(b"", hangs=True).running() as receiver:
        result = await attempt(receiver, timeout_s=0.2)
    assert (result.status, result.problem) == (0, "no answer within 0.2 s")


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 100])
async def test_what_is_no_http_is_a_failure(raw: bytes) -> None:
    async with Receiver(raw).running() as receiver:
        result = await attempt(receiver)
    assert (result.status, result.verdict) == (0, "failed")


async def test_a_receiver_inside_sees_no_connection_unless_it_is_allowed() -> None:
    async with Receiver(answer("200 OK")).running() as receiver:
        result = await attempt(receiver, policy=EgressPolicy())
        assert result.problem == "the host's address is not a public one"
        assert receiver.requests == []


async def test_a_name_that_changes_its_address_after_the_check_reaches_nothing_else() -> None:
    """DNS rebinding, 200 times: a name is asked for once per attempt, and only that is used."""
    asked = 0

    async def lookup(host: str, port: int) -> Sequence[str]:
        nonlocal asked
        asked += 1
        return ["127.0.0.2" if asked % 2 else "127.0.0.1"]

    policy = EgressPolicy(allowed=parse_networks("127.0.0.2/32"))
    async with Receiver(answer("200 OK")).running() as receiver:
        sender = HttpSender(Egress(policy, lookup), SystemClock())
        url = f"http://rebinding.example:{receiver.port}/"
        results = [await sender.send(url, {}, b"x") for _ in range(200)]
        await sender.close()
    assert asked == 200
    assert receiver.requests == []
    assert {result.problem for result in results[1::2]} == {
        "the host's address is not a public one"
    }
    assert {result.problem for result in results[::2]} == {"no connection"}


async def test_a_name_with_capitals_and_a_final_dot_is_the_same_name() -> None:
    async def lookup(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"] if host == "hooks.example" else []

    async with Receiver(answer("200 OK")).running() as receiver:
        sender = HttpSender(Egress(LOCAL, lookup), SystemClock())
        for host in ("hooks.example", "HOOKS.example", "hooks.example."):
            assert (await sender.send(f"http://{host}:{receiver.port}/", {}, b"x")).status == 200
        await sender.close()


async def test_a_kept_connection_that_the_receiver_has_closed_is_no_failure() -> None:
    """It answers as if it kept the connection, and closes it: the next delivery meets that."""
    async with Receiver(answer("200 OK")).running() as receiver:
        sender = HttpSender(Egress(LOCAL), SystemClock())
        url = f"http://127.0.0.1:{receiver.port}/"
        results = [await sender.send(url, {}, b"x") for _ in range(100)]
        await sender.close()
    assert {result.status for result in results} == {200}


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver(answer("200 OK")).running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with Receiver(answer("200 OK")).running() as receiver:
            assert (await attempt(receiver)).status == 200
        assert proxy.requests == []


async def test_a_header_of_the_answer_is_kept_for_people_and_cannot_break_a_line() -> None:
    async with Receiver(
        answer("429 Slow", "retry-after: 7", "x-inner: 10.0.0.1", "content-type: a\tb")
    ).running() as receiver:
        result = await attempt(receiver)
    assert result.retry_after == "7"
    assert "x-inner" not in result.head
    assert result.head.isprintable()
