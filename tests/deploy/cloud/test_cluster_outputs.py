"""Terraform's outputs become values that the charts take."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.deploy.kube.rendered import rendered
from tools.deploy_tools import path_of
from tools.helm_values_from_outputs import CHARTS, Outputs, Refused

ROOT: Final = Path(__file__).parents[3]
SAMPLE: Final = (Path(__file__).parent / "outputs.json").read_text()
HOW_TO: Final = (ROOT / "docs/how-to/deploy-aws.md").read_text()
OURS: Final = [name for name in CHARTS if (ROOT / "helm" / name / "Chart.yaml").exists()]
"""The charts of Karpenter and ExternalDNS themselves are not in the repository."""


def changed(**parts: Any) -> str:
    document = json.loads(SAMPLE)
    document["fileflux"]["value"] |= parts
    return json.dumps(document)


def run(chart: str, text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/helm_values_from_outputs.py"), chart]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("chart", OURS)
def test_the_chart_takes_the_values(chart: str, tmp_path: Path) -> None:
    """Helm holds them against values.schema.json, which refuses what the chart does not know."""
    values = tmp_path / "values.yaml"
    values.write_text(run(chart, SAMPLE).stdout)
    command = [str(path_of("helm")), "template", chart, str(ROOT / "helm" / chart)]
    command += ["--values", str(values), "--kube-version", "1.36.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kind:" in done.stdout


def test_karpenters_nodes_join_the_cluster_of_the_outputs() -> None:
    values = yaml.safe_load(run("karpenter", SAMPLE).stdout)
    assert values["cluster"]["name"] == "fileflux-dev"
    assert values["image"] == {"id": "ami-0123456789abcdef0"}
    assert values["node"]["instanceProfile"] == "fileflux-dev-stateless-node"


def test_karpenter_itself_gets_its_queue_and_its_role() -> None:
    values = yaml.safe_load(run("karpenter-controller", SAMPLE).stdout)
    assert values["settings"]["interruptionQueue"] == "fileflux-dev-karpenter"
    annotations = values["serviceAccount"]["annotations"]
    assert annotations["eks.amazonaws.com/role-arn"].endswith("role/fileflux-dev-karpenter")


def test_external_dns_reads_its_token_from_a_file_that_its_class_makes() -> None:
    """Cloudflare's entry is JSON; the class takes one field of it under the name that is read."""
    values = yaml.safe_load((ROOT / "helm/external-dns/controller.yaml").read_text())
    [token] = [one["value"] for one in values["env"] if one["name"] == "CF_API_TOKEN"]
    [mount], [volume] = values["extraVolumeMounts"], values["extraVolumes"]
    [made] = rendered("external-dns")
    [entry] = yaml.safe_load(made["spec"]["parameters"]["objects"])
    [field] = entry["jmesPath"]
    assert token == f"file:{mount['mountPath']}/{field['objectAlias']}"
    assert volume["csi"]["volumeAttributes"]["secretProviderClass"] == made["metadata"]["name"]
    assert entry["objectName"] == CHARTS["external-dns"](Outputs(SAMPLE))["secret"]
    assert f'{{"{field["path"]}":"%s"}}' in HOW_TO


def test_services_read_the_entries_of_their_environment() -> None:
    values = CHARTS["fileflux"](Outputs(SAMPLE))
    assert values["secrets"]["csi"]["prefix"] == "fileflux/dev"
    assert values["archive"]["url"].startswith("s3://fileflux-dev-archive-")
    assert "kafka" not in values


def test_with_msk_services_speak_to_its_brokers_and_strimzi_is_refused() -> None:
    outputs = Outputs(changed(kafka={"kind": "msk", "bootstrap_servers": "b-1.example.com:9096"}))
    values = CHARTS["fileflux"](outputs)
    kafka = values["kafka"]
    assert values["networkPolicy"]["kafka"]["ports"] == [9096]
    assert kafka["bootstrapServers"] == "b-1.example.com:9096"
    assert kafka["userPerComponent"] is False
    with pytest.raises(Refused, match="MSK"):
        CHARTS["kafka"](outputs)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"fileflux": null}', "not json"])
def test_what_is_no_output_is_refused_with_the_command_that_makes_it(text: str) -> None:
    done = run("fileflux", text)
    assert done.returncode == 1
    assert "output -json" in done.stderr
    assert done.stdout == ""


def test_an_output_without_a_part_is_refused_by_the_parts_name() -> None:
    done = run("fileflux", changed(buckets={}))
    assert done.returncode == 1
    assert "fileflux.buckets.archive" in done.stderr
