"""A service's ops port: health for supervisors and metrics for Prometheus.

`/health/live`: the process makes progress; restart it otherwise. `/health/ready`: send it work.
`/health/pipeline`: the whole way of a write works (only ingest can tell). An unauthenticated body
says which check failed and nothing about the system's inside.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Check = Callable[[], Awaitable[str | None]]
"""Returns None when all is well, else one sentence that says what is wrong and what to do."""

CHECK_TIMEOUT_S: Final = 2.0
UNTAKEN_S_MAX: Final = 90.0
"""A peer that takes none of what was sent for so long is reset, also while a server is closing the
connection: it would wait for ever for the rest to be taken."""


async def always_well() -> str | None:
    """The check of a service that is live by answering."""
    return None


class OpsServer:
    """Serves the checks by name: `live`, `ready`, `pipeline` (a missing one answers 404)."""

    def __init__(self, host: str, port: int, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        routes = [Route("/health/{name}", self._health), Route("/metrics", _metrics)]
        config = uvicorn.Config(
            Starlette(routes=routes), host=host, port=port, access_log=False, log_config=None
        )
        self._server = EmbeddedServer(config)

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def _health(self, request: Request) -> Response:
        check = self._checks.get(request.path_params["name"])
        if check is None:
            return Response(status_code=404)
        problem = await _ask(check)
        body = {"status": "ok"} if problem is None else {"status": "failing", "problem": problem}
        return Response(
            orjson.dumps(body),
            status_code=200 if problem is None else 503,
            media_type="application/json",
        )


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except TimeoutError:
        return "the check did not answer in time"


async def _metrics(_request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class EmbeddedServer:
    """A uvicorn server inside our own event loop: the service owns the signals, not the server."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._server = uvicorn.Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that was bound; raises before `start()`."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    async def start(self, sock: socket.socket | None = None) -> None:
        """Return when it accepts connections; raise OSError when it cannot.

        `sock`: a bound socket, for workers that share a port.
        """
        config = self._server.config
        if not config.loaded:
            config.load()
        self._server.lifespan = config.lifespan_class(config)
        sock = sock or bound_socket(config.host, config.port)
        self._task = asyncio.create_task(self._serve(sock), name="http server")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise OSError("the HTTP server stopped while starting")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop accepting, let open requests end within uvicorn's graceful time-out."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    async def _serve(self, sock: socket.socket) -> None:
        await self._server._serve([sock])  # Without its signal handlers: the service owns those.


def bound_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound TCP socket; `shared`: other workers may bind the same port. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Those that it accepts inherit it.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNTAKEN_S_MAX * 1_000))
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    sock.setblocking(False)
    return sock
