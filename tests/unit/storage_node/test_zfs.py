"""The pool's figures. zfs-fuse's outputs were recorded; OpenZFS's follow its documented format."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fileflux.console.processes import start_time
from fileflux.core.errors import Invalid
from fileflux.storage_node.pool import FilesystemFigures
from fileflux.storage_node.zfs import (
    ZfsBackend,
    ZfsFailed,
    check_dataset,
    parse_percent,
    parse_size,
    run_command,
)

ZPOOL_P = "zpool list -H -p -o name tank"
ZPOOL_NEW = "zpool list -H -p -o name,size,allocated,free,capacity,fragmentation,health tank"
ZPOOL_OLD = "zpool list -H -o name,size,allocated,free,capacity,health tank"
ZPOOL_STATUS = "zpool status tank"
ZFS_POOL = "zfs get -H -p -o property,value used,available,referenced tank"
ZFS_DATASET = "zfs get -H -p -o property,value used,available,referenced tank/fileflux"

# Written after zpool-status(8) of OpenZFS 2, and as zfs-fuse 0.7 prints it.
STATUS_NEW = """\
  pool: tank
 state: DEGRADED
  scan: scrub repaired 1.50M in 02:13:04 with 0 errors on Sun Nov  1 02:37:05 2026
config:

\tNAME        STATE     READ WRITE CKSUM
\ttank        DEGRADED     0     0     0
\t  mirror-0  DEGRADED     0     0     0
\t    sda     ONLINE       0     0     3
\t    sdb     FAULTED     17  1.2K     0  too many errors
\tlogs
\t  nvme0     ONLINE       0     0     1

errors: No known data errors
"""
STATUS_OLD = """\
  pool: tank
 state: ONLINE
 scrub: scrub completed after 0h0m with 0 errors on Tue Dec  1 00:00:00 2026
config:

\tNAME        STATE     READ WRITE CKSUM
\ttank        ONLINE       0     0     0
\t  /disk0    ONLINE       0     0     0

errors: No known data errors
"""
OPENZFS = {
    ZPOOL_STATUS: (0, STATUS_NEW, ""),
    ZPOOL_P: (0, "tank\n", ""),
    ZPOOL_NEW: (
        0,
        "tank\t15942918602752\t3245611479040\t12697307123712\t20\t3\tONLINE\n",
        "",
    ),
    ZFS_POOL: (0, "used\t3245605990400\navailable\t12210117107712\nreferenced\t98304\n", ""),
    ZFS_DATASET: (
        0,
        "used\t3245560000512\navailable\t12210117107712\nreferenced\t3245560000512\n",
        "",
    ),
}
ZFS_FUSE = {
    ZPOOL_STATUS: (0, STATUS_OLD, ""),
    ZPOOL_P: (2, "", "invalid option 'p'\nusage:\n\tlist [-H] [-o property[,...]] [pool] ...\n"),
    ZPOOL_OLD: (0, "tank\t504M\t628K\t503M\t0%\tONLINE\n", ""),
    ZFS_POOL: (0, "used\t385024\navailable\t494542848\nreferenced\t114688\n", ""),
    ZFS_DATASET: (0, "used\t21504\navailable\t494542848\nreferenced\t21504\n", ""),
}


class Recorded:
    """Answers commands as they were recorded; any other one fails the test."""

    def __init__(self, answers: Mapping[str, tuple[int, str, str]]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    async def __call__(self, arguments: Sequence[str]) -> tuple[int, str, str]:
        line = " ".join(arguments)
        self.asked.append(line)
        return self.answers[line]


def backend(recorded: Recorded) -> ZfsBackend:
    return ZfsBackend("tank", "tank/fileflux", run=recorded)


async def test_openzfs_tells_plain_numbers() -> None:
    figures = await backend(Recorded(OPENZFS)).figures()

    assert figures.name == "tank"
    assert figures.size_bytes == 15942918602752
    assert figures.allocated_bytes == 3245611479040
    assert figures.free_bytes == 12697307123712
    assert figures.capacity_percent == 20
    assert figures.fragmentation_percent == 3
    assert (figures.health, figures.health_code) == ("ONLINE", 0)
    assert figures.filesystems[1] == FilesystemFigures(
        name="tank/fileflux",
        used_bytes=3245560000512,
        available_bytes=12210117107712,
        referenced_bytes=3245560000512,
    )


async def test_zfs_fuse_rounds_and_knows_no_fragmentation() -> None:
    figures = await backend(Recorded(ZFS_FUSE)).figures()

    assert figures.size_bytes == 504 * 1024**2
    assert figures.allocated_bytes == 628 * 1024
    assert figures.fragmentation_percent is None
    assert figures.capacity_percent == 0
    assert figures.filesystems[0].available_bytes == 494542848


async def test_errors_are_those_of_the_disks_each_counted_once() -> None:
    """The rows of pool and mirror count what was not mended, which their disks count too."""
    condition = (await backend(Recorded(OPENZFS)).figures()).condition
    assert condition is not None
    assert (condition.read_errors, condition.write_errors) == (17, 1200)
    assert condition.checksum_errors == 4


@pytest.mark.parametrize(
    ("answers", "ended"),
    [(OPENZFS, "2026-11-01T02:37:05"), (ZFS_FUSE, "2026-12-01")],
)
async def test_the_last_scrub_is_known_in_the_zone_of_the_host(
    answers: Mapping[str, tuple[int, str, str]], ended: str
) -> None:
    condition = (await backend(Recorded(answers)).figures()).condition
    assert condition is not None
    assert condition.scrubbed_s == datetime.fromisoformat(ended).astimezone().timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  scan: none requested\n",
        "  scan: scrub in progress since Sun Nov  1 00:24:01 2026\n",
        "  scan: resilvered 5G in 00:01:00 with 0 errors on Sun Nov  1 02:37:05 2026\n",
        "  scan: scrub repaired 0B in 1 days 02:13:04 with 0 errors on Xxx Nov 99 02:37:05 2026\n",
    ],
)
async def test_without_a_scrub_that_ended_there_is_no_time_and_no_error(text: str) -> None:
    answers = {**OPENZFS, ZPOOL_STATUS: (0, text, "")}
    condition = (await backend(Recorded(answers)).figures()).condition
    assert condition is not None
    assert condition.scrubbed_s is None
    assert condition.read_errors == 0


async def test_the_figures_go_on_when_status_does_not_answer() -> None:
    answers = {**OPENZFS, ZPOOL_STATUS: (1, "", "cannot open")}
    figures = await backend(Recorded(answers)).figures()
    assert figures.condition is None
    assert figures.health == "ONLINE"


async def test_which_one_it_is_is_found_out_once() -> None:
    recorded = Recorded(ZFS_FUSE)
    zfs = backend(recorded)
    await zfs.figures()
    await zfs.figures()

    assert recorded.asked.count(ZPOOL_P) == 1


@pytest.mark.parametrize(
    ("health", "code"),
    [("DEGRADED", 1), ("FAULTED", 2), ("SUSPENDED", 6), ("SOMETHING NEW", 7)],
)
async def test_health_is_a_number_for_dashboards(health: str, code: int) -> None:
    recorded = Recorded(OPENZFS)
    recorded.answers[ZPOOL_NEW] = (0, f"tank\t100\t50\t50\t50\t-\t{health}\n", "")
    figures = await backend(recorded).figures()

    assert (figures.health, figures.health_code) == (health, code)
    assert figures.fragmentation_percent is None


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (ZPOOL_P, (1, "", "cannot open 'tank': no such pool\n")),
        (ZPOOL_NEW, (1, "", "cannot open 'tank': no such pool\n")),
        (ZPOOL_NEW, (0, "tank\t100\t50\n", "")),
        (ZPOOL_NEW, (0, "tank\tmuch\t50\t50\t50\t1\tONLINE\n", "")),
        (ZPOOL_NEW, (0, "", "")),
        (ZFS_POOL, (0, "used\t1\n", "")),
        (ZFS_DATASET, (1, "", "dataset does not exist\n")),
    ],
)
async def test_an_answer_that_is_none_is_said_not_guessed(
    line: str, answer: tuple[int, str, str]
) -> None:
    recorded = Recorded(OPENZFS)
    recorded.answers[line] = answer
    with pytest.raises(ZfsFailed):
        await backend(recorded).figures()


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1024", 1024), ("628K", 628 * 1024), ("1.50G", 3 * 2**29), ("2T", 2**41)],
)
def test_sizes_of_both_kinds_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "many", "1.2.3M", "-"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ZfsFailed):
        parse_size(text)


def test_percentages_of_both_kinds_are_read() -> None:
    assert (parse_percent("20"), parse_percent("0%"), parse_percent("-")) == (20, 0, None)
    with pytest.raises(ZfsFailed):
        parse_percent("half")


@pytest.mark.parametrize(("pool", "dataset"), [("", "a"), ("-f", "a"), ("a", "--all"), ("a", "")])
def test_a_name_that_is_an_option_is_refused(pool: str, dataset: str) -> None:
    with pytest.raises(Invalid):
        ZfsBackend(pool, dataset)


async def test_a_command_that_is_not_installed_or_hangs_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ZfsFailed, match="not installed"):
        await run_command(["no-such-command-of-zfs"])
    assert await run_command(["echo", "a b"]) == (0, "a b\n", "")
    monkeypatch.setattr("fileflux.storage_node.zfs.COMMAND_DEADLINE_S", 0.1)
    with pytest.raises(ZfsFailed, match="in time"):
        await run_command(["sleep", "30"])


async def test_a_command_that_hangs_is_gone_when_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever starts it is asked for its number: on a busy machine it may never get to run."""
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **how: Any) -> asyncio.subprocess.Process:
        started.append(await start(*arguments, **how))
        return started[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    monkeypatch.setattr("fileflux.storage_node.zfs.COMMAND_DEADLINE_S", 0.1)
    with pytest.raises(ZfsFailed, match="in time"):
        await run_command(["sleep", "30"])

    assert start_time(started[0].pid) == ""


MOUNTED = "zfs get -H -p -o property,value mounted tank/fileflux"


@pytest.mark.parametrize("has_identity", [True, False])
async def test_a_node_on_its_mounted_dataset_starts(tmp_path: Path, has_identity: bool) -> None:
    if has_identity:
        (tmp_path / "node-id").touch()
    await check_dataset(backend(Recorded({MOUNTED: (0, "mounted\tyes\n", "")})), tmp_path)


@pytest.mark.parametrize("has_identity", [True, False])
async def test_no_node_starts_on_the_directory_below_its_dataset(
    tmp_path: Path, has_identity: bool
) -> None:
    """After a power cut the service may start first: what it confirms there is hidden later."""
    if has_identity:
        (tmp_path / "node-id").touch()
    with pytest.raises(Invalid, match="tank/fileflux is not mounted"):
        await check_dataset(backend(Recorded({MOUNTED: (0, "mounted\tno\n", "")})), tmp_path)


async def test_while_zfs_does_not_answer_only_a_node_that_is_there_starts(tmp_path: Path) -> None:
    """It can still be read; but nobody knows where a new one would lie."""
    silent = {MOUNTED: (1, "", "cannot open 'tank/fileflux': dataset does not exist\n")}
    with pytest.raises(Invalid, match="does not exist"):
        await check_dataset(backend(Recorded(silent)), tmp_path)
    (tmp_path / "node-id").touch()

    await check_dataset(backend(Recorded(silent)), tmp_path)
