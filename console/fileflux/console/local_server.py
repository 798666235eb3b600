"""What the servers of the local system share: one process each, started, hurt and ended here.

`wait` is how they wait: `time.sleep`, unless whoever starts them may change their mind. Then it
raises, and what was started so far is killed before that goes on.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

Wait = Callable[[float], None]

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
KILL_TIMEOUT_S: Final = 10.0
"""Only a process that the kernel holds, for a disk that does not answer, takes longer."""
FREEZE_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.02


class ServerStartFailed(RuntimeError):
    """The server did not come up; the message holds the end of its log."""


class ServerNotStopped(RuntimeError):
    """The server's process is still there. The message names it."""


class LocalServer:
    """A server on `data_dir`, at most one process at a time. Not safe to share between threads."""

    name: ClassVar[str]
    start_failed: ClassVar[type[ServerStartFailed]] = ServerStartFailed
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    probe_interval_s: ClassVar[float] = 0.02
    port: int

    def __init__(self, data_dir: Path, *, wait: Wait = time.sleep) -> None:
        self.data_dir = data_dir.absolute()
        self._wait = wait
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.data_dir / "server.log"

    @property
    def pid(self) -> int | None:
        process = self._process  # Once: another thread may be stopping it.
        return None if process is None else process.pid

    @property
    def is_running(self) -> bool:
        process = self._process
        return process is not None and process.poll() is None

    def log_tail(self, line_count: int = 15) -> str:
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-line_count:])

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Shut down cleanly; kill what does not stop in time. Raise ServerNotStopped."""
        self._end_by(self.stop_signal, timeout_s)

    def kill(self) -> None:
        """kill -9 for all its processes; return when none of them is left."""
        if self._process is None:
            return
        family = self._family()
        signal_all(family, signal.SIGKILL)
        deadline = time.monotonic() + KILL_TIMEOUT_S
        # A survivor still holds what the next start wants to have.
        while self.is_running or any(is_alive(pid) for pid in family):
            if time.monotonic() > deadline:
                raise ServerNotStopped(f"{self.name} (process {self.pid}) outlives a kill -9")
            time.sleep(POLL_S)
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers. Return when every thread stands."""
        deadline = time.monotonic() + FREEZE_TIMEOUT_S
        signal_all(self._family(), signal.SIGSTOP)
        # The kernel stops each thread at its own next step; children may have been born meanwhile.
        while moving := [pid for pid in self._family() if not is_stopped(pid)]:
            assert time.monotonic() < deadline, f"{self.name} does not stand still"
            signal_all(moving, signal.SIGSTOP)
            time.sleep(POLL_S / 10)

    def resume(self) -> None:
        signal_all(self._family(), signal.SIGCONT)

    def _end_by(self, number: signal.Signals, timeout_s: float) -> None:
        if self._process is None:
            return
        self.resume()  # A paused process would never hear of it.
        self._process.send_signal(number)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def _family(self) -> list[int]:
        """The process and its children, which may lead sessions of their own."""
        if self._process is None:
            return []
        return [self._process.pid, *children_of(self._process.pid)]

    def _spawn(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # Our own command line, no shell.
                command,
                stdout=log,
                stderr=log,
                # Ctrl-C is for whoever started us: they stop the servers last, not first.
                start_new_session=True,
                **{"stdin": subprocess.DEVNULL, **options},
            )

    def _await_ready(
        self, is_ready: Callable[[], bool], timeout_s: float = START_TIMEOUT_S
    ) -> None:
        """Return when it is ready; otherwise kill it, and raise `start_failed` or what `wait` does.

        `is_ready` must not block for long: nobody is heard meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        try:
            while not is_ready():
                self._check_starting(time.monotonic() > deadline)
                self._wait(self.probe_interval_s)
        except BaseException:
            self.kill()
            raise

    def _check_starting(self, is_late: bool) -> None:
        if not self.is_running:
            raise self.start_failed(f"{self.name} ended at its start:\n{self.log_tail()}")
        if is_late:
            raise self.start_failed(f"{self.name} is not up in time:\n{self.log_tail()}")

    def _await_end(self, tool: subprocess.Popen[bytes], what: str, timeout_s: float) -> None:
        """Return when a tool ended well; kill it and raise otherwise."""
        deadline = time.monotonic() + timeout_s
        try:
            while tool.poll() is None and time.monotonic() < deadline:
                self._wait(POLL_S)
        finally:
            if tool.poll() is None:
                signal_all([*children_of(tool.pid), tool.pid], signal.SIGKILL)
                tool.wait(KILL_TIMEOUT_S)
        if tool.returncode != 0:
            raise self.start_failed(f"{what} failed:\n{self.log_tail()}")


def children_of(pid: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def is_alive(pid: int) -> bool:
    """A zombie counts as gone: it holds nothing, and whoever inherited it may never reap it."""
    return _state(Path(f"/proc/{pid}/stat")) not in ("", "Z", "X")


def is_stopped(pid: int) -> bool:
    """Whether every thread of the process stands still, for a signal or for ever."""
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(_state(path) in ("", "T", "t", "Z", "X") for path in stats)


def _state(path: Path) -> str:
    """The kernel's letter for a process or thread; empty when there is none."""
    try:
        return path.read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
