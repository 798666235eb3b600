"""The check of manifests finds what a cluster would refuse, in built-in kinds and in operators'."""

from copy import deepcopy
from typing import Any

import pytest
from tests.deploy.kube.schemas import is_namespaced, problems

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "containers": [
                    {"name": "c", "image": "i", "ports": [{"containerPort": 1}]},
                ]
            },
        },
    },
}
DISRUPTION: dict[str, Any] = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "a"},
    "spec": {"maxUnavailable": "50%", "selector": {"matchLabels": {"a": "b"}}},
}
CERTIFICATE: dict[str, Any] = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Certificate",
    "metadata": {"name": "a"},
    "spec": {"secretName": "s", "issuerRef": {"name": "i"}, "dnsNames": ["a"]},
}
POOL: dict[str, Any] = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodePool",
    "metadata": {"name": "a"},
    "spec": {
        "template": {
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "a"},
                "requirements": [{"key": "k", "operator": "Exists"}],
            }
        }
    },
}


def test_good_manifests_have_no_problem() -> None:
    for manifest in (DEPLOYMENT, DISRUPTION, CERTIFICATE, POOL):
        assert problems(manifest) == [], manifest["kind"]


@pytest.mark.parametrize("manifest", [DEPLOYMENT, CERTIFICATE, POOL], ids=lambda one: one["kind"])
def test_a_misspelt_field_is_found(manifest: dict[str, Any]) -> None:
    wrong = deepcopy(manifest)
    wrong["spec"]["selectors"] = {}
    assert any("selectors" in problem for problem in problems(wrong))


def test_a_misspelt_field_deep_inside_is_found() -> None:
    wrong = deepcopy(DEPLOYMENT)
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert [place.split(":")[0] for place in problems(wrong)] == ["spec.template.spec.containers.0"]


def test_a_wrong_type_is_found() -> None:
    wrong = deepcopy(DEPLOYMENT)
    wrong["spec"]["replicas"] = "3"
    assert problems(wrong) == ["spec.replicas: '3' is not of type 'integer'"]


def test_a_missing_field_is_found() -> None:
    wrong = deepcopy(CERTIFICATE)
    del wrong["spec"]["issuerRef"]
    assert problems(wrong) == ["spec: 'issuerRef' is a required property"]


def test_a_kind_that_nobody_defines_is_found() -> None:
    assert problems({"apiVersion": "apps/v1", "kind": "Deploy"}) != []
    assert problems({"apiVersion": "nobody.io/v1", "kind": "Thing"}) != []
    assert problems({}) != []


def test_a_version_that_is_gone_is_found() -> None:
    assert problems({**DISRUPTION, "apiVersion": "policy/v1beta1"}) != []


def test_scopes_are_known() -> None:
    assert is_namespaced("apps/v1", "Deployment")
    assert is_namespaced("cert-manager.io/v1", "Certificate")
    assert not is_namespaced("karpenter.sh/v1", "NodePool")
    assert not is_namespaced("v1", "Namespace")
