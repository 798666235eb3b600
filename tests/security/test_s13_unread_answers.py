"""S13: who asks and never reads the answer holds no connection for ever."""

import asyncio
from typing import Any

import pytest

from fileflux.core import ops
from fileflux.core.ops import EmbeddedServer, bound_socket
from fileflux.ingest.http_server import http_config

ANSWER = b"x" * (8 << 20)
"""More than the kernel's buffers take."""


async def _answering(_scope: Any, _receive: Any, send: Any) -> None:
    length = (b"content-length", str(len(ANSWER)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": ANSWER})


async def test_a_connection_whose_answer_nobody_reads_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is given and closing waits for the peer to take it: only the kernel can tell."""
    monkeypatch.setattr(ops, "UNTAKEN_S_MAX", 0.5)
    server = EmbeddedServer(http_config(_answering, timeout_keep_alive=0))
    await server.start(bound_socket("127.0.0.1", 0))
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    connections = server._server.server_state.connections
    async with asyncio.timeout(10):
        while not connections:
            await asyncio.sleep(0.01)
        while connections:
            await asyncio.sleep(0.01)

    writer.transport.abort()
    await server.stop()
