"""How Kafka and the database are started."""

import threading
from pathlib import Path

import pytest

from fileflux.console.backends import BackendServers
from fileflux.console.data_dir import DataDir
from fileflux.console.local_server import LocalServer, ServerNotStopped
from fileflux.console.services import ClusterOptions
from fileflux.console.steps import ignore_steps


def test_servers_are_remembered_while_they_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dev that is killed meanwhile leaves them behind; the next one must know whom to stop."""
    data = DataDir(tmp_path)
    data.open()
    options = ClusterOptions(
        data_dir=tmp_path, cache_dir=tmp_path, kafka_bootstrap_servers="k", database_url="d"
    )
    servers, remembered = BackendServers(options, data), threading.Event()
    monkeypatch.setattr(servers, "_start_kafka", lambda _: str(remembered.wait(5.0)))

    found = servers.start(data.credentials(), ignore_steps, ports={}, remember=remembered.set)

    assert found.kafka_bootstrap_servers == "True"
    data.close()


class Stubborn(LocalServer):
    """Cannot be stopped."""

    name = "stubborn"

    def stop(self, *, timeout_s: float = 0.0) -> None:
        raise ServerNotStopped("it outlives a kill -9")


class Tame(LocalServer):
    """Says whether it was stopped."""

    name = "tame"
    is_stopped = False

    def stop(self, *, timeout_s: float = 0.0) -> None:
        self.is_stopped = True


@pytest.mark.parametrize("stubborn", ["kafka", "postgres"])
def test_a_server_that_does_not_stop_keeps_no_other_running(tmp_path: Path, stubborn: str) -> None:
    options = ClusterOptions(data_dir=tmp_path, cache_dir=tmp_path)
    servers, tame = BackendServers(options, DataDir(tmp_path)), Tame(tmp_path)
    for name in ("kafka", "postgres"):
        setattr(servers, name, Stubborn(tmp_path) if name == stubborn else tame)

    with pytest.raises(ServerNotStopped, match=f"{stubborn}: it outlives"):
        servers.stop()

    assert tame.is_stopped
