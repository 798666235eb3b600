"""The services of docker-compose.yml run together, and a real directory comes back whole.

Without Docker: PostgreSQL stands in for CockroachDB by DATABASE_URL, the embedded Kafka for its
image. What is tried is the file: commands, settings, secrets, order, health, ports.
"""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.images.compose_file import OURS, ROOT, resolved
from tests.deploy.images.compose_runs import CLIENT_PYTHON, ComposeRun

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]


@pytest.fixture
def run(kafka_bootstrap: str, postgres_dsn: str, server_dir: Path) -> Iterator[ComposeRun]:
    folder = server_dir / "compose"
    folder.mkdir()
    runpy.run_path(str(ROOT / "tools/make_secrets.py"))["make"](folder / "secrets")
    url = folder / "secrets" / "database-url"
    url.unlink()
    url.write_text(postgres_dsn)
    services = {name: resolved()["services"][name] for name in OURS}
    stands_in = {"kafka:9092": kafka_bootstrap, "/opt/client/bin/python": str(CLIENT_PYTHON)}
    made = ComposeRun(services, folder, stands_in)
    print("PostgreSQL stands in for CockroachDB, the embedded Kafka for its image")
    yield made
    made.kill_all()


def test_the_services_start_in_the_files_order_and_the_demo_upload_comes_back(
    run: ComposeRun,
) -> None:
    for name in in_order(OURS):
        run.start(name)
        if "test" in resolved()["services"][name].get("healthcheck", {}):
            run.wait_healthy(name)
        else:
            said = run.wait_done(name)
    files = re.search(r"demo: (\d+) files, (\d+) bytes, 0 differences", said)
    assert files is not None, said
    assert int(files[1]) > 100
    lasting = [name for name in in_order(OURS) if name not in ("migrate", "demo")]
    assert {name: run.stop(name) for name in reversed(lasting)} == dict.fromkeys(lasting, 0)


def in_order(services: dict[str, Any]) -> list[str]:
    """Whoever is waited for comes first. What has no rule between it starts in the file's order,
    the storage nodes and placement before ingest, whose health is an upload through all."""
    ordered: list[str] = []
    waiting = sorted(services, key=lambda name: (name == "demo", name == "ingest"))
    while waiting:
        ready = [name for name in waiting if not _waits_for(services[name]) & set(waiting)]
        assert ready, f"they wait for each other: {waiting}"
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered


def _waits_for(service: dict[str, Any]) -> set[str]:
    return set(service.get("depends_on", {}))
