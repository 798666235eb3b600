"""On real pools (zfs-fuse): figures, a full pool, and power cuts that lose nothing confirmed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from fileflux.storage_node.zfs import ZfsBackend, ZfsFailed, run_command

pytestmark = [pytest.mark.zfs, pytest.mark.slow]
CHILD: Final = Path(__file__).with_name("store_child.py")
POWER_CUTS: Final = 4
WAIT_S: Final = 20
_MACHINE: Final = """
set -e
for name in run etc lib lock; do mkdir -p "$1/$name"; done
mkdir -p /run/zfs /etc/zfs /var/lib/zfs /var/lock/zfs
mount --bind "$1/run" /run/zfs
mount --bind "$1/etc" /etc/zfs
mount --bind "$1/lib" /var/lib/zfs
mount --bind "$1/lock" /var/lock/zfs
exec zfs-fuse --no-daemon
"""


class Machine:
    """A zfs-fuse of its own in its own mount namespace: killing it is a power cut for its pool."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mount = root / "mnt"
        self._daemon: subprocess.Popen[bytes] | None = None

    def power_on(self) -> None:
        self._daemon = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "bash", "-c", _MACHINE, "-", self.root],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: self.run("zpool", "list", check=False).returncode == 0)

    def make_pool(self, size_mib: int) -> None:
        disks = [self.root / "disk0.img", self.root / "disk1.img"]
        for disk in disks:
            disk.touch()
            os.truncate(disk, size_mib * 2**20)
        options = ["-o", "failmode=continue", "-O", "checksum=sha256", "-m", str(self.mount)]
        self.run("zpool", "create", *options, "tank", "mirror", *map(str, disks))

    def power_cut(self) -> None:
        """Everything in memory is gone; then the machine comes up again with its pool."""
        self.power_off()
        self.power_on()
        if self.run("zpool", "list", "tank", check=False).returncode:
            self.run("zpool", "import", "-f", "-d", str(self.root), "tank")
        self.run("zfs", "mount", "tank", check=False)
        wait_for(lambda: self.run("mountpoint", "-q", str(self.mount), check=False).returncode == 0)

    def power_off(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()

    def command(self, *arguments: str) -> list[str]:
        assert self._daemon is not None
        return ["nsenter", "-t", str(self._daemon.pid), "-m", *arguments]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=check, timeout=60
        )


@pytest.fixture
def machine() -> Iterator[Machine]:
    if os.geteuid() or not shutil.which("zfs-fuse"):
        pytest.skip("needs root and zfs-fuse: apt-get install zfs-fuse")
    with tempfile.TemporaryDirectory(prefix="fileflux-zfs-") as directory:
        made = Machine(Path(directory))
        made.power_on()
        yield made
        made.power_off()


def wait_for(condition: object) -> None:
    assert callable(condition)
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def confirmed_until_cut(machine: Machine, first_seed: int, rng: random.Random) -> list[int]:
    """Write bundles; cut the power in the middle; return what had been confirmed before."""
    process = subprocess.Popen(
        machine.command(sys.executable, str(CHILD), "write", str(machine.mount), str(first_seed)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    wanted, confirmed = rng.randrange(10, 200), []
    for line in process.stdout:
        confirmed.append(int(line))
        if len(confirmed) >= wanted:
            break
    time.sleep(rng.random() / 50)
    # Both at once, as a power cut does: the writer must not see its file system go.
    process.send_signal(signal.SIGKILL)
    machine.power_off()
    with process:
        confirmed += [int(line) for line in process.stdout.read().split("\n")[:-1] if line]
    machine.power_cut()
    return confirmed


def held(machine: Machine, seeds: Sequence[int]) -> list[bool]:
    check = [sys.executable, str(CHILD), "check", str(machine.mount), *map(str, seeds)]
    result = machine.run(*check, check=False)
    assert result.returncode == 0, result.stderr[-3_000:]
    return [line == "held" for line in result.stdout.split()]


def test_nothing_confirmed_is_lost_in_a_power_cut(machine: Machine) -> None:
    """Extents are made, filled, sealed and followed by new ones meanwhile (1 MiB each)."""
    machine.make_pool(128)
    rng = random.Random(11)
    confirmed: list[int] = []
    for cut in range(POWER_CUTS):
        confirmed += confirmed_until_cut(machine, 100_000 * (cut + 1), rng)
        found = held(machine, confirmed)
        assert len(found) == len(confirmed)
        assert all(found), [
            seed for seed, is_held in zip(confirmed, found, strict=True) if not is_held
        ]
    print(f"{POWER_CUTS} power cuts, {len(confirmed)} confirmed bundles, 0 lost")


def test_a_file_made_durable_keeps_its_name_through_a_power_cut(machine: Machine) -> None:
    """Here an fsync of the directory does nothing: the file is synced again after its rename."""
    machine.make_pool(72)
    program = (
        "import sys; from pathlib import Path;"
        "from fileflux.storage_node.durable_files import make_durable_file as make;"
        "make(Path(sys.argv[1]), b'content')"
    )
    for number in range(3):
        path = machine.mount / f"file-{number}"
        machine.run(sys.executable, "-c", program, str(path))
        machine.power_cut()
        assert machine.run("cat", str(path)).stdout == "content"


def test_a_lost_index_is_made_anew_after_a_power_cut(machine: Machine) -> None:
    machine.make_pool(128)
    confirmed = confirmed_until_cut(machine, 1, random.Random(12))
    for path in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        machine.run("rm", "-f", str(machine.mount / path))

    assert all(held(machine, confirmed))


def test_a_full_pool_keeps_what_was_confirmed_and_says_that_it_is_full(machine: Machine) -> None:
    machine.make_pool(72)
    result = machine.run(sys.executable, str(CHILD), "write", str(machine.mount), "1", check=False)
    assert result.returncode == 0, result.stderr[-3_000:]
    lines = result.stdout.split()
    assert lines[-1] == "full"
    seeds = [int(line) for line in lines[:-1]]

    assert len(seeds) > 100
    assert all(held(machine, seeds))


async def test_the_figures_of_a_real_pool_are_true(machine: Machine) -> None:
    machine.make_pool(128)
    machine.run("zfs", "create", "tank/fileflux")
    backend = ZfsBackend(
        "tank", "tank/fileflux", run=lambda arguments: run_command(machine.command(*arguments))
    )
    before = await backend.figures()
    megabytes = str(machine.mount / "fileflux" / "data")
    machine.run("dd", "if=/dev/urandom", f"of={megabytes}", "bs=1M", "count=20", "conv=fsync")
    machine.run("sync")
    wait_for(lambda: _used(machine) > 20 * 2**20)
    after = await backend.figures()

    assert before.health == after.health == "ONLINE"
    assert 100 * 2**20 < before.size_bytes <= 128 * 2**20
    assert after.allocated_bytes - before.allocated_bytes > 19 * 2**20
    assert after.filesystems[1].name == "tank/fileflux"
    assert 20 * 2**20 <= after.filesystems[1].used_bytes < 22 * 2**20
    assert after.filesystems[1].available_bytes < before.filesystems[1].available_bytes
    assert before.fragmentation_percent is None


def _used(machine: Machine) -> int:
    return int(machine.run("zfs", "get", "-Hp", "-o", "value", "used", "tank/fileflux").stdout)


async def test_a_degraded_pool_says_so_and_a_missing_one_too(machine: Machine) -> None:
    machine.make_pool(72)
    machine.run("zpool", "offline", "tank", str(machine.root / "disk1.img"))

    def run(arguments: Sequence[str]) -> object:
        return run_command(machine.command(*arguments))

    figures = await ZfsBackend("tank", "tank", run=run).figures()  # type: ignore[arg-type]
    assert (figures.health, figures.health_code) == ("DEGRADED", 1)
    with pytest.raises(ZfsFailed, match="no such pool"):
        await ZfsBackend("other", "other", run=run).figures()  # type: ignore[arg-type]


@pytest.mark.parametrize("room_kib", [5_000, 8_191])
def test_a_full_tmpfs_keeps_what_was_confirmed(room_kib: int) -> None:
    """Another file system says ENOSPC at another moment: writes end short first."""
    if os.geteuid():
        pytest.skip("needs root to mount a tmpfs")
    with tempfile.TemporaryDirectory(prefix="fileflux-tmpfs-") as directory:
        options = ["-t", "tmpfs", "-o", f"size={room_kib}k", "tmpfs", directory]
        subprocess.run(["mount", *options], check=True)
        try:
            write = [sys.executable, str(CHILD), "write", directory, "1"]
            lines = subprocess.run(write, capture_output=True, text=True, check=True).stdout.split()
            assert lines[-1] == "full"
            check = [sys.executable, str(CHILD), "check", directory, *lines[:-1]]
            found = subprocess.run(check, capture_output=True, text=True, check=False)
            assert found.stdout.split() == ["held"] * (len(lines) - 1), found.stderr[-2_000:]
        finally:
            subprocess.run(["umount", directory], check=True)
