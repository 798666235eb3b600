"""Buckets, identities and Karpenter's rights, applied to moto's server and asked there.

Who may what is worked out from the policies that IAM got: statements that allow and match.
Conditions are not: the modules' own tests hold these.
"""

import json
import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer
from tests.deploy.cloud.hcl import TERRAFORM
from tests.deploy.cloud.stand_in import cluster, data, others
from tests.deploy.cloud.stand_in.server import StandIn
from tests.deploy.cloud.test_cloud_apply import World
from tools.provider_overrides import config_path

pytestmark = pytest.mark.deploy
ROOT_MODULE: Final = Path(__file__).parent / "moto_cluster" / "main.tf"
LOADED: Final = (cluster, data, others)
"""Their import registers the handlers."""
BUCKET: Final = "arn:aws:s3:::fileflux-dev-{}-123456789012-eu-central-1"
SECRET: Final = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fileflux/dev/{}"
INSTANCE: Final = "arn:aws:ec2:eu-central-1:123456789012:instance/i-0"
MAY: Final = [
    ("fileflux-ingest", "s3:PutObject", BUCKET.format("staging") + "/a", True),
    ("fileflux-ingest", "s3:DeleteObject", BUCKET.format("staging") + "/a", True),
    ("fileflux-ingest", "s3:GetObject", BUCKET.format("archive") + "/a", True),
    ("fileflux-ingest", "s3:PutObject", BUCKET.format("archive") + "/a", False),
    ("fileflux-archiver", "s3:PutObject", BUCKET.format("archive") + "/a", True),
    ("fileflux-archiver", "s3:DeleteObject", BUCKET.format("archive") + "/a", False),
    ("cockroachdb", "s3:PutObject", BUCKET.format("backups") + "/a", True),
    ("cockroachdb", "s3:GetObject", BUCKET.format("archive") + "/a", False),
    ("fileflux-ingest", "secretsmanager:GetSecretValue", SECRET.format("root"), True),
    ("fileflux-webhooks", "secretsmanager:GetSecretValue", SECRET.format("root"), False),
    ("fileflux-storage-node", "secretsmanager:GetSecretValue", SECRET.format("database"), False),
    ("external-dns", "secretsmanager:GetSecretValue", SECRET.format("cloudflare"), True),
    ("external-dns", "secretsmanager:GetSecretValue", SECRET.format("keys"), False),
    ("karpenter", "ec2:TerminateInstances", INSTANCE, True),
    ("karpenter", "iam:CreateInstanceProfile", "*", False),
    ("karpenter", "iam:PassRole", "arn:aws:iam::123456789012:role/fileflux-dev-storage", False),
    ("stateless-node", "s3:GetObject", BUCKET.format("archive") + "/a", False),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server that knows the policies which AWS manages, by its own list of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
        server = ThreadedMotoServer(port=0)
        server.start()
        host, port = server.get_host_and_port()
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST"), timeout=60).close()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Iterator[World]:
    home = tmp_path_factory.mktemp("cluster")
    shutil.copytree(TERRAFORM / "modules", home / "modules")
    (home / "root").mkdir()
    shutil.copy(ROOT_MODULE, home / "root")
    with StandIn(endpoint) as stand_in:
        environment = {**os.environ, "TF_CLI_CONFIG_FILE": str(config_path())}
        environment["SCHEMA_PROVIDER_STAND_IN"] = stand_in.url
        environment["TF_VAR_endpoint"] = endpoint
        made = World(home / "root", stand_in, environment)
        made.tofu("get")
        made.apply()
        yield made


def statements(world: World, role: str) -> list[dict[str, Any]]:
    """Return what the role's own policies say; managed ones are AWS's."""
    client, name = world.cloud.client("iam"), f"fileflux-dev-{role}"
    found = []
    for policy in client.list_role_policies(RoleName=name)["PolicyNames"]:
        got = client.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        found += got["Statement"]
    return found


def matches(statement: dict[str, Any], action: str, resource: str) -> bool:
    return any(fnmatchcase(action, one) for one in statement["Action"]) and any(
        fnmatchcase(resource, one) for one in statement["Resource"]
    )


def test_a_second_plan_finds_nothing_to_do(world: World) -> None:
    assert world.is_unchanged()


@pytest.mark.parametrize(("role", "action", "resource", "allowed"), MAY)
def test_a_role_may_do_its_work_and_no_more(
    world: World, role: str, action: str, resource: str, allowed: bool
) -> None:
    said = statements(world, role)
    assert any(matches(one, action, resource) for one in said) is allowed


def test_buckets_are_private_encrypted_and_refuse_plain_http(world: World) -> None:
    client = world.cloud.client("s3")
    for purpose in ("archive", "staging", "backups"):
        where = {"Bucket": BUCKET.format(purpose).rsplit(":", 1)[1]}
        block = client.get_public_access_block(**where)["PublicAccessBlockConfiguration"]
        assert all(block.values())
        assert len(block) == 4
        rules = client.get_bucket_encryption(**where)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        [deny] = json.loads(client.get_bucket_policy(**where)["Policy"])["Statement"]
        assert deny["Effect"] == "Deny"
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}


def test_the_queue_takes_news_from_its_four_rules_alone(world: World) -> None:
    events, sqs = world.cloud.client("events"), world.cloud.client("sqs")
    url = sqs.get_queue_url(QueueName="fileflux-dev-karpenter")["QueueUrl"]
    got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    rules = events.list_rules(NamePrefix="fileflux-dev-karpenter-")["Rules"]
    targets = [events.list_targets_by_rule(Rule=one["Name"])["Targets"] for one in rules]
    assert [[one["Arn"] for one in found] for found in targets] == [[got["QueueArn"]]] * 4
    [allow] = [one for one in json.loads(got["Policy"])["Statement"] if one["Effect"] == "Allow"]
    assert sorted(allow["Condition"]["ArnEquals"]["aws:SourceArn"]) == sorted(
        one["Arn"] for one in rules
    )


def test_all_of_it_can_be_destroyed(world: World) -> None:
    world.tofu("destroy", "-auto-approve")
    names = [one["RoleName"] for one in world.cloud.client("iam").list_roles()["Roles"]]
    assert [one for one in names if one.startswith("fileflux-dev")] == []
    assert world.cloud.client("s3").list_buckets()["Buckets"] == []
