"""What holds storage nodes, identities and environments together, read from the files."""

import re
from pathlib import Path
from typing import Final

import pytest
from tests.deploy.kube.rendered import Manifest, rendered
from tools.helm_values_from_outputs import VOLUME_CLASS

ROOT: Final = Path(__file__).parents[3]
MODULES: Final = ROOT / "terraform/modules"
ENVIRONMENTS: Final = ROOT / "terraform/environments"
SECTION: Final = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
VARIABLE: Final = re.compile(r"^\| `([A-Z_]+)` ", re.MULTILINE)
LIST: Final = re.compile(r'^    ([a-z-]+)\s*= \[(["a-z, -]+)\]$', re.MULTILINE)
ENTRIES: Final = {
    "DATABASE_URL": "database",
    "KAFKA_SASL_PASSWORD": "kafka",
    "FILEFLUX_MASTER_KEY": "keys",
    "FILEFLUX_CLUSTER_SECRET": "keys",
    "FILEFLUX_ROOT_SECRET_KEY": "root",
    "FILEFLUX_AUDIT_KEY_FILE": "audit-key",
}
"""Variable of a service to the entry of Secrets Manager that holds it."""
SERVICES: Final = {
    "ingest": {"ingest"},
    "placement": {"placement"},
    "materializer": {"metadata", "metadata materializer"},
    "sequencer": {"metadata", "metadata sequencer"},
    "archiver": {"metadata", "metadata archiver"},
    "webhooks": {"webhooks"},
    "storage-node": {"storage_node"},
}
"""Component to its names in the settings' reference. migrate speaks with the database alone."""


def text_of(*parts: str) -> str:
    return MODULES.joinpath(*parts).read_text()


def granted() -> dict[str, set[str]]:
    block = text_of("access", "main.tf").split("component_secrets = {")[1].split("}")[0]
    return {name: set(re.findall(r"[a-z-]+", entries)) for name, entries in LIST.findall(block)}


def read_by(component: str) -> set[str]:
    """Return the entries whose variables docs/reference/settings.md gives the component."""
    needed = set()
    reference = (ROOT / "docs/reference/settings.md").read_text()
    for title, body in SECTION.findall(reference):
        readers = re.search(r"^Read by: (.+)\.$", body, re.MULTILINE)
        names = set(readers[1].split(", ")) if readers else {title}
        if title == "Every service" or names & SERVICES[component]:
            needed |= {ENTRIES[one] for one in VARIABLE.findall(body) if one in ENTRIES}
    return needed


@pytest.mark.parametrize("component", SERVICES)
def test_a_component_may_read_exactly_the_secrets_of_its_settings(component: str) -> None:
    assert granted()[component] == read_by(component)


def test_every_component_has_a_role_and_migrate_reads_the_database_alone() -> None:
    assert granted().keys() == SERVICES.keys() | {"migrate"}
    assert granted()["migrate"] == {"database"}


def test_no_plan_destroys_a_pools_disk_or_replaces_a_running_node() -> None:
    main = text_of("storage_nodes", "main.tf")
    disk = main.split('resource "aws_ebs_volume" "data"')[1].split("\nresource ")[0]
    node = main.split('resource "aws_instance" "node"')[1].split("\nresource ")[0]
    assert "prevent_destroy = true" in disk
    assert re.search(r"final_snapshot\s+= true", disk)
    assert '"fileflux:node" = aws_instance.node[each.value.node].id' in disk
    assert "ignore_changes = [ami, user_data_base64]" in node


def test_dev_and_prod_differ_only_in_what_they_pass_to_one_module() -> None:
    """What an environment asks of people, keeps and gives out is the same text."""
    for name in ("versions.tf", "variables.tf", "outputs.tf", "terraform.tfvars.example"):
        dev, prod = ((ENVIRONMENTS / one / name).read_text() for one in ("dev", "prod"))
        assert dev.replace("dev", "ENV") == prod.replace("prod", "ENV"), name
    for one in ("dev", "prod"):
        main = (ENVIRONMENTS / one / "main.tf").read_text()
        assert re.findall(r'^(\w+) "(\w+)"', main, re.MULTILINE) == [("module", "fileflux")]
        assert f'environment         = "{one}"' in main


def test_states_are_locked_in_s3_and_apart_by_environment() -> None:
    for one in ("dev", "prod"):
        text = (ENVIRONMENTS / one / "versions.tf").read_text()
        assert re.search(r"use_lockfile\s+= true", text)
        assert f'"environments/{one}/terraform.tfstate"' in text


def test_msk_promises_what_strimzis_kafka_promises() -> None:
    """The same sizes, copies and refusals, whichever Kafka an environment has."""
    [kafka] = [one for one in rendered("kafka", "values.yaml") if one["kind"] == "Kafka"]
    strimzi = {name: str(value).lower() for name, value in kafka["spec"]["kafka"]["config"].items()}
    text = text_of("kafka", "main.tf").split("<<-EOT")[1].split("EOT")[0]
    msk = dict(line.strip().split("=", 1) for line in text.strip().splitlines())
    ours = msk.keys() - {"allow.everyone.if.no.acl.found"}  # MSK has one user, and no ACLs.
    assert {name: msk[name] for name in ours} == {name: strimzi[name] for name in ours}
    assert ours >= {"min.insync.replicas", "message.max.bytes", "auto.create.topics.enable"}


def pool(name: str) -> Manifest:
    objects = rendered("karpenter", "values-storage.yaml")
    return next(
        one for one in objects if one["kind"] == "NodePool" and one["metadata"]["name"] == name
    )


def node_classes() -> list[Manifest]:
    objects = rendered("karpenter", "values-storage.yaml")
    return [one for one in objects if one["kind"] == "EC2NodeClass"]


def test_karpenters_storage_nodes_look_like_terraforms() -> None:
    """The chart's storage nodes select one label and tolerate one taint, whoever made the host."""
    user_data = text_of("storage_nodes", "user_data.sh.tftpl")
    template = pool("fileflux-storage")["spec"]["template"]
    [(label, value)] = template["metadata"]["labels"].items()
    [taint] = template["spec"]["taints"]
    assert f"--node-labels={label}={value} " in user_data
    assert f"--register-with-taints={taint['key']}={taint['value']}:{taint['effect']}'" in user_data
    tolerated = re.search(r"on_storage_nodes = \[\{(.+?)\}\]", text_of("addons", "main.tf"), re.S)
    assert tolerated
    assert all(f'"{taint[part]}"' in tolerated[1] for part in ("key", "value", "effect"))


def test_storage_nodes_are_on_demand_and_nobody_but_a_person_ends_them() -> None:
    spec = pool("fileflux-storage")["spec"]
    capacity = [
        one["values"]
        for one in spec["template"]["spec"]["requirements"]
        if one["key"] == "karpenter.sh/capacity-type"
    ]
    assert capacity == [["on-demand"]]
    assert spec["disruption"]["consolidateAfter"] == "Never"
    assert spec["disruption"]["budgets"] == [{"nodes": "0"}]
    assert spec["template"]["spec"]["expireAfter"] == "Never"


def test_storage_nodes_by_karpenter_are_off_unless_asked_for_and_keep_their_disks() -> None:
    made = {(one["kind"], one["metadata"]["name"]) for one in rendered("karpenter")}
    nodes = {one for one in made if one[0] != "StorageClass"}
    assert nodes == {("EC2NodeClass", "fileflux-stateless"), ("NodePool", "fileflux-stateless")}
    classes = node_classes()
    storage = next(one for one in classes if one["metadata"]["name"] == "fileflux-storage")
    disks = storage["spec"]["blockDeviceMappings"]
    assert [one["ebs"]["deleteOnTermination"] for one in disks] == [True, False, False]
    assert len({one["deviceName"] for one in disks}) == 3
    assert all(one["ebs"]["encrypted"] and one["ebs"]["kmsKeyID"] for one in disks)


def test_all_nodes_join_in_the_same_way() -> None:
    """What user data of Terraform's hosts does, that of Karpenter's does too."""
    assert len(node_classes()) == 2
    ours = text_of("storage_nodes", "user_data.sh.tftpl")
    options = re.findall(r"--[a-z0-9-]+ ", ours)
    for one in node_classes():
        user_data = one["spec"]["userData"]
        assert re.findall(r"--[a-z0-9-]+ ", user_data) == options
        assert "karpenter.sh/unregistered:NoExecute" in user_data
        assert one["spec"]["metadataOptions"]["httpTokens"] == "required"


def test_claims_get_encrypted_volumes_that_outlive_them() -> None:
    [made] = [one for one in rendered("karpenter") if one["kind"] == "StorageClass"]
    assert made["metadata"]["name"] == VOLUME_CLASS
    assert made["parameters"]["encrypted"] == "true"
    assert made["parameters"]["kmsKeyId"].startswith("arn:aws:kms:")
    assert made["reclaimPolicy"] == "Retain"
