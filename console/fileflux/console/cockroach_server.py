"""A single CockroachDB node, where a `cockroach` binary is on PATH: the database we are made for.

The binary is not on the package registries that the other parts come from, so it is used when it is
there and PostgreSQL stands in for it otherwise.
"""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from fileflux.console.loopback_ports import LOOPBACK, free_tcp_ports

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
PROBE_INTERVAL_S: Final = 0.2
DATABASE: Final = "fileflux"


class CockroachStartFailed(RuntimeError):
    """The node did not come up; the message holds the end of its log."""


def cockroach_binary() -> str | None:
    """The `cockroach` on PATH, None if there is none."""
    return shutil.which("cockroach")


class CockroachServer:
    """One node on `data_dir`, listening on loopback only. Not safe to share between threads."""

    def __init__(self, data_dir: Path, *, binary: str, port: int) -> None:
        self._data_dir = data_dir.absolute()
        self._binary = binary
        self._http_port = free_tcp_ports(1)[0]
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return f"postgresql://root@{LOOPBACK}:{self.port}/{DATABASE}?sslmode=disable"

    @property
    def log_path(self) -> Path:
        return self._data_dir / "server.log"

    @property
    def pid(self) -> int | None:
        process = self._process  # Once: another thread may be stopping it.
        return None if process is None else process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Return when it answers and has our database. A no-op while it runs."""
        if self.is_running:
            return
        self._data_dir.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # Our own command line, no shell.
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def command(self) -> list[str]:
        return [
            self._binary,
            "start-single-node",
            "--insecure",  # Loopback only; production brings its own DATABASE_URL.
            f"--store={self._data_dir / 'store'}",
            f"--listen-addr={LOOPBACK}:{self.port}",
            f"--http-addr={LOOPBACK}:{self._http_port}",
        ]

    def stop(self) -> None:
        """Drain and stop; kill what does not stop in time."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._makes_database():
            if not self.is_running or time.monotonic() > deadline:
                tail = self.log_path.read_text(errors="replace").splitlines()[-10:]
                self.kill()
                raise CockroachStartFailed("CockroachDB did not start:\n" + "\n".join(tail))
            time.sleep(PROBE_INTERVAL_S)

    def _makes_database(self) -> bool:
        """Make our database with the node's own client; False while it does not answer yet."""
        statement = f"CREATE DATABASE IF NOT EXISTS {DATABASE}"
        address = f"--host={LOOPBACK}:{self.port}"
        done = subprocess.run(  # noqa: S603  # Our own command line, no shell.
            [self._binary, "sql", "--insecure", address, "-e", statement],
            capture_output=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        return done.returncode == 0
