"""How the HTTP server in front of the application is set up: one place, for workers and tests."""

from typing import Any, Final

import uvicorn

KEEP_ALIVE_S: Final = 75
DRAIN_S: Final = 30


def http_config(app: Any, **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration; `options` are its own (host, certificate …)."""
    given: dict[str, Any] = {
        "http": "httptools",
        "loop": "uvloop",
        "lifespan": "off",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,  # Nobody may say where a request comes from but the socket.
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": DRAIN_S,
    }
    return uvicorn.Config(app, **(given | options))
