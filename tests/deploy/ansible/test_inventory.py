"""The inventory finds hosts by their tags, and reaches them by SSM or through the bastion."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.ansible.machine import ANSIBLE, REGION, Cloud, ansible_environment
from tools.deploy_tools import PYTHON_TOOLS_DIR

pytestmark = pytest.mark.deploy


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    yield made
    made.stop()


def hosts(cloud: Cloud, home: Path) -> dict[str, Any]:
    run = subprocess.run(
        [PYTHON_TOOLS_DIR / "ansible-inventory", "-i", "inventory/dev.aws_ec2.yml", "--list"],
        cwd=ANSIBLE,
        env={**ansible_environment(), "AWS_ENDPOINT_URL": cloud.url, "ANSIBLE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    assert isinstance(found, dict)
    return found


def test_hosts_are_grouped_by_role_environment_and_zone(cloud: Cloud, tmp_path: Path) -> None:
    node, bastion = cloud.make_node(), cloud.make_node(role="bastion")
    cloud.make_node(environment="prod")

    found = hosts(cloud, tmp_path)

    assert found["role_storage_node"]["hosts"] == [node]
    assert found["role_bastion"]["hosts"] == [bastion]
    assert sorted(found["environment_dev"]["hosts"]) == sorted([node, bastion])
    assert found[f"zone_{REGION.replace('-', '_')}b"]["hosts"] == found["environment_dev"]["hosts"]
    assert set(found["_meta"]["hostvars"]) == {node, bastion}


@pytest.mark.parametrize("in_kubernetes", [True, False])
def test_a_nodes_ports_are_its_pods_in_kubernetes_and_else_the_hosts(
    cloud: Cloud, tmp_path: Path, in_kubernetes: bool
) -> None:
    node = cloud.make_node()
    stub = tmp_path / "kubectl"
    stub.write_text('#!/bin/sh\nfor last; do :; done\necho "pod-of-${last#spec.nodeName=}"\n')
    stub.chmod(0o755)
    said = told(
        cloud,
        tmp_path,
        node,
        "{{ private_dns_name }} {{ fileflux_node_address }} [{{ node_upgrade_kubernetes_node }}]",
        fileflux_kubernetes=in_kubernetes,
    )
    name = said[0]

    assert name.startswith("ip-")
    assert said[1:3] == ([f"pod-of-{name}", f"[{name}]"] if in_kubernetes else ["127.0.0.1", "[]"])


@pytest.mark.parametrize(
    ("connection", "address", "plugin"),
    [
        ("ssm", "instance_id", "community.aws.aws_ssm"),
        ("bastion", "private_ip_address", "ansible.builtin.ssh"),
    ],
)
def test_a_host_is_reached_by_its_id_or_by_its_private_address(
    cloud: Cloud, tmp_path: Path, connection: str, address: str, plugin: str
) -> None:
    node = cloud.make_node()
    template = "{{ ansible_host ~ ' ' ~ vars[word] ~ ' ' ~ ansible_connection }}"
    given = {"fileflux_connection": connection, "word": address}
    host, expected, used = told(cloud, tmp_path, node, template, **given)[:3]

    assert host == expected
    assert used == plugin


def told(cloud: Cloud, home: Path, node: str, template: str, **given: Any) -> list[str]:
    """The words that a template becomes for a host of the inventory."""
    arguments = [node, "-i", "inventory/dev.aws_ec2.yml", "-e", json.dumps(given)]
    arguments += ["-m", "ansible.builtin.debug", "-a", f"msg={template!r}"]
    environment = {**ansible_environment(), "AWS_ENDPOINT_URL": cloud.url}
    environment |= {"ANSIBLE_HOME": str(home), "PATH": f"{home}:{environment['PATH']}"}
    run = subprocess.run(
        [str(PYTHON_TOOLS_DIR / "ansible"), *arguments],
        cwd=ANSIBLE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.split("msg:")[1].split()
