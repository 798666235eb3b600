"""The mesh of helm/fileflux: mTLS everywhere, nobody where he has no business, a PUT once."""

import subprocess
from typing import Any, Final

import pytest
import yaml
from tests.deploy.delivery.served_kinds import server_with
from tests.deploy.kube.rendered import ROOT, pods_of, rendered
from tests.deploy.kube.schemas import problems

from fileflux.ingest.http_server import KEEP_ALIVE_S

ON: Final = (
    "--set=mesh.enabled=true",
    "--set=mesh.gateway.hosts={s3.example.com,*.s3.example.com}",
    "--set=mesh.gateway.credentialName=s3-tls",
    "--set=archiver.enabled=true",
    "--set=archive.url=s3://bucket/prefix",
    "--set=ingest.workers=3",
)
MESH_GROUPS: Final = ("networking.istio.io", "security.istio.io")
COMPONENTS: Final = {
    "ingest",
    "placement",
    "materializer",
    "sequencer",
    "archiver",
    "webhooks",
    "storage-node",
}
CAMEL: Final = {"storage-node": "storageNode"}
Manifest = dict[str, Any]


def mesh(*options: str) -> list[Manifest]:
    made = rendered("fileflux", "values.yaml", *ON, *options)
    return [one for one in made if one["apiVersion"].split("/")[0] in MESH_GROUPS]


def of_kind(kind: str, *options: str) -> list[Manifest]:
    return [one for one in mesh(*options) if one["kind"] == kind]


def only(kind: str, *options: str) -> Manifest:
    (found,) = of_kind(kind, *options)
    spec: Manifest = found["spec"]
    return spec


def pod_labels() -> dict[str, dict[str, str]]:
    """Return the labels of each component's pods."""
    templates = [pod for one in rendered("fileflux", "values.yaml", *ON) for pod in pods_of(one)]
    found = [template["metadata"].get("labels", {}) for template in templates]
    return {one["app.kubernetes.io/component"]: one for one in found}


def container_ports(component: str) -> set[int]:
    return {
        port["containerPort"]
        for one in rendered("fileflux", "values.yaml", *ON)
        for pod in pods_of(one)
        if pod["metadata"].get("labels", {}).get("app.kubernetes.io/component") == component
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    }


def allowed(component: str, *options: str) -> dict[int, set[str]]:
    """Return who may reach each port of a component; "anybody" where no certificate is asked."""
    labels, ports = pod_labels()[component], dict[int, set[str]]()
    for policy in of_kind("AuthorizationPolicy", *options):
        if not policy["spec"]["selector"]["matchLabels"].items() <= labels.items():
            continue
        for rule in policy["spec"].get("rules", ()):
            who = [source["source"]["principals"] for source in rule.get("from", ())]
            names = {name for one in who for name in one} or {"anybody"}
            for to in rule["to"]:
                for port in to["operation"]["ports"]:
                    ports.setdefault(int(port), set()).update(names)
    return ports


def test_without_the_mesh_nothing_of_it_is_made() -> None:
    made = {one["apiVersion"].split("/")[0] for one in rendered("fileflux")}
    assert not made & set(MESH_GROUPS)


def test_every_manifest_is_of_its_definition() -> None:
    found = {one["metadata"]["name"]: wrong for one in mesh() if (wrong := problems(one))}
    assert found == {}
    assert len(mesh()) > 10


def test_mtls_is_strict_but_for_the_ports_of_figures() -> None:
    whole = [one for one in of_kind("PeerAuthentication") if "selector" not in one["spec"]]
    assert [one["spec"]["mtls"]["mode"] for one in whole] == ["STRICT"]
    for one in of_kind("PeerAuthentication"):
        assert one["spec"]["mtls"]["mode"] == "STRICT"
        open_ports = {int(port) for port in one["spec"].get("portLevelMtls", {})}
        assert open_ports <= {9100, 9101, 9102, 9134}


def test_a_prometheus_in_the_mesh_needs_no_open_port() -> None:
    who = "cluster.local/ns/monitoring/sa/prometheus"
    chosen = f"--set=mesh.prometheus.principal={who}"
    assert len(of_kind("PeerAuthentication", chosen)) == 1
    assert allowed("storage-node", chosen)[9134] == {who}


def test_every_port_of_every_pod_has_its_readers_and_no_others() -> None:
    """A port that no rule names is closed; a rule for a port that is not there is a mistake."""
    mine = "cluster.local/ns/fileflux/sa/fileflux"
    readers = {
        9000: {"cluster.local/ns/istio-ingress/sa/istio-ingressgateway", f"{mine}-test"},
        9300: {f"{mine}-storage-node"},
        9200: {f"{mine}-ingest", f"{mine}-storage-node"},
    }
    figures = {9100, 9101, 9102, 9134}
    for component in COMPONENTS:
        found = allowed(component)
        assert set(found) == container_ports(component), component
        for port, who in found.items():
            assert who == ({"anybody"} if port in figures else readers[port]), (component, port)


def test_principals_are_accounts_that_the_chart_makes() -> None:
    accounts = {
        one["metadata"]["name"]
        for one in rendered("fileflux", "values.yaml", *ON)
        if one["kind"] == "ServiceAccount"
    }
    named = {
        name.rpartition("/")[2]
        for component in COMPONENTS
        for who in allowed(component).values()
        for name in who
        if "/ns/fileflux/" in name
    }
    assert named
    assert named <= accounts


def test_helm_test_comes_by_the_name_that_is_let_in() -> None:
    (pod,) = [one for one in rendered("fileflux", "values.yaml", *ON) if one["kind"] == "Pod"]
    assert pod["spec"]["serviceAccountName"] == "fileflux-test"
    without = allowed("ingest", "--set=tests.enabled=false")[9000]
    assert without == {"cluster.local/ns/istio-ingress/sa/istio-ingressgateway"}


def test_what_no_rule_allows_is_refused_everywhere() -> None:
    (nobody,) = [one for one in of_kind("AuthorizationPolicy") if "rules" not in one["spec"]]
    assert nobody["spec"].get("action", "ALLOW") == "ALLOW"
    for labels in (pod_labels()[name] for name in COMPONENTS):
        assert nobody["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_put_is_never_sent_twice() -> None:
    reads, writes = only("VirtualService")["http"]
    assert reads["match"] == [{"method": {"regex": "GET|HEAD"}}]
    assert "match" not in writes
    assert writes["retries"] == {"attempts": 0}


def test_reads_are_tried_again_only_before_any_answer() -> None:
    reads, _ = only("VirtualService")["http"]
    harmless = {"connect-failure", "refused-stream", "503"}
    assert set(reads["retries"]["retryOn"].split(",")) <= harmless


def test_no_timeout_cuts_a_large_object_or_a_stream_of_events() -> None:
    assert [route for route in only("VirtualService")["http"] if "timeout" in route] == []
    pool = only("DestinationRule")["trafficPolicy"]["connectionPool"]
    assert "maxRequestsPerConnection" not in pool["http"]
    given = only("VirtualService", "--set=mesh.writes.timeout=12h")["http"]
    assert [route.get("timeout") for route in given] == [None, "12h"]


def test_idle_connections_go_before_ingest_closes_them() -> None:
    idle = only("DestinationRule")["trafficPolicy"]["connectionPool"]["http"]["idleTimeout"]
    assert int(idle.removesuffix("s")) < KEEP_ALIVE_S


def test_slow_down_takes_no_pod_out() -> None:
    outliers = only("DestinationRule")["trafficPolicy"]["outlierDetection"]
    assert (outliers["consecutive5xxErrors"], outliers["consecutiveGatewayErrors"]) == (0, 0)
    assert outliers["consecutiveLocalOriginFailures"] > 0
    assert outliers["maxEjectionPercent"] <= 50


def test_subsets_are_the_labels_that_the_tracks_have() -> None:
    subsets = {one["name"]: one["labels"] for one in only("DestinationRule")["subsets"]}
    both = ("--set=ingest.tracks.candidate.enabled=true",)
    tracks = {
        pod["metadata"]["labels"]["fileflux.io/track"]
        for one in rendered("fileflux", "values.yaml", *ON, *both)
        for pod in pods_of(one)
        if "fileflux.io/track" in pod["metadata"].get("labels", {})
    }
    assert set(subsets) == tracks == {"stable", "candidate"}
    assert all(labels == {"fileflux.io/track": name} for name, labels in subsets.items())


def test_all_routes_share_the_weights() -> None:
    weighted = (
        "--set=ingest.tracks.candidate.enabled=true",
        "--set=mesh.weights.stable=90",
        "--set=mesh.weights.candidate=10",
    )
    for route in only("VirtualService", *weighted)["http"]:
        weights = {one["destination"]["subset"]: one["weight"] for one in route["route"]}
        assert weights == {"stable": 90, "candidate": 10}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--set=mesh.weights.stable=90", "100 together"),
        ("--set=mesh.gateway.hosts=null", "hosts"),
        ("--set=mesh.gateway.credentialName=", "credentialName"),
        ("--set=ingest.tls.secretName=a", "tls"),
        ("--set=mesh.clients={*}", "clients"),
        ("--set=mesh.reads.timeout=0s", "timeout"),  # Istio refuses it.
    ],
)
def test_values_that_cannot_work_are_refused(option: str, said: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        mesh(option)
    assert said in refused.value.stderr


def test_weights_need_a_candidate() -> None:
    moved = ("--set=mesh.weights.stable=90", "--set=mesh.weights.candidate=10")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        mesh(*moved)
    assert "there is no candidate" in refused.value.stderr


def test_the_door_speaks_tls_1_2_at_least_and_nothing_listens_in_clear() -> None:
    (server,) = only("Gateway")["servers"]
    assert server["tls"]["minProtocolVersion"] == "TLSV1_2"
    assert server["tls"]["mode"] == "SIMPLE"
    both = only("Gateway", "--set=mesh.gateway.redirectHttp=true")["servers"]
    assert both[1]["tls"] == {"httpsRedirect": True}


def test_headless_ports_are_tcp_so_that_addresses_of_pods_get_mtls() -> None:
    """Istio gives headless TCP ports a way by address; a headless HTTP port by address goes in
    clear, and STRICT refuses it.
    """
    protocols = {
        (service["metadata"]["name"], port["name"]): port.get("appProtocol")
        for service in rendered("fileflux", "values.yaml", *ON)
        if service["kind"] == "Service"
        for port in service["spec"]["ports"]
    }
    assert protocols["fileflux-ingest", "s3"] == "http"
    assert protocols["fileflux-ingest-internal", "internal"] == "tcp"
    assert protocols["fileflux-storage-node", "node"] == "tcp"


def test_the_control_plane_is_reached_and_the_gateway_comes_in() -> None:
    policies = {
        one["metadata"]["name"]: one["spec"]
        for one in rendered("fileflux", "values.yaml", *ON)
        if one["kind"] == "NetworkPolicy" and "-mesh" in one["metadata"]["name"]
    }
    (out,) = policies["fileflux-mesh"]["egress"]
    assert out["ports"] == [{"protocol": "TCP", "port": 15012}]
    (door,) = policies["fileflux-mesh-gateway"]["ingress"]
    name = door["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    values = yaml.safe_load((ROOT / "helm/fileflux/values.yaml").read_text())
    assert f"/ns/{name}/" in values["mesh"]["gateway"]["principal"]


@pytest.mark.deploy
def test_a_real_server_takes_the_mesh_by_its_rules_too(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Istio's definitions have rules in CEL, which only a server evaluates."""
    kinds = {one["kind"]: one["apiVersion"] for one in mesh()}
    with server_with(tmp_path_factory.mktemp("kube"), kinds) as server:
        taken = [server.apply(one, "fileflux")["kind"] for one in mesh()]
    assert set(taken) == set(kinds)
