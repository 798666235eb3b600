"""An answer goes over ASGI: one message when it is small, a stream when it is not.

A stream that fails after its head was sent cannot become an error document: the connection is
aborted, so that no client takes what it has for the whole.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from fileflux.core.checksum import Buffer
from fileflux.core.telemetry import S3_BYTES_OUT
from fileflux.ingest.call import Answer

BODILESS = frozenset({204, 304})


async def send_answer(
    answer: Answer, method: str, common: Mapping[str, str], send: Any, *, log: Any
) -> None:
    """Send status, headers and body. `common` headers are those of every answer."""
    headers = {**common, **answer.headers}
    body = answer.body
    if isinstance(body, bytes):
        if "content-length" not in headers and answer.status not in BODILESS:
            headers["content-length"] = str(len(body))
        await _start(send, answer.status, headers)
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
        S3_BYTES_OUT.inc(len(body))
        return
    await _start(send, answer.status, headers)
    await _stream(body, send, log)


async def _start(send: Any, status: int, headers: Mapping[str, str]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _stream(pieces: AsyncIterator[Buffer], send: Any, log: Any) -> None:
    try:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            S3_BYTES_OUT.inc(len(piece))
    except Exception:
        log.exception("an answer broke off")
        raise  # The server closes the connection: Content-Length tells the client that it is cut.
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
