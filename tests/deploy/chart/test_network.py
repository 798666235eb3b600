"""Everything is denied but a table of flows, and a flow has both its ends."""

from copy import deepcopy
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from tests.deploy.chart.flows import EXPECTED, MORE, flows
from tests.deploy.chart.matrix import POINTS, manifests, of_kind, with_values

from fileflux.webhooks.egress import PORTS

SWITCHED_OFF = {"without the optional"}
OTHERS = {"kafka", "database", "dns", "monitoring", "public", "anybody"}


@pytest.mark.parametrize("point", ["values.yaml", *MORE])
def test_policies_allow_the_flows_of_the_table_and_no_other(point: str) -> None:
    added, taken = MORE.get(point, (set(), set()))
    assert flows(manifests(point)) == (EXPECTED - taken) | added


@pytest.mark.parametrize("point", [point for point in POINTS if point not in SWITCHED_OFF])
def test_every_pod_is_denied_what_no_policy_allows(point: str) -> None:
    deny = of_kind(manifests(point), "NetworkPolicy")["fileflux-default-deny"]["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not deny.get("ingress")
    assert not deny.get("egress")
    for workload in of_kind(manifests(point), "Deployment", "StatefulSet", "Job").values():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert deny["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("point", [point for point in POINTS if point not in SWITCHED_OFF])
def test_between_our_own_pods_both_ends_allow_a_flow(point: str) -> None:
    """Who may be called by us may be called: one end alone would be silence."""
    found = manifests(point)
    policies = of_kind(found, "NetworkPolicy").values()
    for one in policies:
        for side, other in (("ingress", "egress"), ("egress", "ingress")):
            for peer, port in _own_peers(one["spec"].get(side) or ()):
                me = one["spec"]["podSelector"]["matchLabels"]
                answering = [
                    policy
                    for policy in policies
                    if policy["spec"]["podSelector"]["matchLabels"] == peer
                    and _allows(policy["spec"].get(other) or (), me, port)
                ]
                assert answering, (one["metadata"]["name"], side, peer, port)


def _own_peers(rules: Any) -> list[tuple[dict[str, str], int]]:
    return [
        (peer["podSelector"]["matchLabels"], port["port"])
        for rule in rules
        for side in ("from", "to")
        for peer in rule.get(side) or ()
        if "app.kubernetes.io/component" in peer.get("podSelector", {}).get("matchLabels", {})
        for port in rule["ports"]
    ]


def _allows(rules: Any, me: dict[str, str], port: int) -> bool:
    for rule in rules:
        peers = rule.get("from") or rule.get("to")
        is_peer = not peers or any(
            one.get("podSelector", {}).get("matchLabels") == me for one in peers
        )
        if is_peer and any(one["port"] == port for one in rule["ports"]):
            return True
    return False


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.23", "168.63.129.16", "100.64.0.1", "127.0.0.1"),
        *("10.0.0.1", "172.20.0.1", "192.168.1.1"),
    ],
)
def test_deliveries_reach_no_address_inside(address: str) -> None:
    """Neither a cloud's metadata nor a neighbour, whatever a subscriber's name resolves to."""
    policies = of_kind(manifests("values.yaml"), "NetworkPolicy")
    rules = policies["fileflux-webhooks"]["spec"]["egress"]
    blocks = [peer["ipBlock"] for rule in rules for peer in rule["to"] if "ipBlock" in peer]
    assert blocks
    for block in blocks:
        inside = ip_address(address) in ip_network(block["cidr"])
        excepted = any(ip_address(address) in ip_network(one) for one in block["except"])
        assert not inside or excepted


def test_deliveries_may_use_every_port_that_the_service_knows() -> None:
    allowed = {
        int(port.split("/")[0])
        for me, peer, port in flows(manifests("values.yaml"))
        if (me, peer) == ("webhooks", "public")
    }
    assert allowed == set(PORTS)


def test_s3_can_be_kept_for_a_gateway() -> None:
    found = with_values(
        "networkPolicy.s3From[0].podSelector.matchLabels.strimzi\\.io/cluster=kafka"
    )
    callers = {me for me, peer, port in flows(found) if (peer, port) == ("ingest", "9000/TCP")}
    assert callers == {"kafka", "test"}


def test_a_flow_too_many_and_one_too_few_are_found() -> None:
    changed = deepcopy(manifests("values.yaml"))
    policy = of_kind(changed, "NetworkPolicy")["fileflux-placement"]["spec"]
    policy["ingress"].append({"ports": [{"protocol": "TCP", "port": 22}]})
    policy["egress"].pop()
    assert flows(changed) ^ EXPECTED == {
        ("anybody", "placement", "22/TCP"),
        ("placement", "database", "26257/TCP"),
    }
