"""What `fileflux dev` says to a person."""

from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from fileflux.console.cluster import Cluster, ClusterFailed
from fileflux.console.dev import announce, run_dev
from fileflux.console.postgres_home import NoPostgresPrograms
from fileflux.console.services import Backends, ClusterOptions

LOG = "[main] ERROR closed [/data/kafka] [info]"


def test_a_log_with_brackets_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Brackets are styles to the terminal library: it would hide them, or fail over them."""

    def fail(_self: Cluster) -> None:
        raise ClusterFailed(LOG)

    monkeypatch.setattr(Cluster, "start", fail)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    assert run_dev(ClusterOptions(data_dir=tmp_path, cache_dir=tmp_path), as_json=False) == 1
    assert LOG in capsys.readouterr().out


def test_a_platform_without_postgresql_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_self: Cluster) -> None:
        raise NoPostgresPrograms("start one and set DATABASE_URL")

    monkeypatch.setattr(Cluster, "start", fail)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    assert run_dev(ClusterOptions(data_dir=tmp_path, cache_dir=tmp_path), as_json=False) == 1
    assert "set DATABASE_URL" in capsys.readouterr().out


def test_a_person_is_told_where_kafka_is() -> None:
    """Its port is another one at each start, and the how-to begins with it."""
    said = StringIO()
    cluster: Any = SimpleNamespace(
        endpoint="http://127.0.0.1:9000",
        backends=Backends(kafka_bootstrap_servers="127.0.0.1:40123", database_url=""),
        credentials=SimpleNamespace(root_access_key="AK", root_secret_key="SK"),
        data=SimpleNamespace(root=Path("data")),
    )
    announce(cluster, Console(file=said), as_json=False)
    assert "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:40123" in said.getvalue()
