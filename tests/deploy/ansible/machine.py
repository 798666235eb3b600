"""A storage node without a cloud: moto's EC2, a zfs-fuse in a mount namespace, and a kernel's part.

moto keeps volumes and attachments. Here a thread asks it, and makes and takes away what udev would:
/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol…, a sparse file of the volume's size. Playbooks
run inside the namespace by the local connection, so `zpool` meets this zfs-fuse and these disks.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from tools.deploy_tools import PYTHON_TOOLS_DIR

from fileflux.console.loopback_ports import free_tcp_ports

ROOT: Final = Path(__file__).parents[3]
ANSIBLE: Final = ROOT / "ansible"
REGION: Final = "eu-central-1"
WAIT_S: Final = 60
RUN_S: Final = 300
GIB: Final = 2**30
_NAMESPACE: Final = """
set -e
for name in run etc lib lock by-id; do mkdir -p "$1/$name"; done
mkdir -p /run/zfs /etc/zfs /var/lib/zfs /var/lock/zfs /dev/disk/by-id
mount --bind "$1/run" /run/zfs
mount --bind "$1/etc" /etc/zfs
mount --bind "$1/lib" /var/lib/zfs
mount --bind "$1/lock" /var/lock/zfs
mount --bind "$1/by-id" /dev/disk/by-id
cp "$(command -v zpool)" /run/zfs/zpool
mount --bind "$2" "$(command -v zpool)"
exec zfs-fuse --no-daemon
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


def ansible_environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "PATH": f"{PYTHON_TOOLS_DIR}:/usr/local/sbin:/usr/sbin:/sbin:{os.environ['PATH']}",
        "PYTHONPATH": "",
        "LC_ALL": "C.UTF-8",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class Cloud:
    """moto's server, a process of its own, and one client."""

    def __init__(self) -> None:
        (self.port,) = free_tcp_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-p", str(self.port)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, **quiet)  # type: ignore[call-overload]
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        self.ec2 = boto3.client("ec2", endpoint_url=self.url, region_name=REGION, **keys)
        wait_for(self._answers, "moto's server does not answer")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def make_node(self, environment: str = "dev", role: str = "storage-node") -> str:
        tags = {"Project": "fileflux", "Environment": environment, "Role": role}
        instance = self.ec2.run_instances(
            ImageId=self.ec2.describe_images()["Images"][0]["ImageId"],
            MinCount=1,
            MaxCount=1,
            Placement={"AvailabilityZone": f"{REGION}b"},
            TagSpecifications=[{"ResourceType": "instance", "Tags": _tag_list(tags)}],
        )["Instances"][0]
        return str(instance["InstanceId"])

    def volumes(self, instance_id: str) -> list[dict[str, Any]]:
        """Every volume that was ever made for this node and lives."""
        filters = [{"Name": "tag:fileflux:node", "Values": [instance_id]}]
        return list(self.ec2.describe_volumes(Filters=filters)["Volumes"])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def link_of(volume_id: str) -> str:
    return f"nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"


@dataclass(frozen=True)
class Run:
    """One playbook's run: its exit status, its output and what each task did."""

    status: int
    output: str
    events: list[dict[str, Any]]

    @property
    def results(self) -> list[dict[str, Any]]:
        return [event for event in self.events if "status" in event]

    @property
    def changed(self) -> list[str]:
        """Tasks that changed something, as the playbook says."""
        return [event["task"] for event in self.results if event["changed"]]

    @property
    def failures(self) -> str:
        return "\n".join(e["message"] for e in self.results if e["status"] == "failed")


class Node:
    """One host with its pool."""

    def __init__(self, root: Path, cloud: Cloud) -> None:
        self.root = root
        self.cloud = cloud
        self.instance_id = cloud.make_node()
        self.by_id = root / "by-id"
        self.mount = root / "data"
        self.variables: dict[str, Any] = {}
        self.more_nodes: dict[str, dict[str, Any]] = {}
        """Other hosts of the inventory, all on this machine, by what they know."""
        self._stopped = threading.Event()
        self._daemon = subprocess.Popen(
            [
                "unshare",
                "-m",
                "--propagation",
                "private",
                "bash",
                "-c",
                _NAMESPACE,
                "-",
                str(root),
                str(Path(__file__).with_name("zpool_of_files.sh")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: self.zfs("zpool", "list", check=False).returncode == 0, "no zfs-fuse")
        self._kernel = threading.Thread(target=self._watch, daemon=True)
        self._kernel.start()

    def stop(self) -> None:
        self._stopped.set()
        self._kernel.join()
        self._daemon.kill()
        self._daemon.wait()

    def _watch(self) -> None:
        """The kernel and udev: devices follow the cloud's attachments and sizes."""
        while not self._stopped.wait(0.1):
            with contextlib.suppress(Exception):
                self._show_devices()

    def _show_devices(self) -> None:
        there = {}
        for volume in self.cloud.ec2.describe_volumes()["Volumes"]:
            homes = [(one["InstanceId"], one["State"]) for one in volume["Attachments"]]
            if (self.instance_id, "attached") in homes:
                there[link_of(volume["VolumeId"])] = volume["Size"] * GIB
        for name, size in there.items():
            path = self.by_id / name
            path.touch()
            if path.stat().st_size < size:
                os.truncate(path, size)
        for path in self.by_id.iterdir():
            if path.name.startswith("nvme-Amazon") and path.name not in there:
                path.unlink()

    def zfs(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["nsenter", "-t", str(self._daemon.pid), "-m", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=60)

    def vdevs(self) -> list[list[str]]:
        """The pool's vdevs, each with its disks' names, as `zpool status` lists them."""
        found: list[list[str]] = []
        for line in self.zfs("zpool", "status", "fileflux").stdout.splitlines():
            word = line.split()[0] if line.split() else ""
            if word.startswith(("mirror-", "raidz")):
                found.append([])
            elif "/" in word:
                found[-1].append(Path(word).name)
        return found

    def size(self) -> str:
        return self.zfs("zpool", "list", "-H", "-o", "size", "fileflux").stdout.strip()

    def play(
        self,
        playbook: str,
        *options: str,
        break_at: int = 0,
        confirm: bool = True,
        **variables: Any,
    ) -> Run:
        """Run a playbook inside the namespace."""
        record = self.root / "record.jsonl"
        record.write_text("")
        inventory = self.root / "hosts.json"
        inventory.write_text(json.dumps(self._inventory()))
        given = {**({"confirm": "yes"} if confirm else {}), **variables}
        command = ["nsenter", "-t", str(self._daemon.pid), "-m", "ansible-playbook"]
        command += [
            "-i",
            str(inventory),
            str(ANSIBLE / "playbooks" / playbook),
            "-e",
            json.dumps(given),
        ]
        done = subprocess.run(
            [*command, *options],
            cwd=ANSIBLE,
            env=self._environment(record, break_at),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        events = [json.loads(line) for line in record.read_text().splitlines()]
        return Run(done.returncode, done.stdout, events)

    def _environment(self, record: Path, break_at: int) -> dict[str, str]:
        return {
            **ansible_environment(),
            "AWS_ENDPOINT_URL": self.cloud.url,
            "ANSIBLE_LOCAL_TEMP": str(self.root / "tmp"),
            "ANSIBLE_HOME": str(self.root / "home"),
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callbacks")),
            "ANSIBLE_CALLBACKS_ENABLED": "fileflux_tests",
            "FILEFLUX_TEST_RECORD": str(record),
            "FILEFLUX_TEST_BREAK_AT": str(break_at),
        }

    def _inventory(self) -> dict[str, Any]:
        python = str(PYTHON_TOOLS_DIR / "python")
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": python,
            "ansible_remote_tmp": str(self.root / "tmp"),
            "ansible_become": False,
            "instance_id": self.instance_id,
            # zfs-fuse 0.7 knows no ashift, lz4, xattr=sa, and no record of 1 MiB.
            "zfs_pool_properties": {},
            "zfs_pool_root_properties": {"atime": "off", "mountpoint": "none"},
            "zfs_pool_dataset_properties": {"recordsize": "131072", "compression": "on"},
            "zfs_pool_mountpoint": str(self.mount),
            "zfs_expand_exporter_url": "",
            **self.variables,
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": python}
        others = {name: {**host, **known} for name, known in self.more_nodes.items()}
        nodes = {"hosts": {"node-1": host, **others}}
        return {
            "all": {"hosts": {"localhost": local}, "children": {"role_storage_node": nodes}},
        }


@contextlib.contextmanager
def running_node(root: Path) -> Iterator[Node]:
    cloud = Cloud()
    try:
        node = Node(root, cloud)
        try:
            yield node
        finally:
            node.stop()
    finally:
        cloud.stop()
