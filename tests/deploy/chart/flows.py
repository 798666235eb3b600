"""Which traffic policies allow, as plain flows: (from, to, port); what is not here is denied."""

from collections.abc import Iterator
from typing import Any, Final

from tests.deploy.kube.rendered import Manifest

Flow = tuple[str, str, str]
DNS: Final = {"53/UDP", "53/TCP"}
PEERS: Final = {
    "strimzi.io/cluster=kafka": "kafka",
    "app.kubernetes.io/name=cockroachdb": "database",
    "kubernetes.io/metadata.name=kube-system": "dns",
    "kubernetes.io/metadata.name=monitoring": "monitoring",
}
SERVICES: Final = ("ingest", "placement", "materializer", "sequencer", "webhooks", "storage-node")
WITH_DATABASE: Final = ("ingest", "placement", "materializer", "sequencer", "webhooks", "migrate")

EXPECTED: Final[frozenset[Flow]] = frozenset(
    {
        *((one, "dns", port) for one in (*SERVICES, "migrate", "test") for port in DNS),
        *((one, "kafka", "9093/TCP") for one in SERVICES),
        *((one, "database", "26257/TCP") for one in WITH_DATABASE),
        *(("monitoring", one, "9100/TCP") for one in SERVICES),
        ("monitoring", "storage-node", "9134/TCP"),
        ("anybody", "ingest", "9000/TCP"),
        ("test", "ingest", "9000/TCP"),
        ("storage-node", "ingest", "9300/TCP"),
        ("ingest", "storage-node", "9200/TCP"),
        ("storage-node", "storage-node", "9200/TCP"),
        *(("webhooks", "public", f"{port}/TCP") for port in (80, 443, 8080, 8443)),
    }
)
"""What the defaults need, and nothing else."""

MORE: Final[dict[str, tuple[set[Flow], set[Flow]]]] = {
    "staging s3": (
        {(one, "public", "443/TCP") for one in ("ingest", "storage-node")}
        | {(one, "169.254.170.23/32", "80/TCP") for one in ("ingest", "storage-node")},
        {("storage-node", "ingest", "9300/TCP")},
    ),
    "staging volume": ({("monitoring", "ingest", f"{port}/TCP") for port in (9101, 9102)}, set()),
    "archive of the sequencer": (
        {(one, "public", "443/TCP") for one in ("ingest", "sequencer")}
        | {(one, "169.254.170.23/32", "80/TCP") for one in ("ingest", "sequencer")},
        set(),
    ),
    "archiver": (
        {(one, "public", "443/TCP") for one in ("ingest", "archiver")}
        | {(one, "169.254.170.23/32", "80/TCP") for one in ("ingest", "archiver")}
        | {("archiver", "dns", port) for port in DNS}
        | {
            ("archiver", "kafka", "9093/TCP"),
            ("archiver", "database", "26257/TCP"),
            ("monitoring", "archiver", "9100/TCP"),
        },
        set(),
    ),
    "tracing": ({(one, "monitoring", "4318/TCP") for one in SERVICES}, set()),
    "webhooks inside": ({("webhooks", "10.1.0.0/16", "any")}, set()),
    "routes to SQS": ({("webhooks", "169.254.170.23/32", "80/TCP")}, set()),
    "values-postgres.yaml": (
        {(one, "anybody", "5432/TCP") for one in WITH_DATABASE},
        {(one, "database", "26257/TCP") for one in WITH_DATABASE},
    ),
}
"""Feature → flows that it adds to the defaults' and takes from them."""


def flows(found: tuple[Manifest, ...]) -> set[Flow]:
    """Return what the policies of a rendered chart allow."""
    made: set[Flow] = set()
    for policy in found:
        if policy["kind"] == "NetworkPolicy":
            me = policy["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component")
            for rule in policy["spec"].get("ingress") or ():
                made |= {(peer, me, port) for peer, port in _pairs(rule, "from")}
            for rule in policy["spec"].get("egress") or ():
                made |= {(me, peer, port) for peer, port in _pairs(rule, "to")}
    return made


def _pairs(rule: dict[str, Any], side: str) -> Iterator[tuple[str, str]]:
    ports = [f"{one['port']}/{one['protocol']}" for one in rule.get("ports") or ()] or ["any"]
    peers = [_peer(one) for one in rule.get(side) or ()] or ["anybody"]
    return ((peer, port) for peer in peers for port in ports)


def _peer(peer: dict[str, Any]) -> str:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        return "public" if block["cidr"] == "0.0.0.0/0" and block.get("except") else block["cidr"]
    selector = peer.get("namespaceSelector") or peer["podSelector"]
    labels = selector["matchLabels"]
    component = labels.get("app.kubernetes.io/component")
    if component:
        return str(component)
    return PEERS[next(f"{key}={value}" for key, value in labels.items())]
