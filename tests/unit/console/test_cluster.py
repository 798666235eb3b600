"""How the local system waits for its services: who ends while it starts gets another chance."""

import sys
from pathlib import Path

import pytest

from fileflux.console.cluster import STARTS_MAX, Cluster, ClusterFailed
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
