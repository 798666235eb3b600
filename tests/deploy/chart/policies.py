"""What every manifest of the chart must hold to. Each policy returns what breaks it, in words."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.deploy.kube.rendered import Manifest, pods_of

Found = tuple[Manifest, ...]
Policy = Callable[[Found], list[str]]
WAIVED: Final = "fileflux.io/pod-security"
"""An annotation of a pod that says why it cannot be restricted."""
LASTING: Final = {"Deployment", "StatefulSet"}
IMAGE: Final = re.compile(r"(?:[\w.:-]+/)?[\w./-]+(?::(?P<tag>[\w.-]+)|@sha256:[0-9a-f]{64})")


def _pods(found: Found) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for manifest in found:
        for template in pods_of(manifest):
            yield f"{manifest['kind']} {manifest['metadata']['name']}", template, template["spec"]


def _containers(found: Found) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name, template, spec in _pods(found):
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            yield f"{name}/{container['name']}", template, container


def no_root(found: Found) -> list[str]:
    """Every pod runs under a user that is not root, with the runtime's seccomp profile."""
    return [
        name
        for name, _, spec in _pods(found)
        if not spec["securityContext"].get("runAsNonRoot")
        or not spec["securityContext"].get("runAsUser")
        or spec["securityContext"].get("seccompProfile") != {"type": "RuntimeDefault"}
    ]


def read_only_root(found: Found) -> list[str]:
    return [
        name
        for name, _, container in _containers(found)
        if not container.get("securityContext", {}).get("readOnlyRootFilesystem")
    ]


def no_privileges(found: Found) -> list[str]:
    """No escalation and no capability, but where the pod says why it is privileged."""
    problems = []
    for name, template, container in _containers(found):
        security = container.get("securityContext", {})
        reason = template["metadata"].get("annotations", {}).get(WAIVED, "")
        if security.get("privileged") and reason.startswith("privileged: "):
            continue
        is_closed = security.get("allowPrivilegeEscalation") is False
        if (
            security.get("privileged")
            or not is_closed
            or security.get("capabilities") != {"drop": ["ALL"]}
        ):
            problems.append(name)
    return problems


def no_host(found: Found) -> list[str]:
    """Nothing of the host is shared, but paths where the pod says why."""
    problems = []
    for name, template, spec in _pods(found):
        shared = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
        paths = [volume for volume in spec.get("volumes", ()) if "hostPath" in volume]
        is_said = WAIVED in template["metadata"].get("annotations", {})
        problems += [f"{name}: {key}" for key in shared]
        problems += [f"{name}: {one['name']}" for one in paths if not is_said]
    return problems


def probes(found: Found) -> list[str]:
    """What stays up says when it started, whether it can work and whether it makes progress."""
    return [
        f"{manifest['metadata']['name']}/{container['name']}: {probe}"
        for manifest in found
        if manifest["kind"] in LASTING
        for container in manifest["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        if container.get(probe, {}).get("httpGet", {}).get("port") != "ops"
    ]


def resources(found: Found) -> list[str]:
    """CPU and memory are asked for; memory and scratch space are bounded (CPU only where idle)."""
    problems = []
    for name, _, container in _containers(found):
        asked, bounds = container["resources"]["requests"], container["resources"]["limits"]
        problems += [f"{name}: no request of {one}" for one in {"cpu", "memory"} - set(asked)]
        problems += [
            f"{name}: no limit of {one}" for one in {"memory", "ephemeral-storage"} - set(bounds)
        ]
    return problems


def images(found: Found) -> list[str]:
    """Every image has a digest, or a tag that is not `latest`."""
    problems = []
    for name, _, container in _containers(found):
        match = IMAGE.fullmatch(container["image"])
        if match is None or match["tag"] == "latest":
            problems.append(f"{name}: {container['image']}")
    return problems


def no_token(found: Found) -> list[str]:
    """Nobody carries a token for the API server, which nobody asks."""
    pods = [
        name
        for name, _, spec in _pods(found)
        if spec.get("automountServiceAccountToken") is not False
    ]
    accounts = [
        one["metadata"]["name"]
        for one in found
        if one["kind"] == "ServiceAccount" and one.get("automountServiceAccountToken") is not False
    ]
    return pods + accounts


def no_links(found: Found) -> list[str]:
    """The Service RELEASE-ingest would set FILEFLUX_INGEST_PORT=tcp://… in every pod."""
    return [name for name, _, spec in _pods(found) if spec.get("enableServiceLinks") is not False]


def accounts_exist(found: Found) -> list[str]:
    made = {one["metadata"]["name"] for one in found if one["kind"] == "ServiceAccount"}
    named = {spec.get("serviceAccountName") for _, _, spec in _pods(found)} - {None}
    return sorted(str(name) for name in named - made)


def budgets(found: Found) -> list[str]:
    """What has several pods has exactly one budget that selects them."""
    budgets = [one for one in found if one["kind"] == "PodDisruptionBudget"]
    scaled = {
        one["spec"]["scaleTargetRef"]["name"] for one in found if one["kind"].startswith("Hor")
    }
    problems = []
    for manifest in found:
        several = (
            manifest["metadata"]["name"] in scaled or manifest["spec"].get("replicas", 1) > 1
            if manifest["kind"] in LASTING
            else False
        )
        if several:
            labels = manifest["spec"]["template"]["metadata"]["labels"].items()
            count = sum(one["spec"]["selector"]["matchLabels"].items() <= labels for one in budgets)
            if count != 1:
                problems.append(f"{manifest['metadata']['name']}: {count} budgets")
    return problems


def ports_exist(found: Found) -> list[str]:
    """A Service's and a monitor's port is one that the selected pods have, all of them."""
    problems = []
    for manifest in found:
        if manifest["kind"] == "Service":
            selector = manifest["spec"]["selector"]
            ports = {one["targetPort"] for one in manifest["spec"]["ports"]}
        elif manifest["kind"] == "PodMonitor":
            selector = manifest["spec"]["selector"]["matchLabels"]
            ports = {one["port"] for one in manifest["spec"]["podMetricsEndpoints"]}
        else:
            continue
        selected = [
            {
                port["name"]
                for container in spec["containers"]
                for port in container.get("ports", ())
            }
            for _, template, spec in _pods(found)
            if selector.items() <= template["metadata"]["labels"].items()
        ]
        if not selected or not all(ports <= named for named in selected):
            problems.append(f"{manifest['kind']} {manifest['metadata']['name']}: {sorted(ports)}")
    return problems


def selectors_select(found: Found) -> list[str]:
    """A workload's selector matches its own pods and those of no other workload."""
    problems = []
    for one in found:
        if one["kind"] in LASTING:
            selector = one["spec"]["selector"]["matchLabels"].items()
            matching = [
                other["metadata"]["name"]
                for other in found
                if other["kind"] in LASTING
                and selector <= other["spec"]["template"]["metadata"]["labels"].items()
            ]
            if matching != [one["metadata"]["name"]]:
                problems.append(f"{one['metadata']['name']}: {matching}")
    return problems


def mounts_exist(found: Found) -> list[str]:
    """Every mount names a volume or a claim of its pod."""
    problems = []
    for manifest in found:
        for template in pods_of(manifest):
            spec = template["spec"]
            named = {one["name"] for one in spec.get("volumes", ())}
            mounted = {
                mount["name"]
                for container in (*spec.get("initContainers", ()), *spec["containers"])
                for mount in container.get("volumeMounts", ())
            }
            if mounted != named:
                problems.append(f"{manifest['metadata']['name']}: {sorted(mounted ^ named)}")
    return problems


POLICIES: Final[tuple[Policy, ...]] = (
    *(no_root, read_only_root, no_privileges, no_host, probes, resources, images, no_token),
    *(no_links, accounts_exist, budgets, ports_exist, selectors_select, mounts_exist),
)
