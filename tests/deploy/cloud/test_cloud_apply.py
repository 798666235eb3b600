"""The base modules are planned, applied, planned again and destroyed against moto's server.

OpenTofu, the modules and moto are real; AWS's provider is not to be had, and a stand-in of ours
makes its calls (stand_in/server.py says what that leaves untried).
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from moto.server import ThreadedMotoServer
from tests.deploy.cloud.hcl import TERRAFORM
from tests.deploy.cloud.stand_in import data, ec2, others
from tests.deploy.cloud.stand_in.server import Cloud, StandIn
from tools.deploy_tools import path_of
from tools.provider_overrides import config_path

from fileflux.console.settings_reference import service_settings, variables_of
from fileflux.core.settings import load_settings
from fileflux.ingest.settings import IngestSettings

pytestmark = pytest.mark.deploy
ROOT_MODULE: Final = Path(__file__).parent / "moto" / "main.tf"
LOADED: Final = (data, ec2, others)
"""Their import registers the handlers."""


@dataclass
class World:
    """A folder that is applied, the cloud that it is applied to, and what was asked of it."""

    folder: Path
    stand_in: StandIn
    environment: dict[str, str]

    @property
    def cloud(self) -> Cloud:
        return self.stand_in.answers.cloud

    def tofu(self, *words: str) -> str:
        done = self._run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *words: str) -> str:
        """Return what it says when it does not do this."""
        done = self._run(*words)
        assert done.returncode == 1, done.stdout
        return " ".join(done.stderr.replace("│", " ").split())

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(path_of("tofu")), f"-chdir={self.folder}", *words]
        environment = {**self.environment, f"TF_CLI_ARGS_{words[0]}": "-no-color"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def apply(self, *options: str) -> str:
        return self.tofu("apply", "-auto-approve", "-input=false", *options)

    def is_unchanged(self, *options: str) -> bool:
        """Return whether a plan finds nothing to do; it reads what is there first."""
        words = ("plan", "-detailed-exitcode", "-input=false", *options)
        done = self._run(*words)
        assert done.returncode in (0, 2), done.stdout + done.stderr
        return done.returncode == 0

    def state(self) -> str:
        return (self.folder / "terraform.tfstate").read_text()

    def secret(self, entry: str) -> dict[str, str]:
        client = self.cloud.client("secretsmanager")
        text = client.get_secret_value(SecretId=f"fileflux/dev/{entry}")["SecretString"]
        return dict(json.loads(text))


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, moto_endpoint: str) -> Iterator[World]:
    """The base of an environment, applied once."""
    home = tmp_path_factory.mktemp("cloud")
    shutil.copytree(TERRAFORM / "modules", home / "modules")
    (home / "root").mkdir()
    shutil.copy(ROOT_MODULE, home / "root")
    with StandIn(moto_endpoint) as stand_in:
        environment = {**os.environ, "TF_CLI_CONFIG_FILE": str(config_path())}
        environment["SCHEMA_PROVIDER_STAND_IN"] = stand_in.url
        environment["TF_VAR_endpoint"] = moto_endpoint
        made = World(home / "root", stand_in, environment)
        made.tofu("get")
        made.apply()
        yield made


def rotated(**versions: int) -> str:
    return f"-var=secret_versions={json.dumps(versions)}"


def test_a_second_plan_finds_nothing_to_do(world: World) -> None:
    assert world.is_unchanged()


def test_a_change_from_outside_is_found(world: World) -> None:
    """The plan above is empty because things are as they should be, not because none is read."""
    client = world.cloud.client("kms")
    key = next(
        one["TargetKeyId"] for one in client.list_aliases()["Aliases"] if "ebs" in one["AliasName"]
    )
    client.disable_key_rotation(KeyId=key)
    try:
        assert not world.is_unchanged()
    finally:
        client.enable_key_rotation(KeyId=key)
    assert world.is_unchanged()


def test_services_accept_the_secrets_that_are_generated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fields of the entries are the variables of the settings classes, and valid there."""
    environment: dict[str, str] = {}
    for entry in ("database", "kafka", "keys", "root"):
        environment |= world.secret(entry)
    assert re.fullmatch("[0-9a-f]{64}", environment["FILEFLUX_MASTER_KEY"])
    assert set(environment) <= known_variables()
    assert urlsplit(environment["DATABASE_URL"]).hostname == "cockroachdb-public"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(IngestSettings)
    assert settings.master_key.get_secret_value() == environment["FILEFLUX_MASTER_KEY"]


def test_no_secret_is_in_the_state_or_in_a_plan(world: World) -> None:
    world.tofu("plan", "-out", "kept.tfplan", rotated(database=7))
    plan = world.tofu("show", "-json", "kept.tfplan")
    for entry in ("database", "kafka", "keys", "root"):
        for name, secret in world.secret(entry).items():
            if name != "KAFKA_SASL_USERNAME":
                assert secret not in world.state()
                assert secret not in plan
    assert "secret_string_wo_version" in world.state()


def test_a_raised_number_writes_that_entry_and_no_other(world: World) -> None:
    entries = ("database", "kafka", "keys", "root")
    before = {entry: world.secret(entry) for entry in entries}
    world.apply(rotated(database=2))
    after = {entry: world.secret(entry) for entry in entries}
    assert [one for one in entries if before[one] != after[one]] == ["database"]
    assert world.is_unchanged(rotated(database=2))


def test_the_master_key_is_not_exchanged_by_a_slip(world: World) -> None:
    kept = world.secret("keys")
    said = world.refused("apply", "-auto-approve", rotated(database=2, keys=2))
    assert "A new master key makes every user's S3 secret key unreadable" in said
    assert world.secret("keys") == kept


def test_each_zone_goes_out_by_its_own_gateway(world: World) -> None:
    assert len(gateways(world)) == 3
    assert len(set(exits(world).values())) == 3


def test_three_gateways_become_one_without_a_zone_left_inside(world: World) -> None:
    options = (rotated(database=2), "-var=nat_gateways=1")
    asked = world.stand_in.answers.asked
    before = len(asked)
    world.apply(*options)
    changes = [one for one in asked[before:] if one[0] in ("update", "delete")]
    last_route = max(n for n, one in enumerate(changes) if one == ("update", "aws_route"))
    assert last_route < changes.index(("delete", "aws_nat_gateway"))
    assert len(gateways(world)) == 1
    assert set(exits(world).values()) == set(gateways(world))
    assert len(exits(world)) == 3
    assert world.is_unchanged(*options)


def test_the_default_security_group_lets_nothing_through(world: World) -> None:
    vpc = json.loads(world.tofu("output", "-json", "vpc_id"))
    where = [{"Name": "vpc-id", "Values": [vpc]}]
    groups = world.cloud.client("ec2").describe_security_groups(Filters=where)["SecurityGroups"]
    rules = {one["GroupName"]: one["IpPermissions"] + one["IpPermissionsEgress"] for one in groups}
    assert rules["default"] == []
    (endpoints,) = rules["fileflux-dev-endpoints"]
    assert (endpoints["FromPort"], endpoints["IpRanges"][0]["CidrIp"]) == (443, "10.40.0.0/16")


def test_everything_says_whose_it_is(world: World) -> None:
    vpc = json.loads(world.tofu("output", "-json", "vpc_id"))
    where = [{"Name": "resource-id", "Values": [vpc]}]
    tags = world.cloud.client("ec2").describe_tags(Filters=where)["Tags"]
    assert {one["Key"]: one["Value"] for one in tags} == {
        "Name": "fileflux-dev",
        "Project": "fileflux",
        "Environment": "dev",
        "ManagedBy": "terraform",
    }


def test_no_key_lets_everybody_in_and_use_is_bound_to_a_service(world: World) -> None:
    """The policies as KMS got them, not as they are written."""
    policies = key_policies(world)
    assert set(policies) == {"ebs", "secrets", "logs", "cluster"}
    for name, statements in policies.items():
        for one in statements:
            if one["Principal"].get("AWS") == ["*"]:
                assert "aws:PrincipalArn" in str(one["Condition"]), (name, one)
            if "kms:Decrypt" in one["Action"]:
                assert one["Condition"], (name, one)
    assert "secretsmanager.eu-central-1.amazonaws.com" in str(policies["secrets"])
    assert "kms:Decrypt" not in policies["ebs"][0]["Action"], "administrators manage only"


def test_the_states_bucket_refuses_what_is_not_tls(world: World) -> None:
    client = world.cloud.client("s3")
    bucket = "fileflux-state-123456789012-eu-central-1"
    (statement,) = json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    blocks = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(blocks.values()) == {True}


def test_alarms_go_to_the_encrypted_topic_and_from_there_to_people(world: World) -> None:
    alarms = world.cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    (topic,) = {action for one in alarms for action in one["AlarmActions"]}
    assert len(alarms) == 4
    client = world.cloud.client("sns")
    settings = client.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert settings["KmsMasterKeyId"].startswith("arn:aws:kms:")
    (mail,) = client.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert mail["Endpoint"] == "alarms@example.com"


def test_cloudflare_gets_a_record_for_each_name(world: World) -> None:
    records = json.loads(world.tofu("output", "-json", "validation_records"))
    assert set(records) == {"s3.example.com", "*.s3.example.com"}
    assert {one["type"] for one in records.values()} == {"CNAME"}


def test_what_was_made_is_destroyed_again(world: World) -> None:
    """The last of this file: it takes the world away. Keys wait for thirty days."""
    world.tofu("destroy", "-auto-approve")
    cloud = world.cloud
    vpcs = cloud.client("ec2").describe_vpcs()["Vpcs"]
    assert [one["VpcId"] for one in vpcs if not one["IsDefault"]] == []
    assert cloud.client("secretsmanager").list_secrets()["SecretList"] == []
    assert cloud.client("logs").describe_log_groups()["logGroups"] == []
    assert cloud.client("s3").list_buckets()["Buckets"] == []
    assert cloud.client("iam").list_roles()["Roles"] == []
    kms = cloud.client("kms")
    keys = [one["KeyId"] for one in kms.list_keys()["Keys"]]
    states = {kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for key in keys}
    assert states == {"PendingDeletion"}


def known_variables() -> set[str]:
    return {name for _, kind in service_settings() for name in variables_of(kind)}


def gateways(world: World) -> list[str]:
    found = world.cloud.client("ec2").describe_nat_gateways()["NatGateways"]
    return [one["NatGatewayId"] for one in found if one["State"] == "available"]


def exits(world: World) -> dict[str, str]:
    """Route table to the NAT gateway that it leads out by."""
    tables = world.cloud.client("ec2").describe_route_tables()["RouteTables"]
    return {
        table["RouteTableId"]: route["NatGatewayId"]
        for table in tables
        for route in table["Routes"]
        if route.get("NatGatewayId")
    }


def key_policies(world: World) -> dict[str, list[dict[str, Any]]]:
    """The statements of each key's policy, by the end of its alias; the states' key apart."""
    client = world.cloud.client("kms")
    found = {}
    for one in client.list_aliases()["Aliases"]:
        if one["AliasName"].startswith("alias/fileflux-dev-"):
            policy = client.get_key_policy(KeyId=one["TargetKeyId"], PolicyName="default")["Policy"]
            name = one["AliasName"].removeprefix("alias/fileflux-dev-")
            found[name] = json.loads(policy)["Statement"]
    return found
