"""An answer goes over ASGI: one message when it is small, a stream when it is not.

A stream that fails after its head was sent cannot become an error document: the connection is
aborted, so that no client takes what it has for the whole.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fileflux.core.checksum import Buffer
from fileflux.core.telemetry import S3_BYTES_OUT
from fileflux.ingest.call import Answer

BODILESS: Final = frozenset({204, 304})
WATCHED_BYTES_MIN: Final = 1 << 20
"""A shorter answer is sent before anybody could notice that it is for nobody."""
SLOW_S_MAX: Final = 30.0
SLOW_BYTES_S_MIN: Final = 1024
"""A client takes at least a kilobyte a second, as it sends one: else a few that stall would hold
all the memory that there is for answers."""


async def send_answer(
    answer: Answer,
    method: str,
    common: Mapping[str, str],
    send: Any,
    *,
    log: Any,
    gone: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Send status, headers and body. `common` headers are those of every answer.

    `gone` returns when the client has hung up: nothing is read from the nodes for nobody.
    """
    headers = {**common, **answer.headers}
    body = answer.body
    if isinstance(body, bytes):
        if "content-length" not in headers and answer.status not in BODILESS:
            headers["content-length"] = str(len(body))
        await _start(send, answer.status, headers)
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
        S3_BYTES_OUT.inc(len(body))
        return
    if "content-length" not in headers:
        await _send_endless(answer, headers, send, log=log, gone=gone)
        return
    await _start(send, answer.status, headers)
    is_long = int(headers.get("content-length", 0)) > WATCHED_BYTES_MIN
    async with _watching(gone if is_long else None) as watch:
        await _stream(body, send, watch, log)


async def _send_endless(
    answer: Answer,
    headers: Mapping[str, str],
    send: Any,
    *,
    log: Any,
    gone: Callable[[], Awaitable[None]] | None,
) -> None:
    """Send pieces as they come, until there are no more or the client has hung up.

    A client that hangs up is noticed while there is nothing to send, too.
    """
    assert gone is not None, "who sends a body is refused before"
    assert not isinstance(answer.body, bytes)
    try:
        async with _watching(gone) as watch:
            await _start(send, answer.status, headers)
            await _stream(_until_gone(answer.body, watch), send, watch, log)
    finally:
        close = getattr(answer.body, "aclose", None)  # Also if nothing was read of it.
        if close is not None:
            await close()


async def _until_gone(
    pieces: AsyncIterator[Buffer], watch: "asyncio.Future[None] | None"
) -> AsyncIterator[Buffer]:
    assert watch is not None
    while True:
        step = asyncio.ensure_future(_next(pieces))
        try:
            either: set[asyncio.Future[Any]] = {step, watch}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            piece = step.result() if step.done() else None
        finally:
            step.cancel()
            await asyncio.wait({step})
        if piece is None:
            return
        yield piece


async def _next(pieces: AsyncIterator[Buffer]) -> Buffer | None:
    """StopAsyncIteration cannot leave a task."""
    return await anext(pieces, None)


async def _start(send: Any, status: int, headers: Mapping[str, str]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


@asynccontextmanager
async def _watching(
    gone: Callable[[], Awaitable[None]] | None,
) -> AsyncIterator["asyncio.Future[None] | None"]:
    if gone is None:
        yield None
        return
    watch = asyncio.ensure_future(gone())
    try:
        yield watch
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _stream(
    pieces: AsyncIterator[Buffer], send: Any, watch: "asyncio.Future[None] | None", log: Any
) -> None:
    try:
        async for piece in pieces:
            if watch is not None and watch.done():
                return  # The server drops what we send to a client that has gone, without a word.
            async with asyncio.timeout(SLOW_S_MAX + len(piece) / SLOW_BYTES_S_MIN):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            S3_BYTES_OUT.inc(len(piece))
    except TimeoutError:
        log.info("a client read too slowly, and was cut off")
        raise
    except Exception:
        log.exception("an answer broke off")
        raise  # The server closes the connection: Content-Length tells the client that it is cut.
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
