"""How the local system waits for its services: who ends while it starts gets another chance."""

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from fileflux.console.cluster import STARTS_MAX, Cluster, ClusterFailed, ask_health
from fileflux.console.data_dir import DataDir
from fileflux.console.interruption import Interrupted, Interruption
from fileflux.console.local_server import ServerNotStopped
from fileflux.console.processes import ManagedProcess
from fileflux.console.services import ClusterOptions
from fileflux.core.service import EXIT_SETTINGS

FAILS_THEN_SERVES = """
import json, os, pathlib, sys, time
tries = pathlib.Path(sys.argv[1])
count = int(tries.read_text()) if tries.exists() else 0
tries.write_text(str(count + 1))
if count < int(sys.argv[2]):
    sys.exit(int(sys.argv[3]))
ready = pathlib.Path(os.environ["FILEFLUX_READY_FILE"])
ready.with_suffix(".new").write_text(json.dumps({"pid": os.getpid(), "ports": {"ops": 1}}))
ready.with_suffix(".new").rename(ready)
time.sleep(60)
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(ClusterOptions(data_dir=tmp_path, cache_dir=tmp_path))
    monkeypatch.setattr(
        made, "health", lambda name, _check: None if made.services[name].ports() else "starting"
    )
    return made


def _start(cluster: Cluster, tmp_path: Path, *, failures: int, code: int = 1) -> ManagedProcess:
    tries = str(tmp_path / "tries")
    service = ManagedProcess(
        name="slow",
        argv=[sys.executable, "-c", FAILS_THEN_SERVES, tries, str(failures), str(code)],
        env={},
        log_path=tmp_path / "slow.log",
        ready_path=tmp_path / "slow.json",
    )
    cluster.services["slow"] = service
    service.start()
    return service


def test_a_service_that_ends_while_it_starts_is_started_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A broker under load may miss a deadline; that is no reason to give the whole system up."""
    service = _start(cluster, tmp_path, failures=STARTS_MAX - 1)

    cluster.wait_ready("slow")

    assert service.is_running
    assert service.starts == STARTS_MAX
    service.kill()


def test_a_service_that_ends_again_and_again_is_said(cluster: Cluster, tmp_path: Path) -> None:
    _start(cluster, tmp_path, failures=STARTS_MAX)

    with pytest.raises(ClusterFailed, match="slow ended with 1"):
        cluster.wait_ready("slow")


def test_wrong_settings_are_said_at_once(cluster: Cluster, tmp_path: Path) -> None:
    service = _start(cluster, tmp_path, failures=1, code=EXIT_SETTINGS)

    with pytest.raises(ClusterFailed, match="slow ended with 2"):
        cluster.wait_ready("slow")

    assert service.starts == 1


def test_who_does_not_want_the_system_any_more_waits_no_longer(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a service starts, which may take a minute and a half."""
    interruption = Interruption()
    monkeypatch.setattr(cluster, "_wait", interruption.wait)

    def ask_and_wait(*_: str) -> str:
        interruption.ask()
        return "starting"

    monkeypatch.setattr(cluster, "health", ask_and_wait)
    cluster.data.open()
    service = _start(cluster, tmp_path, failures=0)

    with pytest.raises(Interrupted):
        cluster.wait_ready("slow")

    cluster.stop(at_once=True)
    assert not service.is_running


def test_a_migration_that_nobody_waits_for_is_ended(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    interruption = Interruption()
    interruption.ask()
    monkeypatch.setattr(cluster, "_wait", interruption.wait)
    cluster.data.open()
    cluster.credentials = cluster.data.credentials()

    with pytest.raises(Interrupted):
        cluster._run_once("migrate", [sys.executable, "-c", "import time; time.sleep(600)"])

    cluster.data.close()


def test_a_server_that_does_not_stop_is_said_and_found_by_the_next_start(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else is stopped, and the directory is free."""

    def refuse() -> None:
        raise ServerNotStopped("cannot stop kafka")

    cluster.data.open()
    monkeypatch.setattr(cluster.servers, "stop", refuse)
    monkeypatch.setattr(cluster.servers, "pids", lambda: {"kafka": os.getpid()})
    with pytest.raises(ServerNotStopped):
        cluster.stop()

    assert [one.name for one in cluster._list.read()] == ["kafka"]
    again = DataDir(cluster.data.root)
    again.open()
    again.close()


GARBAGE = {
    "nonsense": b"no HTTP at all\r\n\r\n",
    "half a header": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "a list": b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n[]",
    "no text": b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n\xff\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_stranger_on_a_port_of_ours_is_not_healthy_and_breaks_nothing(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_once, args=(server, answer))
        thread.start()
        said = ask_health(f"http://127.0.0.1:{server.getsockname()[1]}/health/ready")
        thread.join()

    assert said


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(answer)
