"""Turn Terraform's outputs into the values of a Helm chart: what is where in the account.

    tofu -chdir=terraform/environments/prod output -json \
        | python tools/helm_values_from_outputs.py fileflux > prod-fileflux.yaml
    helm upgrade --install fileflux helm/fileflux \
        --values helm/fileflux/values-prod.yaml --values prod-fileflux.yaml

Charts: fileflux, cockroachdb, kafka, karpenter (NodePools), external-dns (its token); and, with
-controller, the charts of Karpenter and ExternalDNS themselves. No secret passes here: values name
entries of Secrets Manager. Outputs that lack something are refused with status 1 and what to do.
"""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, Final

import yaml

Values = dict[str, Any]
ON_DEMAND: Final = {"karpenter.sh/capacity-type": "on-demand"}
"""Nodes that AWS does not take back with two minutes' notice."""
MSK_PORT: Final = 9096
"""Where MSK listens for SCRAM over TLS."""
VOLUME_CLASS: Final = "fileflux-gp3"
"""The encrypted class of volumes that helm/karpenter makes."""


class Refused(Exception):
    """The outputs are not those of terraform/environments; the message says what to do."""


class Outputs:
    """The object `fileflux`, whose parts are asked for by path: `at("cluster", "name")`."""

    def __init__(self, text: str) -> None:
        """Raise Refused unless `text` is what `tofu output -json` prints for an environment."""
        try:
            self._all = json.loads(text)["fileflux"]["value"]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(
                "no output `fileflux`: pipe `tofu -chdir=terraform/environments/ENV output -json`"
                " of an environment that has been applied"
            ) from error

    def at(self, *path: str) -> str:
        """Return the text at the path. Raises Refused if it is absent, empty or no text."""
        found: Any = self._all
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        if not isinstance(found, str) or not found:
            raise Refused(
                f"output fileflux.{'.'.join(path)} is missing: apply the environment first"
            )
        return found


def fileflux(outputs: Outputs) -> Values:
    """The chart helm/fileflux. Staging's bucket is named; `ingest.staging.mode` decides its use."""
    region, environment = outputs.at("region"), outputs.at("environment")
    made: Values = {
        "secrets": {
            "provider": "csi",
            "csi": {"region": region, "prefix": f"fileflux/{environment}", "usePodIdentity": True},
        },
        "archive": {"url": f"s3://{outputs.at('buckets', 'archive')}/audit", "region": region},
        "ingest": {
            "domains": [outputs.at("domain_name")],
            "staging": {
                "storageClass": VOLUME_CLASS,
                "s3": {"bucket": outputs.at("buckets", "staging"), "region": region},
            },
        },
    }
    if outputs.at("kafka", "kind") == "msk":
        made["kafka"] = _msk(outputs)
        brokers = [{"ipBlock": {"cidr": outputs.at("network", "vpc_cidr")}}]
        made["networkPolicy"] = {"kafka": {"to": brokers, "ports": [MSK_PORT]}}
    return made


def _msk(outputs: Outputs) -> Values:
    """MSK's certificates are Amazon's, which the system trusts; it has one user for all."""
    return {
        "bootstrapServers": outputs.at("kafka", "bootstrap_servers"),
        "securityProtocol": "SASL_SSL",
        "saslMechanism": "SCRAM-SHA-512",
        "userPerComponent": False,
        "ca": {"secret": ""},
    }


def cockroachdb(outputs: Outputs) -> Values:
    """The chart helm/cockroachdb: its backups go to S3 with the pods' own role."""
    return {
        "region": outputs.at("region"),
        "nodeSelector": ON_DEMAND,
        "storage": {"className": VOLUME_CLASS},
        "backup": {
            "enabled": True,
            "url": f"s3://{outputs.at('buckets', 'backups')}/cockroachdb?AUTH=implicit",
        },
    }


def kafka(outputs: Outputs) -> Values:
    """The chart helm/kafka: its volumes are of the class that helm/karpenter makes."""
    if outputs.at("kafka", "kind") != "strimzi":
        raise Refused("this environment's Kafka is MSK: helm/kafka is not installed there")
    return {"storageClass": {"create": False, "name": VOLUME_CLASS}}


def karpenter(outputs: Outputs) -> Values:
    """The chart helm/karpenter: NodePools and node classes."""
    cluster = {
        "name": outputs.at("cluster", "name"),
        "endpoint": outputs.at("cluster", "endpoint"),
        "authority": outputs.at("cluster", "authority"),
        "dnsIp": outputs.at("cluster", "dns_ip"),
        "securityGroupId": outputs.at("cluster", "security_group_id"),
    }
    node = {
        "instanceProfile": outputs.at("karpenter", "instance_profile"),
        "ebsKeyArn": outputs.at("storage_nodes", "ebs_key_arn"),
    }
    return {
        "cluster": cluster,
        "environment": outputs.at("environment"),
        "image": {"id": outputs.at("storage_nodes", "image_id")},
        "node": node,
    }


def karpenter_controller(outputs: Outputs) -> Values:
    """Karpenter's own chart, beside helm/karpenter/controller.yaml."""
    role = outputs.at("karpenter", "controller_role_arn")
    return {
        "settings": {
            "clusterName": outputs.at("cluster", "name"),
            "clusterEndpoint": outputs.at("cluster", "endpoint"),
            "interruptionQueue": outputs.at("karpenter", "interruption_queue"),
        },
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": role}},
    }


def external_dns(outputs: Outputs) -> Values:
    """The chart helm/external-dns: which entry holds Cloudflare's token."""
    return {"region": outputs.at("region"), "secret": outputs.at("cloudflare")}


def external_dns_controller(outputs: Outputs) -> Values:
    """ExternalDNS's own chart, beside helm/external-dns/controller.yaml."""
    return {
        "domainFilters": [outputs.at("domain_name")],
        "txtOwnerId": outputs.at("cluster", "name"),
    }


CHARTS: Final[dict[str, Callable[[Outputs], Values]]] = {
    "fileflux": fileflux,
    "cockroachdb": cockroachdb,
    "kafka": kafka,
    "karpenter": karpenter,
    "karpenter-controller": karpenter_controller,
    "external-dns": external_dns,
    "external-dns-controller": external_dns_controller,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("chart", choices=CHARTS, help="whose values to print")
    chart: str = parser.parse_args().chart
    try:
        values = CHARTS[chart](Outputs(sys.stdin.read()))
    except Refused as error:
        print(f"helm_values_from_outputs: {error}", file=sys.stderr)
        return 1
    print("# Made by tools/helm_values_from_outputs.py from Terraform's outputs; holds no secret.")
    print(yaml.safe_dump(values, sort_keys=False), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
