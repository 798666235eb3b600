"""Child processes of `fileflux dev`: started, watched, stopped, and found again after a kill -9.

A process is known by pid *and* start time: a pid alone may belong to a stranger by now.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

STOP_TIMEOUT_S: Final = 35.0
"""Services settle what is in flight for 30 s after SIGTERM."""

LEFTOVER_TIMEOUT_S: Final = 5.0
BURIAL_TIMEOUT_S: Final = 2.0
"""From a kill -9 until the pid is nobody's: PostgreSQL does not start while it is somebody's."""
STOP_SIGNALS: Final = {"postgres": signal.SIGINT}
"""Where it is not SIGTERM, which tells PostgreSQL to wait until its clients have left."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, now and after a restart of whoever asks."""

    name: str
    pid: int
    started: str

    def is_alive(self) -> bool:
        return start_time(self.pid) == self.started


def start_time(pid: int) -> str:
    """The kernel's start time of a live process; empty for a dead one or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _start_time_by_ps(pid)
    return "" if fields[0] == "Z" else fields[19]


def _start_time_by_ps(pid: int) -> str:
    if sys.platform == "linux":
        return ""
    answer = subprocess.run(  # noqa: S603  # A fixed command with a number.
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()


@dataclass(slots=True)
class ManagedProcess:
    """One service: how it is started, and what it said when it was ready."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log_path: Path
    ready_path: Path
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it, with nothing left of the time before: workers may outlive their parent."""
        if self._process is not None:
            kill_group(self._process.pid)
        self.ready_path.unlink(missing_ok=True)
        self.starts += 1
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # Our own service.
                self.argv,
                env={**self.env, "FILEFLUX_READY_FILE": str(self.ready_path)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ports(self) -> dict[str, int]:
        """What the service announced; empty while it starts."""
        try:
            announced = json.loads(self.ready_path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return dict(announced["ports"]) if announced["pid"] == self.pid else {}

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and its workers with it; return when it is gone."""
        if self._process is None:
            return
        kill_group(self._process.pid)
        self._process.wait()

    def wait_stopped(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic) after a SIGTERM, then kill."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.1, deadline - time.monotonic()))
        self.kill()

    def last_lines(self, count: int = 8) -> str:
        try:
            text = self.log_path.read_bytes()[-16_384:].decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-count:])


def kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


class ProcessList:
    """The file that says which processes belong to this data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, pids: Mapping[str, int]) -> None:
        entries = [[name, pid, start_time(pid)] for name, pid in pids.items()]
        draft = self._path.with_suffix(".tmp")
        draft.write_text(json.dumps([entry for entry in entries if entry[2]]))
        draft.replace(self._path)

    def read(self) -> list[Identity]:
        try:
            entries = json.loads(self._path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return []
        return [Identity(name, pid, started) for name, pid, started in entries]

    def stop_leftovers(self) -> list[str]:
        """Stop what a killed `dev` left running; return the names of what was found."""
        left = [one for one in self.read() if one.is_alive()]
        for one in left:
            _signal(one, STOP_SIGNALS.get(one.name, signal.SIGTERM))
        _wait_until(lambda: not any(one.is_alive() for one in left), LEFTOVER_TIMEOUT_S)
        for one in left:
            if one.is_alive():
                kill_group(one.pid)
                _signal(one, signal.SIGKILL)
        _wait_until(lambda: not any(_has_pid(one.pid) for one in left), BURIAL_TIMEOUT_S)
        self._path.unlink(missing_ok=True)
        return [one.name for one in left]


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def _has_pid(pid: int) -> bool:
    """Whether the pid is somebody's, be it a zombie's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal(one: Identity, number: int) -> None:
    try:
        os.kill(one.pid, number)
    except ProcessLookupError:
        return
