"""Playbooks on a real pool (zfs-fuse) with volumes of moto's EC2: made, grown, broken, refused."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.deploy.ansible.machine import GIB, Node, Run, link_of, running_node, wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.zfs, pytest.mark.timeout(3600)]
ONE: Final[dict[str, Any]] = {"zfs_expand_size_gib": 1}
BROKEN: Final = 99


@pytest.fixture
def bare() -> Iterator[Node]:
    if os.geteuid() or not shutil.which("zfs-fuse"):
        pytest.skip("needs root and zfs-fuse: apt-get install zfs-fuse")
    with (
        tempfile.TemporaryDirectory(prefix="fileflux-ansible-") as directory,
        running_node(Path(directory)) as made,
    ):
        yield made


@pytest.fixture
def node(bare: Node) -> Node:
    """With a pool of one mirror, and a file in it."""
    done(bare.play("create_pool.yml", **ONE))
    bare.zfs("sh", "-c", f"echo kept > {bare.mount}/file")
    return bare


def done(run: Run) -> Run:
    assert run.status == 0, run.output[-4_000:]
    return run


def see_sound(node: Node, vdevs: int, width: int = 2) -> None:
    """The pool has its shape, its data, no disk twice, and no volume that is not in it."""
    found = node.vdevs()
    assert [len(disks) for disks in found] == [width] * vdevs
    disks = [disk for one in found for disk in one]
    assert sorted(disks) == sorted(
        link_of(one["VolumeId"]) for one in node.cloud.volumes(node.instance_id)
    )
    assert node.zfs("zpool", "status", "-x", "fileflux").stdout.strip().endswith("is healthy")
    assert node.zfs("cat", str(node.mount / "file")).stdout == "kept\n"


def twice_and_checked(node: Node, playbook: str, **wish: Any) -> list[str]:
    """Check mode, the run, and the run again: the first two tell the same, the last nothing."""
    checked = done(node.play(playbook, "--check", confirm=False, **wish)).changed
    changed = done(node.play(playbook, **wish)).changed
    assert checked == changed
    assert done(node.play(playbook, **wish)).changed == []
    assert done(node.play(playbook, "--check", confirm=False, **wish)).changed == []
    return changed


def test_a_pool_is_made_grown_by_mirrors_by_sides_and_by_larger_volumes(bare: Node) -> None:
    assert len(twice_and_checked(bare, "create_pool.yml", **ONE)) == 3
    bare.zfs("sh", "-c", f"echo kept > {bare.mount}/file")
    before = bare.size()

    for vdevs in (2, 3):
        assert len(twice_and_checked(bare, "expand_pool.yml", zfs_pool_vdevs=vdevs, **ONE)) == 2
        see_sound(bare, vdevs)
    large: dict[str, Any] = {"zfs_pool_vdevs": 3, "zfs_expand_size_gib": 2}
    assert len(twice_and_checked(bare, "expand_pool.yml", **large)) == 2
    assert (before, bare.size()) == ("1016M", "5.98G")
    assert len(twice_and_checked(bare, "expand_pool.yml", zfs_pool_width=3, **large)) == 2
    see_sound(bare, 3, width=3)


def test_volumes_are_encrypted_tagged_and_in_the_nodes_zone(node: Node) -> None:
    volumes = node.cloud.volumes(node.instance_id)
    tags = [{tag["Key"]: tag["Value"] for tag in one["Tags"]} for one in volumes]

    assert len(volumes) == 2
    assert {one["AvailabilityZone"] for one in volumes} == {"eu-central-1b"}
    assert all(one["Encrypted"] for one in volumes)
    assert sorted(one["fileflux:slot"] for one in tags) == ["0-0", "0-1"]
    assert all(one["Project"] == "fileflux" and one["Environment"] == "dev" for one in tags)


def test_a_grow_that_breaks_at_any_event_is_finished_by_the_next_run(node: Node) -> None:
    """Each break is a kill between two events; the pool grows by one mirror each time."""
    vdevs, breaks, finished = 1, 0, 0
    for event in range(1, 200):
        wish: dict[str, Any] = {"zfs_pool_vdevs": vdevs + 1, **ONE}
        broken = node.play("expand_pool.yml", break_at=event, **wish)
        if broken.status == 0:
            break
        assert broken.status == BROKEN, broken.output[-3_000:]
        breaks += 1
        # What is in the pool is never less redundant, whenever the run broke.
        assert all(len(disks) == 2 for disks in node.vdevs())
        if event >= _first_change(broken) or node.cloud.volumes(node.instance_id)[2:]:
            done(node.play("expand_pool.yml", **wish))
            vdevs, finished = vdevs + 1, finished + 1
            see_sound(node, vdevs)
            vdevs = _start_again(node, vdevs)
    print(f"{breaks} breaks, {finished} after the plan, finished by the next run; no volume twice")
    assert finished > 15


def _first_change(run: Run) -> int:
    """Events before the first mutating task only read: a run after them is a first run."""
    names = [str(event.get("start", "")) for event in run.events]
    return next((n for n, name in enumerate(names, 1) if "Make and attach" in name), 10_000)


def _start_again(node: Node, vdevs: int) -> int:
    """An instance has eleven names for data disks: four mirrors are enough, then a new node."""
    if vdevs < 4:
        return vdevs
    # What a killed run had started may still look at the pool.
    destroy = ("zpool", "destroy", "-f", "fileflux")
    wait_for(lambda: node.zfs(*destroy, check=False).returncode == 0, "the pool stays busy")
    for volume in node.cloud.volumes(node.instance_id):
        node.cloud.ec2.detach_volume(VolumeId=volume["VolumeId"], InstanceId=node.instance_id)
        node.cloud.ec2.delete_volume(VolumeId=volume["VolumeId"])
    done(node.play("create_pool.yml", **ONE))
    node.zfs("sh", "-c", f"echo kept > {node.mount}/file")
    return 1


def test_larger_volumes_that_break_at_any_event_are_used_by_the_next_run(node: Node) -> None:
    size, breaks = 1, 0  # Each finished run adds 1 GiB.
    for event in range(1, 200):
        broken = node.play("expand_pool.yml", break_at=event, zfs_expand_size_gib=size + 1)
        if broken.status == 0:
            break
        assert broken.status == BROKEN, broken.output[-3_000:]
        breaks += 1
        if any("Grow the volumes" in str(one.get("start", "")) for one in broken.events):
            size += 1
            done(node.play("expand_pool.yml", zfs_expand_size_gib=size))
            volumes = node.cloud.volumes(node.instance_id)
            assert [one["Size"] for one in volumes] == [size, size]
            see_sound(node, 1)
            assert done(node.play("expand_pool.yml", zfs_expand_size_gib=size)).changed == []
    print(f"{breaks} breaks, {size - 1} after the plan, all room used by the next run")
    assert size > 5


def _replace(node: Node) -> dict[str, Any]:
    """A wish to replace the first disk of the pool."""
    disk = node.vdevs()[0][0]
    volumes = node.cloud.volumes(node.instance_id)
    old = next(one["VolumeId"] for one in volumes if link_of(one["VolumeId"]) == disk)
    wish = {"zfs_replace_volume": old, "zfs_replace_size_gib": 1, "zfs_replace_delay_s": 1}
    return {**wish, "target": "node-1"}


def _attached(node: Node) -> list[str]:
    volumes = node.cloud.volumes(node.instance_id)
    return sorted(link_of(one["VolumeId"]) for one in volumes if one["Attachments"])


def test_a_disk_is_replaced_and_the_old_volume_kept_but_detached(node: Node) -> None:
    wish = _replace(node)

    assert len(twice_and_checked(node, "replace_disk.yml", **wish)) == 3

    assert _attached(node) == sorted(node.vdevs()[0])
    assert link_of(wish["zfs_replace_volume"]) not in node.vdevs()[0]
    assert len(node.cloud.volumes(node.instance_id)) == 3
    assert node.zfs("cat", str(node.mount / "file")).stdout == "kept\n"


def test_a_replacement_that_breaks_at_any_event_is_finished_by_the_next_run(node: Node) -> None:
    breaks, replaced = 0, 0
    for event in range(1, 200):
        wish = _replace(node)
        broken = node.play("replace_disk.yml", break_at=event, **wish)
        if broken.status == 0:
            break
        assert broken.status == BROKEN, broken.output[-3_000:]
        breaks += 1
        if len(node.cloud.volumes(node.instance_id)) > 2 + replaced:
            done(node.play("replace_disk.yml", **wish))
            replaced += 1
            assert len(node.cloud.volumes(node.instance_id)) == 2 + replaced
            assert _attached(node) == sorted(node.vdevs()[0])
            assert [len(one) for one in node.vdevs()] == [2]
    print(f"{breaks} breaks, {replaced} disks replaced by the next run")
    assert replaced > 4


def test_a_lost_disk_is_replaced_and_until_then_nothing_else_is_done(node: Node) -> None:
    wish = _replace(node)
    node.zfs("zpool", "offline", "fileflux", f"/dev/disk/by-id/{node.vdevs()[0][0]}")

    refused = node.play("expand_pool.yml", zfs_pool_vdevs=2, **ONE)
    assert refused.status == 2
    assert "DEGRADED" in refused.failures
    assert len(node.cloud.volumes(node.instance_id)) == 2

    done(node.play("replace_disk.yml", **wish))
    assert _attached(node) == sorted(node.vdevs()[0])
    assert node.zfs("zpool", "status", "-x", "fileflux").stdout.strip().endswith("is healthy")


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"zfs_pool_vdevs": 2, "zfs_pool_width": 1}, "has no redundancy"),
        ({"zfs_pool_width": 1}, "less redundant"),
        ({"zfs_pool_vdevs": 2, "zfs_pool_kind": "raidz1", "zfs_pool_width": 3}, "one kind"),
        ({"zfs_pool_vdevs": 2, "zfs_pool_kind": "disk"}, "no redundancy"),
        ({"zfs_pool_vdevs": 0}, "none is removed"),
        ({"zfs_pool_vdevs": 2, "zfs_expand_size_gib": 0}, "says no size"),
        ({"zfs_pool_vdevs": 2, "zfs_pool_name": "-f"}, "no name of a pool"),
        ({"zfs_pool_name": "other"}, "no pool other"),
    ],
)
def test_what_would_leave_a_pool_weaker_is_refused_before_any_change(
    node: Node, wish: dict[str, Any], reason: str
) -> None:
    refused = node.play("expand_pool.yml", **{**ONE, **wish})

    assert refused.status == 2
    assert reason in refused.failures
    assert refused.changed == []
    see_sound(node, 1)


def test_without_a_yes_nothing_is_changed(node: Node) -> None:
    refused = node.play("expand_pool.yml", confirm=False, zfs_pool_vdevs=2, **ONE)

    assert refused.status == 2
    assert "Not confirmed" in refused.failures
    see_sound(node, 1)


def test_a_volume_that_holds_something_is_not_taken(node: Node) -> None:
    """Somebody's volume wears the slot's tag, and has a file system on it."""
    tags = {"pool": "fileflux", "node": node.instance_id, "slot": "1-0"}
    volume = node.cloud.ec2.create_volume(
        AvailabilityZone="eu-central-1b",
        Size=1,
        TagSpecifications=[
            {
                "ResourceType": "volume",
                "Tags": [{"Key": f"fileflux:{k}", "Value": v} for k, v in tags.items()],
            }
        ],
    )["VolumeId"]
    path = node.by_id / link_of(volume)
    path.touch()
    os.truncate(path, GIB)
    node.cloud.ec2.attach_volume(VolumeId=volume, InstanceId=node.instance_id, Device="/dev/sdp")
    node.zfs("mkfs.ext4", "-q", "-F", str(path))

    refused = node.play("expand_pool.yml", zfs_pool_vdevs=2, **ONE)

    assert refused.status == 2
    assert "holds ext4" in refused.failures
    assert [len(one) for one in node.vdevs()] == [2]


def test_a_scrub_runs_when_it_is_due_and_not_again(node: Node) -> None:
    wish: dict[str, Any] = {"zfs_scrub_delay_s": 1}

    assert len(twice_and_checked(node, "scrub.yml", **wish)) == 1
    assert "scrub completed" in node.zfs("zpool", "status", "fileflux").stdout
