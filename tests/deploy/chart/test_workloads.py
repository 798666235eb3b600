"""What is particular to one service: tracks, staging, identity, drains, hooks, scaling."""

from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from tests.deploy.chart.matrix import CHART, DIGEST, POINTS, manifests, of_kind, with_values
from tests.deploy.kube.rendered import Manifest, pods_of

from fileflux.core import telemetry as _telemetry  # noqa: F401  # It registers the metrics.
from fileflux.ingest.bundler import DRAIN_S as SETTLE_S
from fileflux.storage_node.__main__ import DRAIN_DEADLINE_S

COMPONENT = "app.kubernetes.io/component"
TRACK = "fileflux.io/track"


def pod_of(found: tuple[Manifest, ...], name: str) -> dict[str, Any]:
    spec = of_kind(found, "Deployment", "StatefulSet")[name]["spec"]["template"]["spec"]
    return dict(spec)


def environment(found: tuple[Manifest, ...], name: str) -> dict[str, str]:
    (container,) = pod_of(found, name)["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


def test_the_service_reaches_both_tracks_and_each_track_has_its_image() -> None:
    found = with_values(
        *("ingest.tracks.candidate.enabled=true", "ingest.image.tag=1.0.0"),
        f"ingest.tracks.candidate.image.digest={DIGEST}",
    )
    tracks = of_kind(found, "Deployment")
    stable, candidate = tracks["fileflux-ingest"], tracks["fileflux-ingest-candidate"]
    selector = of_kind(found, "Service")["fileflux-ingest"]["spec"]["selector"]
    assert TRACK not in selector
    for one, track in ((stable, "stable"), (candidate, "candidate")):
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
        assert one["metadata"]["labels"][TRACK] == labels[TRACK] == track
    names = ("fileflux-ingest", "fileflux-ingest-candidate")
    images = [pod_of(found, name)["containers"][0]["image"] for name in names]
    assert images == ["fileflux/ingest:1.0.0", f"fileflux/ingest@{DIGEST}"]


def test_a_digest_wins_over_tags_and_the_registry_stands_before_it() -> None:
    (container,) = pod_of(manifests("digests"), "fileflux-ingest")["containers"]
    assert container["image"] == f"registry.example.net:5000/fileflux/ingest@{DIGEST}"
    found = with_values("image.tag=1.2.3", "webhooks.image.tag=1.2.4")
    assert pod_of(found, "fileflux-webhooks")["containers"][0]["image"].endswith(":1.2.4")
    assert pod_of(found, "fileflux-placement")["containers"][0]["image"].endswith(":1.2.3")


def test_a_candidates_tag_wins_over_the_digest_of_the_stable_track() -> None:
    found = with_values(
        *("ingest.tracks.candidate.enabled=true", "ingest.tracks.candidate.image.tag=2.0.0"),
        f"ingest.image.digest={DIGEST}",
    )
    image = pod_of(found, "fileflux-ingest-candidate")["containers"][0]["image"]
    assert image == "fileflux/ingest:2.0.0"


@pytest.mark.parametrize(
    ("point", "kind", "durable"),
    [
        ("values.yaml", "Deployment", "false"),
        ("staging volume", "StatefulSet", "true"),
        ("staging s3", "Deployment", None),
    ],
)
def test_only_staging_that_outlives_its_pod_may_promise(
    point: str, kind: str, durable: str | None
) -> None:
    found = manifests(point)
    ingest = of_kind(found, "Deployment", "StatefulSet")["fileflux-ingest"]
    variables = environment(found, "fileflux-ingest")
    assert ingest["kind"] == kind
    assert variables.get("FILEFLUX_INGEST_STAGING_DURABLE") == durable
    if kind == "StatefulSet":
        assert ingest["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Retain"
        assert ingest["spec"]["serviceName"] in of_kind(found, "Service")


@pytest.mark.parametrize("point", ["values-prod.yaml", "staging volume", "zones", "zfs privileged"])
def test_an_advertised_name_is_one_that_its_headless_service_gives(point: str) -> None:
    found = manifests(point)
    for name, one in of_kind(found, "StatefulSet").items():
        component = one["metadata"]["labels"][COMPONENT]
        prefix = "FILEFLUX_NODE" if component == "storage-node" else "FILEFLUX_INGEST"
        port = "9200" if component == "storage-node" else "9300"
        service = of_kind(found, "Service")[one["spec"]["serviceName"]]
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is True
        url = environment(found, name)[f"{prefix}_ADVERTISED_URL"]
        host = f"$(POD_NAME).{service['metadata']['name']}.fileflux.svc.cluster.local"
        assert url == f"http://{host}:{port}"


def test_storage_nodes_never_share_a_host_or_leave_their_zone() -> None:
    sets = of_kind(manifests("zones"), "StatefulSet")
    assert len(sets) == 3
    for zone in ("a", "b", "c"):
        pod = sets[f"fileflux-storage-node-{zone}"]["spec"]["template"]["spec"]
        (apart,) = pod["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert apart["topologyKey"] == "kubernetes.io/hostname"
        assert "fileflux.io/zone" not in apart["labelSelector"]["matchLabels"]
        (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        assert term["matchExpressions"][0]["values"] == [zone]
        (container,) = pod["containers"]
        assert {"name": "ZONE", "value": zone} in container["env"]


def test_without_named_zones_a_node_reads_its_zone_from_its_own_label() -> None:
    (container,) = pod_of(manifests("values.yaml"), "fileflux-storage-node")["containers"]
    (zone,) = [one for one in container["env"] if one["name"] == "ZONE"]
    field = zone["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.labels['topology.kubernetes.io/zone']"


def test_only_the_privileged_way_to_zfs_is_privileged() -> None:
    privileged = pod_of(manifests("zfs privileged"), "fileflux-storage-node")
    assert privileged["containers"][0]["securityContext"]["privileged"] is True
    assert privileged["securityContext"]["runAsNonRoot"] is True
    plugin = pod_of(manifests("zfs by a device plugin"), "fileflux-storage-node")["containers"][0]
    assert "privileged" not in plugin["securityContext"]
    assert plugin["resources"]["limits"]["devices.fileflux.io/zfs"] == "1"


@pytest.mark.parametrize("point", POINTS)
def test_a_pod_has_the_time_that_its_drain_takes(point: str) -> None:
    """Ingest: until nobody sends, requests in flight, seals; a node: what it was assigned."""
    found = manifests(point)
    ingest = pod_of(found, "fileflux-ingest")
    variables = environment(found, "fileflux-ingest")
    steps = [variables[f"FILEFLUX_INGEST_{one}"] for one in ("DRAIN_S", "STOP_TIMEOUT_S")]
    assert ingest["terminationGracePeriodSeconds"] > sum(map(int, steps)) + SETTLE_S
    for name in of_kind(found, "StatefulSet"):
        if "storage-node" in name:
            assert pod_of(found, name)["terminationGracePeriodSeconds"] > DRAIN_DEADLINE_S + 15


@pytest.mark.parametrize("point", ["values.yaml", "csi"])
def test_what_the_migration_needs_is_there_before_it(point: str) -> None:
    """A hook runs before everything that is not one, so its account and secrets are hooks too."""
    hooks = {
        one["kind"]: one["metadata"]["annotations"]
        for one in manifests(point)
        if one["metadata"]["name"] == "fileflux-migrate"
        and "helm.sh/hook" in one["metadata"].get("annotations", {})
    }
    needed = {"ServiceAccount", "Job"} | ({"SecretProviderClass"} if point == "csi" else set())
    assert set(hooks) == needed
    assert {one["helm.sh/hook"] for one in hooks.values()} == {"pre-install,pre-upgrade"}
    weights = {kind: int(one["helm.sh/hook-weight"]) for kind, one in hooks.items()}
    assert all(weights[kind] < weights["Job"] for kind in needed - {"Job"})


def test_secrets_that_are_fetched_are_those_that_pods_name() -> None:
    """One class for each pod, with every key that its containers read, and made as Secrets."""
    found = manifests("csi")
    classes = of_kind(found, "SecretProviderClass")
    for manifest in found:
        for template in pods_of(manifest):
            spec = template["spec"]
            stores = [one["csi"] for one in spec.get("volumes", ()) if "csi" in one]
            if not stores:
                continue
            made = {
                (secret["secretName"], item["key"])
                for secret in classes[stores[0]["volumeAttributes"]["secretProviderClass"]]["spec"][
                    "secretObjects"
                ]
                for item in secret["data"]
            }
            read = {
                (one["valueFrom"]["secretKeyRef"]["name"], one["valueFrom"]["secretKeyRef"]["key"])
                for one in spec["containers"][0]["env"]
                if "secretKeyRef" in one.get("valueFrom", {})
            }
            assert read, manifest["metadata"]["name"]
            assert read <= made


def test_the_objects_of_a_provider_are_yaml_with_every_key() -> None:
    for one in of_kind(manifests("csi"), "SecretProviderClass").values():
        objects = yaml.safe_load(one["spec"]["parameters"]["objects"])
        names = {path["objectAlias"] for item in objects for path in item.get("jmesPath", ())}
        names |= {item["objectAlias"] for item in objects}
        wanted = {
            item["objectName"] for made in one["spec"]["secretObjects"] for item in made["data"]
        }
        assert wanted <= names
        assert all(item["objectName"].startswith("fileflux/prod/") for item in objects)


def test_scalers_leave_the_number_of_pods_alone_and_stay_below_the_lanes() -> None:
    found = manifests("values-prod.yaml")
    scaler = of_kind(found, "HorizontalPodAutoscaler")["fileflux-materializer"]["spec"]
    workload = of_kind(found, "Deployment")[scaler["scaleTargetRef"]["name"]]["spec"]
    assert "replicas" not in workload
    lanes = environment(found, "fileflux-materializer")["FILEFLUX_LANES"]
    assert scaler["maxReplicas"] <= int(lanes)


def test_metrics_that_scalers_ask_for_are_made_from_metrics_that_the_code_has() -> None:
    """By the rules for prometheus-adapter, under the very names that the scalers use."""
    rules = yaml.safe_load((CHART / "prometheus-adapter.yaml").read_text())["rules"]
    offered = {rule["name"]["as"] for kind in ("custom", "external") for rule in rules[kind]}
    asked = set()
    for point in ("candidate", "values-prod.yaml"):
        for scaler in of_kind(manifests(point), "HorizontalPodAutoscaler").values():
            for metric in scaler["spec"]["metrics"]:
                kind = metric["type"].lower()
                asked |= {metric[kind]["metric"]["name"]} if kind != "resource" else set()
    assert asked == offered
    known = {metric.name for metric in REGISTRY.collect()}
    queries = [rule["seriesQuery"] for kind in ("custom", "external") for rule in rules[kind]]
    assert {query.split("{")[0] for query in queries} <= known


def test_ingest_takes_the_budget_of_staging_from_its_volume() -> None:
    """The file system is larger than what may be staged, or uploads fail instead of waiting."""
    found = manifests("values.yaml")
    volumes = pod_of(found, "fileflux-ingest")["volumes"]
    (volume,) = [one for one in volumes if one["name"] == "staging"]
    budget = int(environment(found, "fileflux-ingest")["FILEFLUX_INGEST_STAGING_BYTES"])
    assert int(volume["emptyDir"]["sizeLimit"]) > budget


def test_lanes_and_slots_are_kept_where_nobody_can_change_them() -> None:
    kept = of_kind(manifests("values-prod.yaml"), "ConfigMap")["fileflux-pipeline"]
    assert kept["immutable"] is True
    assert kept["data"] == {"lanes": "16", "slots": "64"}
