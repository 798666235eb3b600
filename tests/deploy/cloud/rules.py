"""What every file below terraform/ keeps to. Each rule names the blocks that break it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.deploy.cloud.hcl import Block, blocks, nested, of_kind, source, value

Rule = Callable[[Path], Iterator[str]]
UNTAGGABLE: Final = frozenset(
    {
        "aws_acm_certificate_validation",
        "aws_autoscaling_group_tag",
        "aws_ce_cost_allocation_tag",
        "aws_cloudwatch_event_target",
        "aws_cloudwatch_log_metric_filter",
        "aws_cloudwatch_log_resource_policy",
        "aws_eks_access_policy_association",
        "aws_iam_role_policy",
        "aws_iam_role_policy_attachment",
        "aws_kms_alias",
        "aws_msk_cluster_policy",
        "aws_msk_configuration",
        "aws_msk_scram_secret_association",
        "aws_route",
        "aws_route_table_association",
        "aws_s3_bucket_lifecycle_configuration",
        "aws_s3_bucket_ownership_controls",
        "aws_s3_bucket_policy",
        "aws_s3_bucket_public_access_block",
        "aws_s3_bucket_server_side_encryption_configuration",
        "aws_s3_bucket_versioning",
        "aws_secretsmanager_secret_policy",
        "aws_secretsmanager_secret_version",
        "aws_sns_topic_policy",
        "aws_sns_topic_subscription",
        "aws_sqs_queue_policy",
        "aws_volume_attachment",
        "cloudflare_dns_record",
    }
)
"""Resources that take no tags; with the provider at hand, a slow test holds this against it."""
ENCRYPTED_BY: Final = {
    "aws_cloudwatch_log_group": "kms_key_id",
    "aws_ebs_volume": "kms_key_id",
    "aws_eks_cluster": "encryption_config",
    "aws_msk_cluster": "encryption_info",
    "aws_secretsmanager_secret": "kms_key_id",
    "aws_sns_topic": "kms_master_key_id",
    "aws_sqs_queue": "sqs_managed_sse_enabled",
}
"""Where data lies, and the argument that names our key."""
EVERYBODY: Final = re.compile(r"0\.0\.0\.0/0|::/0")
PUBLIC_PORT: Final = 443
LIST_ARGUMENT: Final = re.compile(
    r"^\s*(actions|resources)\s*=\s*(\[.*?\])", re.MULTILINE | re.DOTALL
)
WILDCARD: Final = re.compile(r'"(\*|[a-z0-9-]+:\*)"')


def variables_are_described_and_checked(folder: Path) -> Iterator[str]:
    """A switch has no wrong value; everything else has."""
    for one in of_kind("variable", folder):
        missing = [part for part in ("description", "type") if not one.value(part)]
        kind = str(one.value("type"))
        if "validation" not in one.body and "bool" not in kind:
            missing.append("validation")
        if missing:
            yield f"{one} has no {', '.join(missing)}"


def outputs_are_described(folder: Path) -> Iterator[str]:
    for one in of_kind("output", folder):
        if not one.value("description"):
            yield str(one)


def resources_are_tagged(folder: Path) -> Iterator[str]:
    """Default tags say whose it is and in which environment; the name says which one it is."""
    for one in of_kind("resource", folder):
        if one.labels[0] not in UNTAGGABLE and "Name" not in str(one.value("tags")):
            yield str(one)


def roots_tag_all_that_they_make(folder: Path) -> Iterator[str]:
    for one in of_kind("provider", folder):
        aws = one.body.get("aws")
        tags = str(value(aws, "default_tags")) if aws else "Project Environment ManagedBy"
        if any(word not in tags for word in ("Project", "Environment", "ManagedBy")):
            yield str(one)


def only_https_is_open_to_everybody(folder: Path) -> Iterator[str]:
    for one in of_kind("resource", folder):
        for rule in _ingress_rules(one):
            open_ = EVERYBODY.search(str(rule))
            ports = (value(rule, "from_port"), value(rule, "to_port"))
            if open_ and ports != (PUBLIC_PORT, PUBLIC_PORT):
                yield f"{one} lets {open_[0]} in at {ports}"


def _ingress_rules(block: Block) -> list[dict[str, Any]]:
    match block.labels[0]:
        case "aws_vpc_security_group_ingress_rule":
            return [block.body]
        case "aws_security_group_rule":
            return [] if block.value("type") == "egress" else [block.body]
        case "aws_security_group" | "aws_default_security_group":
            return nested(block.body, "ingress")
    return []


def wildcards_are_explained(folder: Path) -> Iterator[str]:
    """`# wildcard:` and the reason, in the lines above an argument that has one."""
    for one in blocks(folder):
        if one.kind in ("data", "resource"):
            yield from _unexplained(str(one), source(one))


def _unexplained(where: str, text: str) -> Iterator[str]:
    for found in LIST_ARGUMENT.finditer(text):
        above = text[: found.start()].rstrip("\n").splitlines()
        comment = []
        while above and above[-1].strip().startswith("#"):
            comment.append(above.pop().strip())
        explained = any(re.match(r"# wildcard: \S.{10,}", line) for line in comment)
        if WILDCARD.search(found[2]) and not explained:
            yield f"{where}: {found[1]} = {' '.join(found[2].split())}"


def policies_are_documents(folder: Path) -> Iterator[str]:
    """Policies as text escape the rule about wildcards."""
    for one in blocks(folder):
        if re.search(r"\bStatement\b", str(one.body)):
            yield str(one)


def data_at_rest_is_encrypted(folder: Path) -> Iterator[str]:
    for one in of_kind("resource", folder):
        argument = ENCRYPTED_BY.get(one.labels[0])
        if argument and not one.value(argument):
            yield f"{one} has no {argument}"
        if one.labels[0] == "aws_kms_key" and one.value("enable_key_rotation") is not True:
            yield f"{one} is not rotated"
        yield from _plain_disks(one)
    yield from _plain_buckets(folder)


def _plain_disks(block: Block) -> Iterator[str]:
    for name in ("root_block_device", "ebs_block_device", "ebs"):
        for disk in _anywhere(block.body, name):
            if value(disk, "encrypted") not in (True, "true") or not value(disk, "kms_key_id"):
                yield f"{block}: {name} is not encrypted by our key"


def _plain_buckets(folder: Path) -> Iterator[str]:
    """A bucket and its encryption are two resources, side by side in one folder."""
    kind = "aws_s3_bucket_server_side_encryption_configuration"
    encrypted = {one.path.parent for one in of_kind("resource", folder) if one.labels[0] == kind}
    for one in of_kind("resource", folder):
        if one.labels[0] == "aws_s3_bucket" and one.path.parent not in encrypted:
            yield str(one)


def _anywhere(body: Any, name: str) -> Iterator[dict[str, Any]]:
    if isinstance(body, list):
        for one in body:
            yield from _anywhere(one, name)
    if isinstance(body, dict):
        yield from nested(body, name)
        for one in body.values():
            yield from _anywhere(one, name)


def secrets_stay_out_of_the_state(folder: Path) -> Iterator[str]:
    """Plans and states are read by many; only write-only arguments stay out of them."""
    for one in of_kind("resource", folder):
        known = {"aws_secretsmanager_secret_version": "secret_string", "aws_ssm_parameter": "value"}
        argument = known.get(one.labels[0])
        if argument and argument in one.body:
            yield f"{one} has {argument}"
        if one.labels[0].startswith(("random_", "tls_")):
            yield f"{one} keeps its secret in the state"
    for one in of_kind("data", folder):
        if one.labels[0] in (
            "aws_secretsmanager_secret_version",
            "aws_secretsmanager_random_password",
        ):
            yield f"{one} reads a secret into the state"


def states_are_locked_and_encrypted(folder: Path) -> Iterator[str]:
    for one in of_kind("terraform", folder):
        backend = value(one.body, "backend")
        settings = backend.get("s3", {}) if backend else {}
        if backend and (value(settings, "use_lockfile"), value(settings, "encrypt")) != (
            True,
            True,
        ):
            yield str(one)


RULES: Final[tuple[Rule, ...]] = (
    variables_are_described_and_checked,
    outputs_are_described,
    resources_are_tagged,
    roots_tag_all_that_they_make,
    only_https_is_open_to_everybody,
    wildcards_are_explained,
    policies_are_documents,
    data_at_rest_is_encrypted,
    secrets_stay_out_of_the_state,
    states_are_locked_and_encrypted,
)
