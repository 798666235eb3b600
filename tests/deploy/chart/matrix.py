"""Points of the space of values: each file, and each feature switched, rendered once a session."""

import subprocess
from functools import cache
from typing import Any, Final

from tests.deploy.kube.rendered import ROOT, Manifest, rendered
from tools.deploy_tools import path_of

CHART: Final = ROOT / "helm/fileflux"
FILES: Final = sorted(path.name for path in CHART.glob("values*.yaml"))
DIGEST: Final = "sha256:" + "a" * 64

OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "candidate": ("ingest.tracks.candidate.enabled=true", "ingest.autoscaling.enabled=true"),
    "digests": (f"ingest.image.digest={DIGEST}", "image.registry=registry.example.net:5000"),
    "staging volume": ("ingest.staging.mode=volume", "ingest.workers=3"),
    "staging s3": ("ingest.staging.mode=s3", "ingest.staging.s3.bucket=staged"),
    "several workers": ("ingest.workers=2",),
    "tls": ("ingest.tls.secretName=tls", "ingest.service.type=LoadBalancer"),
    "csi": (
        *("secrets.provider=csi", "secrets.csi.region=eu-west-1", "kafka.userPerComponent=false"),
        *("sequencer.auditKey.enabled=true", "archive.url=s3://other/audit"),
        "secrets.names.archive=fileflux-archive",
    ),
    "plain kafka": ("kafka.securityProtocol=PLAINTEXT", "kafka.ca.secret="),
    "shared kafka user": ("kafka.userPerComponent=false",),
    "archiver": ("archiver.enabled=true", "archive.url=s3://other/audit", "archiver.replicas=2"),
    "archive of the sequencer": ("archive.url=s3://other/audit", "archive.keepSeconds=2592000"),
    "zones": ("storageNode.zones={a,b,c}", "storageNode.replicas=2"),
    "zfs privileged": ("storageNode.backend=zfs", "storageNode.data.kind=hostPath"),
    "zfs by a device plugin": ("storageNode.backend=zfs", "storageNode.zfs.access=devicePlugin"),
    "checked mount": ("storageNode.data.filesystem=zfs",),
    "monitoring": (
        *("monitoring.podMonitors=true", "monitoring.rules=true", "monitoring.dashboards=true"),
        *("monitoring.labels.release=prometheus", "ingest.workers=3"),
    ),
    "tracing": ("tracing.endpoint=http://collector:4318", "tracing.ratio=1"),
    "webhooks inside": ("webhooks.allowHttp=true", "webhooks.allowedNetworks={10.1.0.0/16}"),
    "routes to SQS": ("webhooks.awsRoutes=true",),
    "without the optional": (
        *("webhooks.enabled=false", "migrate.enabled=false", "tests.enabled=false"),
        *("networkPolicy.enabled=false", "podDisruptionBudgets.enabled=false"),
    ),
    "settings": ("ingest.settings.FILEFLUX_INGEST_CACHE_BYTES=134217728",),
}
"""Name → values given with --set, on top of the defaults."""

POINTS: Final = [*FILES, *OPTIONS]


@cache
def manifests(point: str) -> tuple[Manifest, ...]:
    """Return what one point of the matrix sends to the cluster."""
    if point in FILES:
        return rendered("fileflux", point)
    pairs = [part for value in OPTIONS[point] for part in ("--set", value)]
    return rendered("fileflux", "values.yaml", *pairs)


def with_values(*values: str) -> tuple[Manifest, ...]:
    """Return what these values, KEY=VALUE each, make of the defaults."""
    pairs = [part for value in values for part in ("--set", value)]
    return rendered("fileflux", "values.yaml", *pairs)


def refusal(*values: str) -> str:
    """Return what Helm says of values that it must not take; raise AssertionError if it does."""
    try:
        with_values(*values)
    except subprocess.CalledProcessError as problem:
        return str(problem.stderr)
    raise AssertionError(f"taken: {values}")


def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `helm lint --strict` on the chart."""
    command = [str(path_of("helm")), "lint", "--strict", str(CHART), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def of_kind(found: tuple[Manifest, ...], *kinds: str) -> dict[str, Any]:
    """Return the manifests of these kinds by name."""
    return {one["metadata"]["name"]: one for one in found if one["kind"] in kinds}
