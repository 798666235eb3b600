"""What local servers share: ended for good, frozen for sure, given up when nobody waits."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from fileflux.console.local_server import LocalServer, ServerStartFailed, is_alive, is_stopped

BUSY = """
import sys, threading, time
def work():
    while True:
        sum(range(1000))
for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
time.sleep(600)
"""
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True)\n"


class Impatient(Exception):
    """Somebody pressed Ctrl-C."""


class Script(LocalServer):
    """A Python program that is ready when it says so."""

    name = "script"

    def start(self, program: str, *, timeout_s: float = 20.0) -> None:
        self._process = self._spawn([sys.executable, "-c", program])
        self._await_ready(lambda: "ready" in self.log_tail(), timeout_s)


def test_a_server_that_is_paused_stands_still_with_all_its_threads(tmp_path: Path) -> None:
    """SIGSTOP reaches each thread at a moment of its own: one of them may answer meanwhile."""
    server = Script(tmp_path)
    server.start(BUSY)
    assert server.pid is not None
    server.pause()
    stood_still = is_stopped(server.pid)
    server.resume()
    while is_stopped(server.pid):
        time.sleep(0.01)

    assert stood_still
    server.kill()


def test_a_server_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    server = Script(tmp_path)
    server.start(DEAF + "time.sleep(600)")
    pid = server.pid

    server.stop(timeout_s=0.2)

    assert pid is not None
    assert not is_alive(pid)
    assert server.pid is None


def test_a_start_that_nobody_waits_for_any_more_leaves_no_process(tmp_path: Path) -> None:
    pids: list[int | None] = []

    def wait(_seconds: float) -> None:
        pids.append(server.pid)
        raise Impatient

    server = Script(tmp_path, wait=wait)
    with pytest.raises(Impatient):
        server.start("import time; time.sleep(600)")

    assert pids[0] is not None
    assert not is_alive(pids[0])


def test_a_server_that_ends_at_its_start_is_said_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerStartFailed, match="no such luck"):
        Script(tmp_path).start("raise SystemExit('no such luck')")


def test_a_tool_that_nobody_waits_for_any_more_is_killed(tmp_path: Path) -> None:
    def wait(_seconds: float) -> None:
        raise Impatient

    server = Script(tmp_path, wait=wait)
    tool = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(Impatient):
        server._await_end(tool, "the tool", 20.0)

    assert tool.returncode is not None
