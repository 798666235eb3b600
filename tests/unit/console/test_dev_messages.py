"""What `fileflux dev` says to a person."""

from pathlib import Path

import pytest

from fileflux.console.cluster import Cluster, ClusterFailed
from fileflux.console.dev import run_dev
from fileflux.console.services import ClusterOptions

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
