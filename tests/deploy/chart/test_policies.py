"""Every point of the matrix keeps every policy, and every policy finds what breaks it."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from tests.deploy.chart import policies
from tests.deploy.chart.matrix import POINTS, manifests, of_kind
from tests.deploy.chart.policies import POLICIES, Policy
from tests.deploy.kube.schemas import problems

Pod = dict[str, Any]
Change = Callable[[dict[str, Any]], Any]
UNBUDGETED = {"without the optional"}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_every_manifest_keeps_the_policy(point: str, policy: Policy) -> None:
    if policy is policies.budgets and point in UNBUDGETED:
        assert policy(manifests(point)) != []
    else:
        assert policy(manifests(point)) == []


@pytest.mark.parametrize("point", POINTS)
def test_every_manifest_is_one_that_kubernetes_takes(point: str) -> None:
    found = {
        f"{one['kind']} {one['metadata']['name']}": wrong
        for one in manifests(point)
        if (wrong := problems(one))
    }
    assert found == {}


@pytest.mark.parametrize("point", POINTS)
def test_no_two_objects_have_one_name(point: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests(point)]
    assert len(names) == len(set(names))


def _container(pod: Pod) -> Pod:
    container: Pod = pod["containers"][0]
    return container


def _unwaived(pod: Pod) -> None:
    _container(pod)["securityContext"]["privileged"] = True


BREAKS: list[tuple[Policy, Change]] = [
    (policies.no_root, lambda pod: pod["securityContext"].pop("runAsNonRoot")),
    (policies.no_root, lambda pod: pod["securityContext"].update(runAsUser=0)),
    (policies.no_root, lambda pod: pod["securityContext"].pop("seccompProfile")),
    (
        policies.read_only_root,
        lambda pod: _container(pod)["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    (
        policies.no_privileges,
        lambda pod: _container(pod)["securityContext"].update(capabilities={"drop": []}),
    ),
    (
        policies.no_privileges,
        lambda pod: _container(pod)["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    (policies.no_privileges, _unwaived),
    (policies.no_host, lambda pod: pod.update(hostNetwork=True)),
    (policies.no_host, lambda pod: pod["volumes"].append({"name": "x", "hostPath": {}})),
    (policies.probes, lambda pod: _container(pod).pop("startupProbe")),
    (policies.probes, lambda pod: _container(pod).pop("livenessProbe")),
    (policies.probes, lambda pod: _container(pod)["readinessProbe"]["httpGet"].update(port=1)),
    (policies.resources, lambda pod: _container(pod)["resources"]["limits"].pop("memory")),
    (policies.resources, lambda pod: _container(pod)["resources"]["requests"].pop("cpu")),
    (policies.images, lambda pod: _container(pod).update(image="fileflux/ingest:latest")),
    (policies.images, lambda pod: _container(pod).update(image="fileflux/ingest")),
    (policies.no_token, lambda pod: pod.pop("automountServiceAccountToken")),
    (policies.no_links, lambda pod: pod.pop("enableServiceLinks")),
    (policies.accounts_exist, lambda pod: pod.update(serviceAccountName="nobody")),
    (policies.ports_exist, lambda pod: _container(pod)["ports"].pop(0)),
    (policies.mounts_exist, lambda pod: pod["volumes"].pop()),
    (policies.mounts_exist, lambda pod: _container(pod)["volumeMounts"].pop()),
]


@pytest.mark.parametrize(("policy", "change"), BREAKS)
def test_a_pod_that_breaks_the_policy_is_found(policy: Policy, change: Change) -> None:
    changed = deepcopy(manifests("values.yaml"))
    pod = of_kind(changed, "Deployment")["fileflux-ingest"]["spec"]["template"]["spec"]
    change(pod)
    assert policy(changed) != []


def test_a_workload_without_a_budget_and_a_stolen_pod_are_found() -> None:
    changed = deepcopy(manifests("values.yaml"))
    workloads = of_kind(changed, "Deployment")
    labels = workloads["fileflux-ingest"]["spec"]["template"]["metadata"]["labels"]
    labels["app.kubernetes.io/component"] = "placement"
    assert policies.selectors_select(changed) != []
    assert policies.budgets(changed) != [] or policies.ports_exist(changed) != []
    kept = tuple(one for one in changed if one["kind"] != "PodDisruptionBudget")
    assert len(policies.budgets(kept)) == 6


def test_every_policy_has_been_seen_to_fail() -> None:
    elsewhere = {policies.budgets, policies.selectors_select}
    assert {policy for policy, _ in BREAKS} | elsewhere == set(POLICIES)
