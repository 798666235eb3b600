"""helm/cockroachdb: nodes that bear the loss of one, TLS, a user of least privilege, backups."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from tests.deploy.kube.rendered import pods_of, rendered
from tests.deploy.kube.schemas import problems
from tools.deploy_tools import place_of

ROOT: Final = Path(__file__).parents[3]
CHART: Final = ROOT / "helm/cockroachdb"
VALUES: Final = sorted(path.name for path in CHART.glob("values*.yaml"))
MANY: Final = [name for name in VALUES if "single" not in name]
BACKUP: Final = ("--set", "backup.enabled=true", "--set", "backup.url=s3://b/p?AUTH=implicit")
Manifest = dict[str, Any]


def only(kind: str, name: str = "", values: str = "values.yaml", *options: str) -> Manifest:
    (found,) = [
        one
        for one in rendered("cockroachdb", values, *options)
        if one["kind"] == kind and one["metadata"]["name"].startswith(name)
    ]
    return found


def database(values: str) -> Manifest:
    spec: Manifest = only("StatefulSet", values=values)["spec"]
    return spec


def command(values: str) -> str:
    (container,) = database(values)["template"]["spec"]["containers"]
    return str(container["args"][0])


def statements(*options: str) -> str:
    data = only("ConfigMap", "cockroachdb-setup", "values.yaml", *options)["data"]
    return str(data["setup.sql"] + data["backup.sql"])


@pytest.mark.parametrize("values", VALUES)
def test_every_manifest_is_of_its_definition(values: str) -> None:
    found = {
        f"{one['kind']} {one['metadata']['name']}": wrong
        for one in rendered("cockroachdb", values, *BACKUP)
        if (wrong := problems(one))
    }
    assert found == {}


@pytest.mark.parametrize("values", VALUES)
def test_every_pod_is_restricted_limited_and_without_a_token_it_does_not_need(values: str) -> None:
    templates = [pod for one in rendered("cockroachdb", values) for pod in pods_of(one)]
    assert len(templates) >= 2
    for template in templates:
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        certificates = spec["serviceAccountName"] == "cockroachdb-certificates"
        assert spec["automountServiceAccountToken"] is certificates
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert re.search(r"(:v?\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})$", container["image"])


@pytest.mark.parametrize("values", VALUES)
def test_a_node_takes_clients_only_when_it_says_that_it_is_ready(values: str) -> None:
    (container,) = database(values)["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health?ready=1"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert {
        container[f"{name}Probe"]["httpGet"]["scheme"] for name in ("readiness", "liveness")
    } == {"HTTPS"}


@pytest.mark.parametrize("values", VALUES)
def test_no_node_speaks_without_tls(values: str) -> None:
    assert "--insecure" not in command(values)
    assert "--certs-dir=/cockroach/certs" in command(values)


@pytest.mark.parametrize("values", MANY)
def test_nodes_are_spread_and_leave_one_at_a_time(values: str) -> None:
    template = database(values)["template"]
    selector = only("PodDisruptionBudget", values=values)["spec"]["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()
    assert only("PodDisruptionBudget", values=values)["spec"]["maxUnavailable"] == 1
    spec = template["spec"]
    rules = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rules[0]["topologyKey"] == "kubernetes.io/hostname"
    assert spec["topologySpreadConstraints"][0]["topologyKey"] == "topology.kubernetes.io/zone"
    assert "zone=$ZONE" in command(values)


def test_one_node_is_no_cluster() -> None:
    assert "start-single-node" in command("values-single-node.yaml")
    assert "--join" not in command("values-single-node.yaml")
    kinds = {one["kind"] for one in rendered("cockroachdb", "values-single-node.yaml")}
    assert "PodDisruptionBudget" not in kinds


@pytest.mark.parametrize("values", VALUES)
def test_what_makes_nodes_ready_does_not_wait_for_ready_nodes(values: str) -> None:
    """A hook after the install would: Helm and Argo CD run it once all is healthy."""
    hooks = [
        one["metadata"]["name"]
        for one in rendered("cockroachdb", values)
        if any("hook" in key for key in one["metadata"].get("annotations") or {})
    ]
    assert hooks == []
    assert database(values)["podManagementPolicy"] == "Parallel"


def test_a_changed_value_makes_another_job() -> None:
    """A Job cannot be changed: under the same name an upgrade would be refused."""
    before = only("Job", "cockroachdb-setup")["metadata"]["name"]
    after = only("Job", "cockroachdb-setup", "values.yaml", *BACKUP)["metadata"]["name"]
    assert before != after


def test_fileflux_owns_its_database_and_has_no_role_of_the_cluster() -> None:
    text = statements()
    assert "ALTER DATABASE fileflux OWNER TO fileflux" in text
    assert "REVOKE ALL ON DATABASE fileflux FROM public" in text
    assert "NOCREATEDB NOCREATEROLE NOCONTROLJOB" in text
    granted = re.findall(r"GRANT ([^;]+);", text)
    assert granted == ["CREATE, USAGE ON SCHEMA fileflux.public TO fileflux"]


def test_no_password_is_in_a_manifest_or_on_a_command_line() -> None:
    script = (CHART / "files/setup.sh").read_text()
    assert "PASSWORD" not in statements()
    for line in script.splitlines():
        if "PASSWORD" in line or ("license" in line and "printf" in line):
            assert '-e "' not in line
    (container,) = only("Job", "cockroachdb-setup")["spec"]["template"]["spec"]["containers"]
    assert [one for one in container["env"] if "secret" in str(one).lower()] == []


@pytest.mark.sqlcheck
def test_cockroachdbs_own_parser_takes_the_setup_and_the_schedule() -> None:
    text = re.sub(r"--[^\n]*", "", statements(*BACKUP))
    parser = place_of("sqlcheck")
    if not parser.exists():
        pytest.skip("CockroachDB's parser is not built: `make sqlcheck`")
    for statement in filter(None, map(str.strip, text.split(";"))):
        done = subprocess.run(
            [parser], input=statement, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (statement, done.stdout, done.stderr)


def test_another_bucket_makes_another_schedule_and_drops_the_old_one() -> None:
    other = ("--set", "backup.enabled=true", "--set", "backup.url=s3://other/p?AUTH=implicit")
    labels = [
        re.findall(r"fileflux-backup-[0-9a-f]{8}", statements(*one)) for one in (BACKUP, other)
    ]
    assert len(set(labels[0])) == len(set(labels[1])) == 1
    assert labels[0] != labels[1]
    assert "DROP SCHEDULES" in statements(*BACKUP)
    assert "SCHEDULE" not in statements()


@pytest.mark.parametrize("values", VALUES)
def test_only_fileflux_and_the_database_reach_sql(values: str) -> None:
    policy = only("NetworkPolicy", values=values)["spec"]
    labels = database(values)["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    (sql,) = [rule for rule in policy["ingress"] if rule["ports"][0]["port"] == "sql"]
    peers = [peer["podSelector"]["matchLabels"] for peer in sql["from"]]
    assert {"app.kubernetes.io/part-of": "fileflux"} in peers
    assert all(peers)


def test_both_sources_of_certificates_make_the_same_secrets() -> None:
    manager = {
        one["spec"]["secretName"]
        for one in rendered("cockroachdb", "values-prod.yaml")
        if one["kind"] == "Certificate"
    }
    (rule, create) = only("Role", "cockroachdb-certificates")["rules"]
    assert manager < set(rule["resourceNames"])
    assert create["verbs"] == ["create"]
