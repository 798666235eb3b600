"""The pool's first creation, on real pools (zfs-fuse): once, never over anything, and imported."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from tests.integration.storage_node.test_zfs import Machine, machine

pytestmark = [pytest.mark.zfs]
__all__ = ["machine"]

SCRIPT: Final = Path(__file__).parents[3] / "packer/files/fileflux-pool-init"
DISK_MIB: Final = 96
# zfs-fuse has neither ashift nor autoexpand, lz4 nor xattr.
CONF: Final = """
FILEFLUX_POOL=fileflux
FILEFLUX_POOL_LAYOUT={layout}
FILEFLUX_POOL_DISKS_GLOB='{folder}/disk-*'
FILEFLUX_POOL_OPTIONS='-o failmode=continue'
FILEFLUX_DATASET_OPTIONS='-o compression=on -o atime=off'
FILEFLUX_POOL_MOUNT={mount}
FILEFLUX_POOL_WAIT_S=1
"""


class Host:
    """A machine with disks and a pool.conf."""

    def __init__(self, machine: Machine, disks: int = 2, layout: str = "mirror") -> None:
        self.machine = machine
        self.folder = machine.root / "disks"
        self.mount = machine.root / "fileflux"
        self.folder.mkdir()
        self.disks = [self.add_disk() for _ in range(disks)]
        self.configure(layout)

    def configure(self, layout: str, disks: str = "") -> None:
        etc = self.machine.root / "fileflux-etc"
        etc.mkdir(exist_ok=True)
        values = CONF.format(layout=layout, folder=self.folder, mount=self.mount)
        (etc / "pool.conf").write_text(values)
        if disks:
            (etc / "pool-disks.env").write_text(f"FILEFLUX_POOL_DISKS={disks}\n")

    def add_disk(self) -> Path:
        disk = self.folder / f"disk-{len(list(self.folder.iterdir()))}"
        disk.touch()
        os.truncate(disk, DISK_MIB << 20)
        return disk

    def init(self) -> subprocess.CompletedProcess[str]:
        etc = f"FILEFLUX_ETC={self.machine.root / 'fileflux-etc'}"
        return self.machine.run("env", etc, "bash", str(SCRIPT), check=False)

    def zfs(self, *words: str) -> str:
        return self.machine.run(*words).stdout

    def state(self) -> str:
        """All that a second run could change."""
        return self.zfs("zpool", "history", "fileflux") + self.zfs("zfs", "list", "-H")


def test_the_first_run_makes_the_pool_and_its_dataset(machine: Machine) -> None:
    host = Host(machine, disks=4)
    done = host.init()
    assert done.returncode == 0, done.stderr
    status = host.zfs("zpool", "status", "fileflux")
    assert status.count("mirror-") == 2
    assert host.zfs("zfs", "get", "-H", "-o", "value", "mounted", "fileflux/data").strip() == "yes"
    assert machine.run("stat", "--format=%u:%g", str(host.mount)).stdout.strip() == "10001:10001"


def test_the_second_run_changes_nothing(machine: Machine) -> None:
    host = Host(machine)
    assert host.init().returncode == 0
    before = host.state()
    done = host.init()
    assert (done.returncode, done.stderr) == (0, "")
    assert host.state() == before


def test_a_pool_is_imported_after_a_power_cut_with_what_it_held(machine: Machine) -> None:
    host = Host(machine)
    assert host.init().returncode == 0
    machine.run("sh", "-c", f"echo kept > {host.mount}/file; sync")
    host.zfs("zpool", "export", "fileflux")
    done = host.init()
    assert done.returncode == 0, done.stderr
    assert "imported" in done.stderr
    assert machine.run("cat", f"{host.mount}/file").stdout == "kept\n"


def with_ext4(disk: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True)


def with_partitions(disk: Path) -> None:
    """A master boot record with one partition, of Linux."""
    entry = bytes([0, 0, 2, 0, 0x83, 0, 1, 0]) + (2048).to_bytes(4, "little") + b"\0\x10\0\0"
    with disk.open("r+b") as file:
        file.seek(446)
        file.write(entry)
        file.seek(510)
        file.write(b"\x55\xaa")


def with_bytes_at_the_start(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(70_000)
        file.write(b"somebody's")


def with_bytes_at_the_end(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"somebody's")


@pytest.mark.parametrize(
    "fill", [with_ext4, with_partitions, with_bytes_at_the_start, with_bytes_at_the_end]
)
def test_a_disk_that_holds_anything_is_refused_and_left_as_it_is(
    machine: Machine, fill: Callable[[Path], None]
) -> None:
    host = Host(machine)
    fill(host.disks[1])
    before = host.disks[1].read_bytes()
    done = host.init()
    assert done.returncode == 3, done.stderr
    assert str(host.disks[1]) in done.stderr
    assert host.disks[1].read_bytes() == before
    assert machine.run("zpool", "list", "-H").stdout == ""


def test_a_disk_of_a_foreign_pool_is_refused(machine: Machine) -> None:
    host = Host(machine)
    machine.run("zpool", "create", "-m", "none", "theirs", str(host.disks[0]))
    machine.run("zpool", "export", "theirs")
    done = host.init()
    assert done.returncode == 3, done.stderr
    assert str(host.disks[0]) in done.stderr


def test_it_waits_for_as_many_disks_as_were_promised(machine: Machine) -> None:
    """Two of four there would make a smaller pool, for good."""
    host = Host(machine)
    host.configure("mirror", disks="4")
    assert host.init().returncode == 4
    host.add_disk()
    host.add_disk()
    assert host.init().returncode == 0
    assert host.zfs("zpool", "status", "fileflux").count("mirror-") == 2


@pytest.mark.parametrize(
    ("layout", "disks", "said"),
    [("mirror", 3, "pairs"), ("raidz", 2, "needs 3"), ("stripe", 2, "FILEFLUX_POOL_LAYOUT")],
)
def test_a_layout_that_does_not_fit_is_refused(
    machine: Machine, layout: str, disks: int, said: str
) -> None:
    done = Host(machine, disks, layout).init()
    assert done.returncode == 2
    assert said in done.stderr


def test_raidz_takes_all_disks_together(machine: Machine) -> None:
    host = Host(machine, 3, "raidz")
    assert host.init().returncode == 0
    assert "raidz1-0" in host.zfs("zpool", "status", "fileflux")


def test_a_node_to_which_no_disk_was_promised_gets_no_pool_and_no_error(machine: Machine) -> None:
    """Stateless nodes start from the same image."""
    host = Host(machine)
    host.configure("mirror", disks="0")
    assert host.init().returncode == 0
    assert machine.run("zpool", "list", "-H").stdout == ""


def test_a_pool_whose_disk_is_gone_is_imported_and_serves_degraded(machine: Machine) -> None:
    host = Host(machine)
    host.configure("mirror", disks="2")
    assert host.init().returncode == 0
    host.zfs("zpool", "export", "fileflux")
    host.disks[0].unlink()
    done = host.init()
    assert done.returncode == 0, done.stderr
    assert "DEGRADED" in host.zfs("zpool", "status", "fileflux")


def test_a_pool_that_is_up_is_not_waited_for(machine: Machine) -> None:
    """One that boot imported, with fewer disks than were promised."""
    host = Host(machine)
    assert host.init().returncode == 0
    host.configure("mirror", disks="4")
    assert host.init().returncode == 0


def test_a_pool_that_cannot_be_imported_is_never_made_anew_nor_its_wiping_advised(
    machine: Machine,
) -> None:
    host = Host(machine, disks=2, layout="single")
    assert host.init().returncode == 0
    host.zfs("zpool", "export", "fileflux")
    host.disks[1].unlink()
    kept = host.disks[0].read_bytes()
    done = host.init()
    assert done.returncode == 5, done.stderr
    assert "cannot be imported" in done.stderr
    assert "wipefs" not in done.stderr
    assert host.disks[0].read_bytes() == kept
