"""A real API server takes everything that our charts send, and refuses what is wrong."""

import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from tests.deploy.kube.api_server import ApiServer, Refused, api_server
from tests.deploy.kube.rendered import matrix, pods_of, rendered
from tests.deploy.kube.schemas import definitions
from tests.deploy.kube.test_schemas import CERTIFICATE, DEPLOYMENT

pytestmark = pytest.mark.deploy
NAMESPACE = "fileflux"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
DECLARED_PRIVILEGED = "fileflux.io/pod-security"
"""An annotation of a pod that says why it cannot be restricted."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        namespace = {"name": NAMESPACE, "labels": RESTRICTED}
        running.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace}, "", dry_run=False
        )
        names = [_install(running, definition) for definition in definitions()]
        _wait_until_served(running, names)
        yield running


def _install(server: ApiServer, definition: dict[str, Any]) -> str:
    server.apply(definition, "", dry_run=False)
    return str(definition["metadata"]["name"])


def _wait_until_served(server: ApiServer, names: list[str]) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        items = server.call("GET", path)["items"]
        served = {one["metadata"]["name"] for one in items if _is_established(one)}
        if set(names) <= served:
            return
        time.sleep(0.2)
    raise TimeoutError(f"not served: {set(names) - served}")


def _is_established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []  # null at first
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def test_the_server_refuses_an_unknown_field(server: ApiServer) -> None:
    wrong = deepcopy(CERTIFICATE)
    wrong["spec"]["secretNames"] = "a"
    with pytest.raises(Refused, match="secretNames"):
        server.apply(wrong, NAMESPACE)


def test_the_server_refuses_a_pod_that_is_not_restricted(server: ApiServer) -> None:
    with pytest.raises(Refused, match='violates PodSecurity "restricted'):
        server.create(_pod(DEPLOYMENT["spec"]["template"]), NAMESPACE)


@pytest.mark.parametrize(("chart", "values"), matrix())
def test_the_server_takes_every_object(server: ApiServer, chart: str, values: str) -> None:
    """Server-side dry run, strict: schemas, defaults, rules in CEL, names and labels."""
    refused = []
    for manifest in rendered(chart, values):
        try:
            server.apply(manifest, NAMESPACE)
        except Refused as problem:
            refused.append(f"{manifest['kind']} {manifest['metadata']['name']}: {problem}")
    assert refused == []


@pytest.mark.parametrize(("chart", "values"), matrix())
def test_the_server_admits_every_pod_as_restricted(
    server: ApiServer, chart: str, values: str
) -> None:
    """But those that say in an annotation why they cannot be."""
    refused = []
    for manifest in rendered(chart, values):
        for template in pods_of(manifest):
            annotations = template["metadata"].get("annotations", {})
            if DECLARED_PRIVILEGED in annotations:
                continue
            try:
                server.create(_pod(template), NAMESPACE)
            except Refused as problem:
                refused.append(f"{manifest['kind']} {manifest['metadata']['name']}: {problem}")
    assert refused == []


def _pod(template: dict[str, Any]) -> dict[str, Any]:
    metadata = {**template["metadata"], "name": "one-of-them"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
