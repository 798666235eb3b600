"""What the chart carries as files: rules and dashboards as they are, and two small programs."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.deploy.chart.matrix import CHART, manifests
from tests.deploy.kube.rendered import KUBERNETES, ROOT
from tools.deploy_tools import path_of

RULES: Final = {
    "groups": [
        {
            "name": "a",
            "rules": [{"alert": "A", "expr": "up == 0", "annotations": {"b": "{{ $labels.job }}"}}],
        }
    ]
}
DASHBOARD: Final = {"title": "{{ handle }}", "panels": [{"legendFormat": "{{instance}} \"'\\n"}]}
CHECK: Final[dict[str, Any]] = runpy.run_path(str(CHART / "files/check_mount.py"))
MOUNTS: Final = [
    "1 0 8:1 / / rw shared:1 - ext4 /dev/root rw",
    "2 1 0:31 / /var/lib/fileflux rw - ext4 /dev/root rw",
    "3 1 0:32 / /var/lib/other rw master:2 - zfs other rw",
]

RUN_IN_CLUSTER: Final = """\
import os, subprocess, sys
env = dict(os.environ)
for key in ("ACCESS_KEY", "SECRET_KEY"):
    env[f"FILEFLUX_ROOT_{key}"] = env[f"FILEFLUX_TEST_{key}"]
program, region = sys.argv[1:]
command = [sys.executable, "-c", program, env["FILEFLUX_TEST_ENDPOINT"], region]
sys.exit(subprocess.call(command, env=env))
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The chart with a rule file and a dashboard of our own, rendered."""
    folder = tmp_path_factory.mktemp("chart") / "fileflux"
    shutil.copytree(CHART, folder)
    (folder / "files/rules/of_ours.yaml").write_text(yaml.safe_dump(RULES))
    (folder / "files/dashboards/of_ours.json").write_text(json.dumps(DASHBOARD))
    switches = ["monitoring.rules=true", "monitoring.dashboards=true", "monitoring.labels.a=b"]
    command = [str(path_of("helm")), "template", "fileflux", str(folder)]
    command += ["--kube-version", KUBERNETES, *(f"--set={one}" for one in switches)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [one for one in yaml.safe_load_all(text) if one]


def test_rules_arrive_as_they_are_written(filled: list[dict[str, Any]]) -> None:
    (made,) = [one for one in filled if one["metadata"]["name"] == "fileflux-of-ours"]
    assert made["kind"] == "PrometheusRule"
    assert made["spec"] == RULES
    assert made["metadata"]["labels"]["a"] == "b"


def test_dashboards_arrive_as_they_are_written(filled: list[dict[str, Any]]) -> None:
    (made,) = [one for one in filled if one["metadata"]["name"] == "fileflux-dashboard-of-ours"]
    assert json.loads(made["data"]["of_ours.json"]) == DASHBOARD
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (MOUNTS, "ext4"),
        ([*MOUNTS, "4 1 0:33 / /var/lib/fileflux rw shared:9 - zfs fileflux/data rw"], "zfs"),
        (MOUNTS[:1], None),
    ],
)
def test_the_last_mount_of_the_directory_is_what_counts(
    lines: list[str], expected: str | None
) -> None:
    assert CHECK["filesystem_of"]("/var/lib/fileflux", lines) == expected


def test_a_node_does_not_start_on_the_systems_disk(tmp_path: Path) -> None:
    """The program as the container runs it, on a directory that is no mount."""
    for point in ("checked mount", "values-prod.yaml"):
        (node,) = [
            one
            for one in manifests(point)
            if one["metadata"]["name"].endswith("-node") and one["kind"] == "StatefulSet"
        ]
        (check,) = node["spec"]["template"]["spec"]["initContainers"]
        command = [sys.executable, *check["command"][1:3], str(tmp_path), check["command"][4]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "import the pool and mount its dataset" in done.stdout


def test_a_node_starts_where_the_file_system_is_the_right_one() -> None:
    command = [sys.executable, str(CHART / "files/check_mount.py"), "/proc", "proc"]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.deploy
@pytest.mark.kafka
@pytest.mark.postgres
def test_the_round_trip_of_helm_test_is_whole_against_a_running_system() -> None:
    """The very command of the test's pod, with the endpoint of a system that runs here."""
    (pod,) = [one for one in manifests("values.yaml") if one["kind"] == "Pod"]
    _, _, program, _, region = pod["spec"]["containers"][0]["command"]
    runner = [sys.executable, "-c", RUN_IN_CLUSTER, program, region]
    command = [sys.executable, str(ROOT / "tools/with_cluster.py"), "--", *runner]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the round trip is whole" in done.stdout
