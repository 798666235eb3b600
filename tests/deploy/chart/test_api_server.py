"""With a real API server: what was chosen once stays, and every point of the matrix is taken."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.chart.matrix import CHART, OPTIONS, manifests, of_kind
from tests.deploy.kube.api_server import ApiServer, Refused, api_server
from tests.deploy.kube.rendered import KUBERNETES
from tools.deploy_tools import path_of

pytestmark = pytest.mark.deploy
NAMESPACE = "fileflux"
BUILT_IN = {"", "apps", "batch", "policy", "autoscaling", "networking.k8s.io"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        running.apply(namespace, "", dry_run=False)
        yield running


def looking(server: ApiServer, folder: Path, *values: str) -> subprocess.CompletedProcess[str]:
    """Render with a look into the cluster, as an upgrade does."""
    config = folder / "config"
    config.write_text(json.dumps(_kubeconfig(server)))
    command = [str(path_of("helm")), "template", "fileflux", str(CHART), "--namespace", NAMESPACE]
    command += ["--kube-version", KUBERNETES, "--dry-run=server", "--kubeconfig", str(config)]
    command += [f"--set={one}" for one in values]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _kubeconfig(server: ApiServer) -> dict[str, object]:
    cluster = {
        "server": f"https://127.0.0.1:{server.port}",
        "certificate-authority": str(server.certificate),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "here", "user": {"token": server.token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
    }


def test_lanes_and_slots_of_a_running_cluster_never_change(
    server: ApiServer, tmp_path: Path
) -> None:
    """Helm says so where it looks into the cluster; the server refuses it from whoever does not."""
    first = of_kind(manifests("values.yaml"), "ConfigMap")["fileflux-pipeline"]
    assert looking(server, tmp_path).returncode == 0
    server.apply(first, NAMESPACE, dry_run=False)

    assert looking(server, tmp_path).returncode == 0
    for value, sentence in (("lanes=9", "set lanes=8"), ("slots=32", "set slots=16")):
        done = looking(server, tmp_path, value)
        assert done.returncode != 0
        assert f"in this cluster and never changes: {sentence}" in done.stderr
    with pytest.raises(Refused, match="immutable"):
        server.apply({**first, "data": {"lanes": "9", "slots": "16"}}, NAMESPACE)


@pytest.mark.parametrize("point", OPTIONS)
def test_the_server_takes_every_built_in_object_of_every_feature(
    server: ApiServer, point: str
) -> None:
    """The files of values, and operators' objects, are in tests/deploy/kube."""
    refused = []
    for manifest in manifests(point):
        if manifest["apiVersion"].rpartition("/")[0] in BUILT_IN:
            try:
                server.apply(manifest, NAMESPACE)
            except Refused as problem:
                refused.append(f"{manifest['kind']} {manifest['metadata']['name']}: {problem}")
    assert refused == []
