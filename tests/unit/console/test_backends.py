"""How Kafka and the database are started."""

import threading
from pathlib import Path

import pytest

from fileflux.console.backends import BackendServers
from fileflux.console.data_dir import DataDir
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

    found = servers.start(data.credentials(), ignore_steps, remember=remembered.set)

    assert found.kafka_bootstrap_servers == "True"
    data.close()
