"""A single CockroachDB node, where a `cockroach` binary is on PATH: the database we are made for.

The binary is not on the package registries that the other parts come from, so it is used when it is
there and PostgreSQL stands in for it otherwise.
"""

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from fileflux.console.local_server import LocalServer, ServerStartFailed, Wait
from fileflux.console.loopback_ports import LOOPBACK, free_tcp_ports

CLIENT_TIMEOUT_S: Final = 2.0
"""Ctrl-C is not heard while its client tries to connect."""
DATABASE: Final = "fileflux"


class CockroachStartFailed(ServerStartFailed):
    """The node did not come up; the message holds the end of its log."""


def cockroach_binary() -> str | None:
    """The `cockroach` on PATH, None if there is none."""
    return shutil.which("cockroach")


class CockroachServer(LocalServer):
    """One node on `data_dir`, listening on loopback only."""

    name = "CockroachDB"
    start_failed = CockroachStartFailed
    probe_interval_s = 0.2  # Each probe starts a client.

    def __init__(
        self,
        data_dir: Path,
        *,
        binary: str,
        port: int,
        http_port: int = 0,
        wait: Wait = time.sleep,
    ) -> None:
        """`http_port` 0 takes a free one."""
        super().__init__(data_dir, wait=wait)
        self._binary = binary
        self._http_port = http_port or free_tcp_ports(1)[0]
        self.port = port

    @property
    def dsn(self) -> str:
        return f"postgresql://root@{LOOPBACK}:{self.port}/{DATABASE}?sslmode=disable"

    def start(self) -> None:
        """Return when it answers and has our database. A no-op while it runs."""
        if self.is_running:
            return
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._process = self._spawn(self.command())
        self._await_ready(self._makes_database)

    def command(self) -> list[str]:
        return [
            self._binary,
            "start-single-node",
            "--insecure",  # Loopback only; production brings its own DATABASE_URL.
            f"--store={self.data_dir / 'store'}",
            f"--listen-addr={LOOPBACK}:{self.port}",
            f"--http-addr={LOOPBACK}:{self._http_port}",
        ]

    def _makes_database(self) -> bool:
        """Make our database with the node's own client; False while it does not answer yet."""
        statement = f"CREATE DATABASE IF NOT EXISTS {DATABASE}"
        address = f"--host={LOOPBACK}:{self.port}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(  # noqa: S603  # Our own command line, no shell.
                [self._binary, "sql", "--insecure", address, "-e", statement],
                capture_output=True,
                timeout=CLIENT_TIMEOUT_S,
                check=False,
            )
            return done.returncode == 0
        return False
