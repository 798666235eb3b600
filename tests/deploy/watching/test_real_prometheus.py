"""A real Prometheus scrapes a real FileFlux under load: what panels and alerts ask for is there."""

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.deploy.images.compose_runs import CLIENT_PYTHON
from tools.deploy_tools import path_of
from tools.monitoring.boards import DASHBOARDS
from tools.monitoring.catalogue import FOREIGN, names_in
from tools.monitoring.make import FILES, rules
from tools.monitoring.rule import Alert

from fileflux.console.loopback_ports import free_tcp_ports

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

FILEFLUX: Final = Path(sys.executable).with_name("fileflux")
SERVED_HERE: Final = {name for name, source in FOREIGN.items() if "Prometheus" in source}
"""Foreign metrics that exist without Kafka's, CockroachDB's and Kubernetes' exporters."""
BEFORE_ANYTHING_FAILS: Final = {
    # Counters with labels have no series before the first event of their kind; `dev` has no archive
    # and no route, its nodes keep directories, and nobody failed.
    "fileflux_slow_downs_total",
    "fileflux_dead_letters_total",
    "fileflux_database_retries_total",
    "fileflux_node_pulls_failed_total",
    "fileflux_replicas_failed_total",
    "fileflux_route_lag_records",
    "fileflux_webhook_attempts_total",
    "fileflux_trace_spans_total",
    "fileflux_broker_reconnects_total",
    "zfs_pool_fragmentation_percent",
    "zfs_pool_scrub_timestamp_seconds",
    "zfs_pool_read_errors",
    "zfs_pool_write_errors",
    "zfs_pool_checksum_errors",
}


class Prometheus:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, expression: str) -> list[Any]:
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{query}", timeout=10) as answer:
            return list(json.load(answer)["data"]["result"])

    def wait_for(self, expression: str, *, within_s: float = 90) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with suppress(OSError):
                if self.ask(expression):
                    return
            time.sleep(0.2)
        raise TimeoutError(expression)


@pytest.fixture(scope="module")
def prometheus(server_dir: Path, cache_dir: Path) -> Iterator[Prometheus]:
    folder = server_dir / "watched"
    folder.mkdir()
    command = [str(FILEFLUX), "dev", "--json", "--port", "0", "--data-dir", str(folder / "data")]
    command += ["--cache-dir", str(cache_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as dev:
        assert dev.stdout is not None
        told = json.loads(dev.stdout.readline())
        load(told)
        with scraping(folder, told) as running:
            load(told)
            running.wait_for('sum(rate(fileflux_s3_requests_total{operation="PutObject"}[1m])) > 0')
            yield running
        dev.terminate()
        dev.wait(60)


def load(told: dict[str, Any]) -> None:
    """A hundred files of the standard library, stored and fetched."""
    environment = {
        "FILEFLUX_ROOT_ACCESS_KEY": told["access_key"],
        "FILEFLUX_ROOT_SECRET_KEY": told["secret_key"],
        "PATH": "/usr/bin:/bin",
    }
    command = [str(FILEFLUX), "demo", "--endpoint", told["endpoint"], "--files-max", "100"]
    command += ["--client-python", str(CLIENT_PYTHON), "--size-mib-max", "2"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    given = json.dumps([told["endpoint"], told["access_key"], told["secret_key"]])
    subprocess.run([CLIENT_PYTHON, "-c", METADATA_LOAD, given], check=True)


METADATA_LOAD: Final = """
import json, sys, boto3
endpoint, access, secret = json.loads(sys.argv[1])
client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=access,
                      aws_secret_access_key=secret, region_name="us-east-1")
bucket = client.list_buckets()["Buckets"][0]["Name"]
key = client.list_objects_v2(Bucket=bucket)["Contents"][0]["Key"]
client.head_object(Bucket=bucket, Key=key)
client.delete_object(Bucket=bucket, Key=key)
"""


class scraping:  # A context manager.
    """Prometheus with the chart's rules, and every port that `dev` told as a target."""

    def __init__(self, folder: Path, told: dict[str, Any]) -> None:
        (self._port,) = free_tcp_ports(1)
        jobs = [
            {"job_name": job, "static_configs": [{"targets": targets}]}
            for job, targets in targets_of(told).items()
        ]
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        rule_files = [str(path) for path in (FILES / "rules").glob("*.yaml")]
        config = {"global": every, "rule_files": rule_files, "scrape_configs": jobs}
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self._command = [str(path_of("prometheus")), f"--config.file={path}"]
        self._command += [f"--storage.tsdb.path={folder / 'tsdb'}"]
        self._command += [f"--web.listen-address=127.0.0.1:{self._port}"]

    def __enter__(self) -> Prometheus:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        return Prometheus(self._port)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def targets_of(told: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, service in told["services"].items():
        job = "storage-node" if name.startswith("node-") else name
        for kind, port in service["ports"].items():
            if kind in ("ops", "exporter"):
                place = "pool" if kind == "exporter" else job
                found.setdefault(place, []).append(f"127.0.0.1:{port}")
    return found


def names_of_ours(expression: str) -> set[str]:
    names = {name for name, _ in names_in(expression)}
    recorded = {name for name in names if ":" in name}
    return names - set(FOREIGN) - recorded | (names & SERVED_HERE)


PANELS: Final = [
    pytest.param(query.expression, id=f"{board.name}: {panel.title}: {query.legend}")
    for board in DASHBOARDS
    for panel in board.panels()
    for query in panel.queries
    if names_of_ours(query.expression)
    and not names_of_ours(query.expression) & BEFORE_ANYTHING_FAILS
    and not {name for name, _ in names_in(query.expression)} & (set(FOREIGN) - SERVED_HERE)
]
ALERTS: Final = [rule for rule in rules() if isinstance(rule, Alert)]


def test_most_panels_are_tried() -> None:
    """A filter that grew would let everything pass."""
    total = sum(len(panel.queries) for board in DASHBOARDS for panel in board.panels())
    assert len(PANELS) > total / 2


@pytest.mark.parametrize("expression", PANELS)
def test_a_panel_has_data(prometheus: Prometheus, expression: str) -> None:
    # A window of five minutes needs two samples in it, not five minutes.
    prometheus.wait_for(expression, within_s=30)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_what_an_alert_reads_exists(prometheus: Prometheus, alert: Alert) -> None:
    names = names_of_ours(alert.expression) - BEFORE_ANYTHING_FAILS
    for name in names:
        prometheus.wait_for(f'{{__name__="{name}"}}', within_s=30)


def test_a_well_system_pages_nobody(prometheus: Prometheus) -> None:
    """`FileFluxServiceMissing` would tell of a service that `dev` does not run."""
    firing = prometheus.ask('ALERTS{alertstate="firing",severity="page"}')
    assert [one["metric"]["alertname"] for one in firing] == []


def test_objectives_are_recorded(prometheus: Prometheus) -> None:
    prometheus.wait_for("fileflux:availability_bad:ratio_rate5m == 0")
