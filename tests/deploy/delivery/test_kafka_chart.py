"""helm/kafka makes the cluster that FileFlux's promises need, with users of least privilege."""

import ast
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.deploy.kube.rendered import rendered
from tests.deploy.kube.schemas import problems

from fileflux.events.codec import RECORD_SIZE_BYTES_MAX
from fileflux.events.topics import (
    AUDIT,
    AUDIT_CHECKPOINTS,
    AUDIT_RECORD_BYTES_MAX,
    PLACEMENT_MAP,
    REPLICATION_FACTOR_MAX,
    all_topics,
    dead_letter_topic,
)
from fileflux.placement.settings import PlacementSettings

ROOT: Final = Path(__file__).parents[3]
CHART: Final = ROOT / "helm/kafka"
VALUES: Final = sorted(path.name for path in CHART.glob("values*.yaml"))
ACLS: Final[dict[str, dict[str, Any]]] = yaml.safe_load((CHART / "files/acls.yaml").read_text())
OPERATORS: Final = "console"
COMPONENT_OF: Final = {
    "metadata materializer": "materializer",
    "metadata sequencer": "sequencer",
    "storage_node": "storage-node",
    "operators": OPERATORS,
    "whoever verifies the audit stream": OPERATORS,
}
LOOKS: Final = {
    ("ingest", AUDIT): "GET /events follows the stream",
    ("placement", PLACEMENT_MAP): "who begins to lead goes on from the last epoch",
    ("sequencer", AUDIT): "it compares the topic's end with its head",
    ("sequencer", AUDIT_CHECKPOINTS): "the same for checkpoints",
    ("archiver", AUDIT): "it archives what was published",
}
"""Readers that the registry does not name, since they look and do not follow."""
Manifest = dict[str, Any]


def of_kind(kind: str, values: str = "values.yaml") -> list[Manifest]:
    return [one for one in rendered("kafka", values) if one["kind"] == kind]


def cluster(values: str) -> Manifest:
    (found,) = of_kind("Kafka", values)
    spec: Manifest = found["spec"]
    return spec


def pool(name: str, values: str) -> Manifest:
    (found,) = [one for one in of_kind("KafkaNodePool", values) if one["metadata"]["name"] == name]
    spec: Manifest = found["spec"]
    return spec


def sets_dead_letters_aside(component: str) -> bool:
    """Only who makes `DeadLetters` publishes them; the registry names every reader."""
    mains = {
        "materializer": "metadata/fileflux/metadata/__main__.py",
        "storage-node": "storage_node/fileflux/storage_node/__main__.py",
        "ingest": "ingest/fileflux/ingest/wiring.py",
        "placement": "placement/fileflux/placement/__main__.py",
    }
    path = mains.get(component)
    return path is not None and "DeadLetters(" in (ROOT / path).read_text()


def registry() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return (reads, writes) of each component, as the code's registry of topics says."""
    reads: dict[str, set[str]] = {name: set() for name in ACLS}
    writes: dict[str, set[str]] = {name: set() for name in ACLS}
    twins = {dead_letter_topic(topic.name) for topic in all_topics()}
    for topic in all_topics():
        for reader in topic.readers:
            reads[COMPONENT_OF.get(reader, reader)].add(topic.name)
        for name in topic.writers:
            writer = COMPONENT_OF.get(name, name)
            if topic.name not in twins or sets_dead_letters_aside(writer):
                writes[writer].add(topic.name)
    for component, topic_name in LOOKS:
        reads[component].add(topic_name)
    reads[OPERATORS] = {topic.name for topic in all_topics()}
    writes[OPERATORS] = set()
    return reads, writes


def test_each_service_reads_what_the_code_reads_and_nothing_else() -> None:
    reads, _ = registry()
    assert {name: set(may.get("reads", ())) for name, may in ACLS.items()} == reads


def test_each_service_writes_what_the_code_writes_and_nothing_else() -> None:
    _, writes = registry()
    assert {name: set(may.get("writes", ())) for name, may in ACLS.items()} == writes


def test_records_are_removed_by_who_the_code_lets_remove_them() -> None:
    callers = {
        path.stem
        for path in ROOT.glob("*/fileflux/**/*.py")
        if "kafka" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_broker.drop_records")
    }
    assert callers == {"audit_publisher"}
    assert {n: may["deletes"] for n, may in ACLS.items() if "deletes" in may} == {
        "sequencer": [AUDIT]
    }


def test_the_only_consumer_group_is_placements() -> None:
    groups = {name: may["groups"] for name, may in ACLS.items() if "groups" in may}
    assert groups == {"placement": [PlacementSettings.model_fields["group"].default]}


def test_who_makes_topics_may_make_ours_and_no_others() -> None:
    makers = {name for name, may in ACLS.items() if may["makes"]}
    for user in of_kind("KafkaUser"):
        component = user["metadata"]["labels"]["app.kubernetes.io/component"]
        creating = [
            (rule["resource"]["patternType"], rule["resource"]["name"])
            for rule in user["spec"]["authorization"]["acls"]
            if "Create" in rule["operations"]
        ]
        assert creating == ([("prefix", "fileflux.")] if component in makers else [])


def test_no_user_may_do_what_only_the_operator_does() -> None:
    powers = {"All", "Alter", "AlterConfigs", "ClusterAction"}
    rules = [
        rule for user in of_kind("KafkaUser") for rule in user["spec"]["authorization"]["acls"]
    ]
    assert rules
    assert [rule for rule in rules if powers & set(rule["operations"])] == []
    assert [rule for rule in rules if rule["resource"]["type"] == "cluster"] == []
    assert [rule for rule in rules if rule["resource"]["name"] == "*"] == []


def test_routes_may_go_where_the_values_say() -> None:
    given = rendered(
        "kafka", "values.yaml", "--set", "routes.topics={orders}", "--set", "routes.prefixes={a.}"
    )
    (webhooks,) = [one for one in given if one["metadata"]["name"] == "fileflux-webhooks"]
    written = {
        (rule["resource"]["patternType"], rule["resource"]["name"])
        for rule in webhooks["spec"]["authorization"]["acls"]
        if "Write" in rule["operations"]
    }
    assert written == {("literal", "orders"), ("prefix", "a.")}


@pytest.mark.parametrize("values", VALUES)
def test_an_acknowledged_record_outlives_a_broker_where_there_are_three(values: str) -> None:
    brokers = pool("brokers", values)["replicas"]
    config = cluster(values)["kafka"]["config"]
    copies = min(brokers, REPLICATION_FACTOR_MAX)
    in_sync = 2 if copies == REPLICATION_FACTOR_MAX else 1
    factors = {name: value for name, value in config.items() if "replication.factor" in name}
    least = {name: value for name, value in config.items() if re.search(r"min\.i", name)}
    assert set(factors.values()) == {copies}
    assert set(least.values()) == {in_sync}
    assert (len(factors), len(least)) == (4, 3)
    assert config["unclean.leader.election.enable"] is False


@pytest.mark.parametrize("values", VALUES)
def test_no_topic_is_made_by_accident(values: str) -> None:
    assert cluster(values)["kafka"]["config"]["auto.create.topics.enable"] is False
    assert "topicOperator" not in cluster(values)["entityOperator"]


@pytest.mark.parametrize("values", VALUES)
def test_brokers_take_and_copy_the_largest_record_of_the_code(values: str) -> None:
    config = cluster(values)["kafka"]["config"]
    largest = max(RECORD_SIZE_BYTES_MAX, AUDIT_RECORD_BYTES_MAX)
    assert config["message.max.bytes"] >= largest
    assert config["replica.fetch.max.bytes"] >= config["message.max.bytes"]


@pytest.mark.parametrize("values", VALUES)
def test_clients_come_by_tls_and_scram_only(values: str) -> None:
    (listener,) = cluster(values)["kafka"]["listeners"]
    assert listener["tls"] is True
    assert listener["authentication"] == {"type": "scram-sha-512"}
    users = of_kind("KafkaUser", values)
    assert {one["spec"]["authentication"]["type"] for one in users} == {"scram-sha-512"}
    assert {one["metadata"]["name"] for one in users} == {f"fileflux-{name}" for name in ACLS}


@pytest.mark.parametrize("values", VALUES)
def test_removing_the_chart_removes_no_record(values: str) -> None:
    volumes = [
        volume
        for name in ("controllers", "brokers")
        for volume in pool(name, values)["storage"]["volumes"]
    ]
    assert volumes
    assert [volume for volume in volumes if volume["deleteClaim"]] == []
    assert [
        one for one in of_kind("StorageClass", values) if one["reclaimPolicy"] != "Retain"
    ] == []


@pytest.mark.parametrize("values", [name for name in VALUES if "single" not in name])
def test_brokers_and_controllers_are_spread_over_hosts_and_zones(values: str) -> None:
    assert cluster(values)["kafka"]["rack"]["topologyKey"] == "topology.kubernetes.io/zone"
    for name in ("controllers", "brokers"):
        pod = pool(name, values)["template"]["pod"]
        rule = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert rule[0]["topologyKey"] == "kubernetes.io/hostname"
        assert rule[0]["labelSelector"]["matchLabels"]["strimzi.io/pool-name"] == name
        assert pod["topologySpreadConstraints"][0]["topologyKey"] == "topology.kubernetes.io/zone"


@pytest.mark.parametrize("values", VALUES)
def test_every_pod_of_kafka_is_restricted_and_has_no_proxy(values: str) -> None:
    """Strimzi makes the pods; these templates are what it makes them from."""
    spec = cluster(values)
    holders = [spec["kafka"], spec["entityOperator"], *filter(None, [spec.get("kafkaExporter")])]
    holders += [pool("brokers", values), pool("controllers", values)]
    for holder in holders:
        template = holder["template"]
        pod = template["pod"]
        assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
        assert pod["securityContext"]["runAsNonRoot"] is True
        containers = [part for name, part in template.items() if name.lower().endswith("container")]
        assert containers
        for container in containers:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("values", VALUES)
def test_every_manifest_is_of_its_definition(values: str) -> None:
    found = {
        f"{one['kind']} {one['metadata']['name']}": wrong
        for one in rendered("kafka", values)
        if (wrong := problems(one))
    }
    assert found == {}
