"""The chart: linted, described, refusing; nothing is lost while a destination is away."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.deploy.delivery.chart_files import ROOT, lint_problems, uncommented, undescribed
from tests.deploy.kube.rendered import pods_of, rendered
from tests.deploy.kube.schemas import problems

VALUES: Final = ("values.yaml", "values-dev.yaml", "values-prod.yaml")
MIB: Final = 1 << 20
SIZES: Final = {"mb": MIB, "gb": MIB << 10, "Mi": MIB, "Gi": MIB << 10}


def config(values: str) -> dict[str, Any]:
    made = next(
        one for one in rendered("logging", values) if "fluent-bit.yaml" in one.get("data", {})
    )
    return dict(yaml.safe_load(made["data"]["fluent-bit.yaml"]))


@pytest.mark.parametrize("values", VALUES)
def test_the_linter_is_content_and_kubernetes_takes_it(values: str) -> None:
    assert lint_problems("logging", values) == ""
    assert [wrong for one in rendered("logging", values) if (wrong := problems(one))] == []


def test_every_value_is_explained_and_described() -> None:
    assert uncommented("logging") == []
    assert undescribed("logging") == []


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("environment=Prod", "environment"),
        ("namespaces=null", "namespaces"),
        ("fluentBit.image.tag=latest", "tag"),
        ("cloudwatch.enabled=false", "enabled"),
        ("logstash.enabled=true", "elasticsearch/url"),
        ("elasticsearch.url=http://user:password@host:9200", "url"),
        ("logstash.queueSize=lots", "queueSize"),
        ("unknown=1", "unknown"),
    ],
)
def test_a_wrong_value_is_refused_by_name(value: str, named: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered("logging", "values.yaml", "--set", value)
    assert named in refused.value.stderr


@pytest.mark.parametrize("values", VALUES)
def test_lines_wait_on_the_disk_for_every_destination(values: str) -> None:
    made = config(values)
    assert {one["storage.type"] for one in made["pipeline"]["inputs"]} == {"filesystem"}
    assert made["service"]["storage.path"].startswith("/var/lib/fluent-bit/")
    for output in made["pipeline"]["outputs"]:
        assert output["retry_limit"] == "no_limits"
        assert output["storage.total_limit_size"] == "2G"


@pytest.mark.parametrize("values", VALUES)
def test_lines_go_to_the_groups_that_terraform_makes_and_fluent_bit_makes_none(values: str) -> None:
    groups = [
        one for one in config(values)["pipeline"]["outputs"] if one["name"] == "cloudwatch_logs"
    ]
    environment = "prod" if "prod" in values else "dev"
    names = {one["log_group_name"] for one in groups}
    assert names == {f"/fileflux/{environment}/{name}" for name in ("application", "host")}
    assert {one["auto_create_group"] for one in groups} in ({False}, {"off"})
    module = (ROOT / "terraform/modules/logs/main.tf").read_text()
    assert "/fileflux/" in module


def test_terraform_gives_its_rights_to_this_service_account() -> None:
    accounts = [
        one["metadata"]["name"]
        for one in rendered("logging", "values.yaml")
        if one["kind"] == "ServiceAccount"
    ]
    assert accounts == ["fluent-bit"]
    access = (ROOT / "terraform/modules/access/main.tf").read_text()
    assert 'fluent-bit   = { namespace = "logging"' in access


@pytest.mark.parametrize("values", VALUES)
def test_no_container_can_write_but_where_it_must_nor_has_a_capability(values: str) -> None:
    pods = [pod for one in rendered("logging", values) for pod in pods_of(one)]
    assert pods
    for container in (one for pod in pods for one in pod["spec"]["containers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {"memory", "ephemeral-storage"} <= set(container["resources"]["limits"])
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


@pytest.mark.parametrize("values", VALUES)
def test_every_file_and_secret_that_a_pod_mounts_is_made_or_named_in_values(values: str) -> None:
    made = {one["metadata"]["name"] for one in rendered("logging", values)}
    secrets = {"logging-logstash-tls", "logging-elasticsearch"}
    for pod in (pod for one in rendered("logging", values) for pod in pods_of(one)):
        for volume in pod["spec"]["volumes"]:
            name = volume.get("configMap", {}).get("name") or volume.get("secret", {}).get(
                "secretName"
            )
            assert name is None or name in made | secrets


def test_logstash_keeps_lines_and_refused_ones_on_a_volume_that_holds_both() -> None:
    settings = yaml.safe_load((ROOT / "helm/logging/files/logstash/logstash.yml").read_text())
    assert settings["queue.type"] == "persisted"
    assert settings["dead_letter_queue.enable"] is True
    logstash = yaml.safe_load((ROOT / "helm/logging/values.yaml").read_text())["logstash"]
    size = sum(_bytes(logstash[name]) for name in ("queueSize", "deadLetterSize"))
    assert size < _bytes(logstash["storage"]["size"])


def _bytes(text: str) -> int:
    return int(text[:-2]) * SIZES[text[-2:]]


def test_shellcheck_has_no_complaint_about_the_installer() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    script = str(ROOT / "monitoring/logs/install.sh")
    done = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
    assert done.stdout == ""
