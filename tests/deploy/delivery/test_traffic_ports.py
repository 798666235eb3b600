"""The ports of a shift on their real sides: Prometheus' API over HTTP, routes by kubectl.

Routes: one contract, on a kubectl of this test and (`make test-deploy`) on Kubernetes' own with a
real API server.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.deploy.delivery.fake_prometheus import figures, prometheus
from tests.deploy.delivery.served_kinds import server_with
from tests.deploy.kube.api_server import ApiServer
from tools.deploy_tools import path_of
from tools.traffic_ports import NOTE, KubectlRoutes, PrometheusFigures
from tools.traffic_shift import (
    ClusterUnavailable,
    FiguresUnavailable,
    Limits,
    Progress,
    RouteState,
    Sample,
    UnknownState,
    Verdict,
    judge,
)

from fileflux.console.loopback_ports import free_tcp_ports

FAKE: Final = Path(__file__).parent / "fake_kubectl.py"
LABELS: Final = 'job="ingest",namespace="fileflux"'
PROGRESS: Final = Progress(steps=(5, 100), step=0, baseline=Sample(9.0, 1.0, 2.0, 0.5))
POD: Final = {
    "metadata": {"name": "a"},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
Change = Callable[[Callable[[dict[str, Any]], None]], None]


def virtual_service() -> dict[str, Any]:
    """The two routes of the chart, in short."""
    tracks = [
        {"destination": {"host": "fileflux-ingest", "subset": name}, "weight": weight}
        for name, weight in (("stable", 100), ("candidate", 0))
    ]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "fileflux-ingest", "namespace": "fileflux"},
        "spec": {
            "hosts": ["s3.example.com"],
            "http": [
                {"name": "reads", "match": [{"method": {"exact": "GET"}}], "route": tracks},
                {"name": "writes", "route": deepcopy(tracks)},
            ],
        },
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    kinds = {"VirtualService": "networking.istio.io/v1"}
    with server_with(tmp_path_factory.mktemp("kube"), kinds) as running:
        yield running


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.deploy)])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], Change]:
    """Return (kubectl's command, how somebody else changes the VirtualService)."""
    if request.param == "real":
        return _real(request.getfixturevalue("server"), tmp_path)
    state: dict[str, Any] = {"object": virtual_service(), "pods": [POD, {**POD, "status": {}}]}
    state["object"]["metadata"]["resourceVersion"] = "1"
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state))

    def change(how: Callable[[dict[str, Any]], None]) -> None:
        found = json.loads(path.read_text())
        how(found["object"])
        found["object"]["metadata"]["resourceVersion"] = "77"
        path.write_text(json.dumps(found))

    return [sys.executable, str(FAKE), str(path)], change


def _real(server: ApiServer, directory: Path) -> tuple[list[str], Change]:
    config = directory / "kubeconfig"
    config.write_text(yaml.safe_dump(_kubeconfig(server)))
    kubectl = [str(path_of("kubectl")), f"--kubeconfig={config}"]

    def replace(made: dict[str, Any]) -> None:
        command = [*kubectl, "replace", "--force", "-f", "-"]
        subprocess.run(command, input=json.dumps(made), text=True, check=True, capture_output=True)

    def change(how: Callable[[dict[str, Any]], None]) -> None:
        name = "virtualservices.networking.istio.io/fileflux-ingest"
        get = [*kubectl, "-n", "fileflux", "get", name, "-ojson"]
        found = json.loads(subprocess.run(get, check=True, capture_output=True).stdout)
        how(found)
        command = [*kubectl, "replace", "-f", "-"]
        subprocess.run(command, input=json.dumps(found), text=True, check=True, capture_output=True)

    server.apply(virtual_service(), "fileflux", dry_run=False)
    replace(virtual_service())
    return kubectl, change


def _kubeconfig(server: ApiServer) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {"token": server.token}}],
        "clusters": [
            {
                "name": "test",
                "cluster": {
                    "server": f"https://127.0.0.1:{server.port}",
                    "certificate-authority": str(server.certificate),
                },
            }
        ],
    }


def routes(command: list[str]) -> KubectlRoutes:
    return KubectlRoutes(namespace="fileflux", name="fileflux-ingest", kubectl=command)


def test_routes_are_read_as_they_were_written(cluster: tuple[list[str], Change]) -> None:
    one, other = routes(cluster[0]), routes(cluster[0])
    assert one.read() == RouteState(0, None)
    one.write(5, PROGRESS)
    assert other.read() == RouteState(5, PROGRESS)
    one.write(100, PROGRESS)
    one.write(0, None)
    assert other.read() == RouteState(0, None)


def test_what_somebody_wrote_in_between_is_not_overwritten(
    cluster: tuple[list[str], Change],
) -> None:
    command, change = cluster
    one = routes(command)
    one.read()
    change(lambda found: found["spec"].update(hosts=["other.example.com"]))
    with pytest.raises(ClusterUnavailable):
        one.write(5, PROGRESS)
    assert one.read() == RouteState(0, None)
    one.write(5, PROGRESS)


def test_routes_that_disagree_are_refused_and_can_be_put_right(
    cluster: tuple[list[str], Change],
) -> None:
    command, change = cluster

    def half(found: dict[str, Any]) -> None:
        first = found["spec"]["http"][0]["route"]
        first[0]["weight"], first[1]["weight"] = 60, 40

    change(half)
    one = routes(command)
    with pytest.raises(UnknownState, match="disagree"):
        one.read()
    one.write(0, None)
    assert one.read() == RouteState(0, None)


def test_routes_to_other_places_are_refused(cluster: tuple[list[str], Change]) -> None:
    command, change = cluster
    change(lambda found: found["spec"]["http"][1]["route"].pop())
    with pytest.raises(UnknownState, match="does not lead to"):
        routes(command).read()


def test_a_virtual_service_that_is_not_there_is_an_error(
    cluster: tuple[list[str], Change],
) -> None:
    with pytest.raises(ClusterUnavailable, match="not found"):
        KubectlRoutes(namespace="fileflux", name="nobody", kubectl=cluster[0]).read()


def test_other_notes_on_the_object_stay(cluster: tuple[list[str], Change]) -> None:
    command, change = cluster
    change(lambda found: found["metadata"].update(annotations={"a/b": "c"}))
    one = routes(command)
    one.read()
    one.write(5, PROGRESS)
    one.write(0, None)
    seen: list[Any] = []
    change(lambda found: seen.append(found["metadata"]["annotations"]))
    assert seen[0] == {"a/b": "c"}
    assert NOTE not in seen[0]


def test_only_pods_that_are_ready_and_stay_count(tmp_path: Path) -> None:
    leaving = {**POD, "metadata": {"name": "b", "deletionTimestamp": "2026-12-01T00:00:00Z"}}
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"object": {}, "pods": [POD, leaving, {**POD, "status": {}}]}))
    assert routes([sys.executable, str(FAKE), str(path)]).candidates_ready() == 1


def test_a_kubectl_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnavailable):
        routes([str(tmp_path / "kubectl")]).read()


def test_figures_are_asked_by_track_and_window() -> None:
    asked: list[str] = []

    def answer(query: str) -> float:
        asked.append(query)
        return 0.25 if "histogram_quantile" in query else 7.0

    with prometheus(answer) as url:
        sample = PrometheusFigures(url, labels=LABELS).sample("candidate", 90.2)
    assert sample == Sample(requests=7.0, errors=7.0, refusals=7.0, p99_s=0.25)
    assert len(asked) == 4
    for query in asked:
        assert 'fileflux_io_track="candidate"' in query
        assert 'job="ingest"' in query
        assert "[91s]" in query


def test_a_track_without_requests_has_no_latency() -> None:
    with prometheus(lambda _: None) as url:
        assert PrometheusFigures(url, labels=LABELS).sample("stable", 60) == Sample(0, 0, 0, None)
    with prometheus(lambda _: float("nan")) as url:
        assert PrometheusFigures(url, labels=LABELS).sample("stable", 60).p99_s is None


def test_an_error_of_prometheus_is_no_figure() -> None:
    with (
        prometheus(lambda _: "query timed out") as url,
        pytest.raises(FiguresUnavailable, match="422"),
    ):
        PrometheusFigures(url, labels=LABELS).sample("stable", 60)


def test_a_prometheus_that_is_gone_is_no_figure() -> None:
    with prometheus(figures()) as url:
        pass
    with pytest.raises(FiguresUnavailable):
        PrometheusFigures(url, labels=LABELS).sample("stable", 60)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "prometheus:9090", ""])
def test_only_an_address_of_http_is_asked(url: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        PrometheusFigures(url, labels=LABELS)


SERIES: Final = """\
# TYPE fileflux_s3_requests counter
{requests}
# TYPE fileflux_s3_request_seconds histogram
{buckets}
# EOF
"""
LABELS_OF: Final = (
    'job="ingest",namespace="fileflux",fileflux_io_track="{track}",pod="{track}-{pod}"'
)


def _history(now_s: int) -> str:
    """Five minutes of two pods a track: 10 requests a second each, of the candidate's a tenth fail
    and a tenth take up to a second.
    """
    requests, buckets = [], []
    for track, bad in (("stable", 0), ("candidate", 1)):
        for pod in range(2):
            labels = LABELS_OF.format(track=track, pod=pod)
            for status, rate in (("2xx", 10 - bad), ("5xx", bad)):
                name = f'fileflux_s3_requests_total{{{labels},status="{status}"}}'
                requests += _grows(name, rate, now_s)
            for upper, rate in (("0.05", 10 - bad), ("1.0", 10), ("+Inf", 10)):
                name = f'fileflux_s3_request_seconds_bucket{{{labels},le="{upper}"}}'
                buckets += _grows(name, rate, now_s)
    return SERIES.format(requests="\n".join(requests), buckets="\n".join(buckets))


def _grows(name: str, per_s: int, now_s: int) -> list[str]:
    return [f"{name} {per_s * passed} {now_s - 300 + passed}" for passed in range(0, 301, 15)]


@pytest.fixture
def real_prometheus(tmp_path: Path) -> Iterator[str]:
    """Debian's Prometheus on a past that this test wrote."""
    (tmp_path / "history").write_text(_history(int(time.time())))
    promtool = [str(path_of("promtool")), "tsdb", "create-blocks-from", "openmetrics"]
    words = [*promtool, str(tmp_path / "history"), str(tmp_path / "data")]
    subprocess.run(words, check=True, capture_output=True)
    (tmp_path / "prometheus.yml").write_text("{}\n")
    (port,) = free_tcp_ports(1)
    command = [str(path_of("prometheus")), f"--web.listen-address=127.0.0.1:{port}"]
    command += [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


@pytest.mark.deploy
def test_the_queries_give_a_real_prometheus_figures_of_each_track(real_prometheus: str) -> None:
    asked = PrometheusFigures(real_prometheus, labels=LABELS)
    deadline = time.monotonic() + 30
    while True:
        try:
            candidate, stable = asked.sample("candidate", 120), asked.sample("stable", 120)
            break
        except FiguresUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert candidate.requests == pytest.approx(2_400, rel=0.15)
    assert candidate.error_ratio == pytest.approx(0.1, abs=0.01)
    assert stable.error_ratio == 0
    assert stable.p99_s is not None
    assert candidate.p99_s is not None
    assert stable.p99_s <= 0.05 < 0.5 < candidate.p99_s <= 1
    assert judge(stable, candidate, Limits())[0] is Verdict.BREACH
