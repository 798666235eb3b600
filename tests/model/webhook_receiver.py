"""A receiver over HTTP that verifies every delivery with the reference library."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import uvicorn
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fileflux.core.ops import EmbeddedServer


class VerifyingReceiver:
    """`taken`: (event id, key, sequencer) of each delivery that was answered with 2xx.

    `bodies`: of these, and of tests.
    `headers`: of every delivery.
    """

    def __init__(self) -> None:
        self.secret = ""
        self.taken: list[tuple[str, str, str]] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.before: Callable[[], Awaitable[None]] | None = None
        self.status = 204
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["VerifyingReceiver"]:
        app = Starlette(routes=[Route("/hook", self._take, methods=["POST"])])
        server = EmbeddedServer(
            uvicorn.Config(app, host="127.0.0.1", port=0, access_log=False, log_config=None)
        )
        await server.start()
        self.port = server.port
        try:
            yield self
        finally:
            await server.stop()

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        Webhook(self.secret).verify(body, dict(request.headers))
        if self.before is not None:
            await self.before()
        self.headers.append(dict(request.headers))
        if self.status < 300:
            self.bodies.append(body)
            for record in json.loads(body).get("Records", []):
                found = record["s3"]["object"]
                name = request.headers["webhook-id"]
                self.taken.append((name, found["key"], found["sequencer"]))
        return Response(status_code=self.status)


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.05)
