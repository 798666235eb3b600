"""What each chart of ours becomes with each of its files of values: the objects that are sent."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from tools.deploy_tools import path_of

ROOT: Final = Path(__file__).parents[3]
CHARTS: Final = sorted(path.parent for path in (ROOT / "helm").glob("*/Chart.yaml"))
KUBERNETES: Final = "1.36.0"
"""Helm's own default is 1.20, which no chart of ours takes."""
Manifest = dict[str, Any]


def matrix() -> list[tuple[str, str]]:
    """Return (chart, file of values) for all there are; `values.yaml` stands for the defaults."""
    return [(chart.name, path.name) for chart in CHARTS for path in chart.glob("values*.yaml")]


@cache
def rendered(chart: str, values: str = "values.yaml", *options: str) -> tuple[Manifest, ...]:
    """Return what `helm template` sends. Raises CalledProcessError, with Helm's words in stderr."""
    folder = ROOT / "helm" / chart
    command = [str(path_of("helm")), "template", chart, str(folder), "--namespace", "fileflux"]
    command += ["--kube-version", KUBERNETES, "--include-crds"]
    command += ["--values", str(folder / values), *options]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(filter(None, yaml.load_all(text, Loader=yaml.CSafeLoader)))


def pods_of(manifest: Manifest) -> list[Manifest]:
    """Return the pod templates in a workload, with the claims that a StatefulSet makes for it."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "Pod":
        return [manifest]
    if manifest["kind"] == "CronJob":
        return [spec["jobTemplate"]["spec"]["template"]]
    if not _is_workload(manifest):
        return []
    claims = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", ())]
    made = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims]
    template = spec["template"]
    volumes = [*template["spec"].get("volumes", ()), *made]
    return [{**template, "spec": {**template["spec"], "volumes": volumes}}]


def _is_workload(manifest: Manifest) -> bool:
    return manifest["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet"}
