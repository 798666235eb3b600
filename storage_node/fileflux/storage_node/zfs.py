"""The only module that runs `zpool` and `zfs`. Argument lists, never a shell; a deadline on each.

Two implementations answer differently. OpenZFS 2.x takes `-p` (plain numbers) everywhere and knows
`fragmentation`; zfs-fuse 0.7.0 has no `-p` for `list`, only for `zfs get`, rounds a pool's sizes
("504M"), and knows no fragmentation. Which one it is shows in the first answer.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from fileflux.core.errors import Invalid
from fileflux.core.model import GIB, KIB, MIB
from fileflux.core.telemetry import get_logger
from fileflux.storage_node.identity import IDENTITY_FILE
from fileflux.storage_node.pool import FilesystemFigures, PoolCondition, PoolFigures
from fileflux.storage_node.zpool_status import parse_status

log = get_logger(__name__)

COMMAND_DEADLINE_S: Final = 5.0
BURIAL_DEADLINE_S: Final = 1.0
"""From a kill until the command is gone; one that hangs in the kernel is not waited for."""
POOL_COLUMNS: Final = ("name", "size", "allocated", "free", "capacity", "fragmentation", "health")
OLD_POOL_COLUMNS: Final = ("name", "size", "allocated", "free", "capacity", "health")
FILESYSTEM_PROPERTIES: Final = ("used", "available", "referenced")
_UNITS: Final = {"B": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB, "P": 1024 * 1024 * GIB}


class ZfsFailed(OSError):
    """A command failed, did not answer in time, or answered what we cannot read."""


class RunCommand(Protocol):
    """Runs a command; returns (exit status, output, error output)."""

    async def __call__(self, arguments: Sequence[str]) -> tuple[int, str, str]: ...


async def run_command(arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run without a shell, with a plain locale. Raise ZfsFailed when it does not end in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise ZfsFailed(f"{arguments[0]} is not installed") from error
    try:
        async with asyncio.timeout(COMMAND_DEADLINE_S):
            output, errors = await process.communicate()
    except TimeoutError:
        raise ZfsFailed(f"{arguments[0]} did not answer in time") from None
    finally:
        if process.returncode is None:
            process.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BURIAL_DEADLINE_S):
                    await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


class ZfsBackend:
    """Figures of one pool and of the dataset that holds the bundles."""

    def __init__(self, pool: str, dataset: str, *, run: RunCommand = run_command) -> None:
        for name in (pool, dataset):
            if not name or name.startswith("-"):
                raise Invalid("FILEFLUX_NODE_POOL and _DATASET must name a pool and a dataset")
        self._pool = pool
        self.dataset = dataset
        self._run = run
        self._is_old: bool | None = None

    async def figures(self) -> PoolFigures:
        pool = await self._pool_figures()
        names = dict.fromkeys((self._pool, self.dataset))
        filesystems = [await self._filesystem(name) for name in names]
        return PoolFigures(
            name=pool["name"],
            size_bytes=parse_size(pool["size"]),
            allocated_bytes=parse_size(pool["allocated"]),
            free_bytes=parse_size(pool["free"]),
            capacity_percent=parse_percent(pool["capacity"]) or 0.0,
            fragmentation_percent=parse_percent(pool.get("fragmentation", "-")),
            health=pool["health"],
            filesystems=tuple(filesystems),
            condition=await self._condition(),
        )

    async def _condition(self) -> PoolCondition | None:
        """The figures go on without it: it is written for people, and may change."""
        try:
            return parse_status(await self._ask(["zpool", "status", self._pool]))
        except ZfsFailed as error:
            log.warning("zpool status does not answer", pool=self._pool, reason=str(error))
            return None

    async def is_mounted(self) -> bool:
        """Return whether the dataset is mounted anywhere; raise ZfsFailed."""
        arguments = ["zfs", "get", "-H", "-p", "-o", "property,value", "mounted", self.dataset]
        return parse_properties(await self._ask(arguments)).get("mounted") == "yes"

    async def _pool_figures(self) -> dict[str, str]:
        if self._is_old is None:
            self._is_old = await self._detect_old()
        columns = OLD_POOL_COLUMNS if self._is_old else POOL_COLUMNS
        flags = ["-H"] if self._is_old else ["-H", "-p"]
        text = await self._ask(["zpool", "list", *flags, "-o", ",".join(columns), self._pool])
        return parse_columns(text, columns)

    async def _detect_old(self) -> bool:
        """zfs-fuse refuses the option; any other failure is not about the version."""
        arguments = ["zpool", "list", "-H", "-p", "-o", "name", self._pool]
        status, _, errors = await self._run(arguments)
        is_old = status != 0 and "invalid option" in errors
        if status and not is_old:
            raise ZfsFailed(_first_line(errors))
        log.info("asking the pool", pool=self._pool, without_plain_numbers=is_old)
        return is_old

    async def _filesystem(self, name: str) -> FilesystemFigures:
        wanted = ",".join(FILESYSTEM_PROPERTIES)
        text = await self._ask(["zfs", "get", "-H", "-p", "-o", "property,value", wanted, name])
        values = parse_properties(text)
        try:
            used, available, referenced = (int(values[key]) for key in FILESYSTEM_PROPERTIES)
        except (KeyError, ValueError) as error:
            raise ZfsFailed(f"zfs get answers without {error}") from error
        return FilesystemFigures(
            name=name, used_bytes=used, available_bytes=available, referenced_bytes=referenced
        )

    async def _ask(self, arguments: Sequence[str]) -> str:
        status, output, errors = await self._run(arguments)
        if status:
            raise ZfsFailed(f"{' '.join(arguments[:2])}: {_first_line(errors)}")
        return output


async def check_dataset(backend: ZfsBackend, data_dir: Path) -> None:
    """Raise Invalid when the node would start on the directory that its dataset should hide.

    A service may start before its pool is imported. What it confirms then lies on the system's
    disk, and is out of sight when the dataset is mounted over it.
    """
    try:
        is_mounted = await backend.is_mounted()
    except ZfsFailed as error:
        if not (data_dir / IDENTITY_FILE).exists():
            raise Invalid(f"no new node is made while ZFS does not answer: {error}") from error
        log.warning("nobody says whether the dataset is mounted", reason=str(error))
        return
    if not is_mounted:
        raise Invalid(f"dataset {backend.dataset} is not mounted: zfs mount {backend.dataset}")


def parse_columns(text: str, columns: Sequence[str]) -> dict[str, str]:
    """Return the one line of `zpool list -H` by column; raise ZfsFailed."""
    fields = text.rstrip("\n").split("\t")
    if len(fields) != len(columns) or "\n" in text.rstrip("\n"):
        raise ZfsFailed(f"zpool list answers {len(fields)} columns, not {len(columns)}")
    return dict(zip(columns, fields, strict=True))


def parse_properties(text: str) -> dict[str, str]:
    """Return the lines of `zfs get -H -o property,value`."""
    pairs = [line.split("\t", 1) for line in text.splitlines()]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def parse_size(text: str) -> int:
    """Return the bytes that `1024`, `504M` or `1.45T` stand for; raise ZfsFailed."""
    unit = _UNITS.get(text[-1:].upper())
    number = text[:-1] if unit else text
    try:
        return round(float(number) * (unit or 1)) if unit or "." in number else int(number)
    except ValueError as error:
        raise ZfsFailed(f"{text[:20]!r} is no size") from error


def parse_percent(text: str) -> float | None:
    """Return what `12`, `12%` or (unknown) `-` say; raise ZfsFailed."""
    if text == "-":
        return None
    try:
        return float(text.removesuffix("%"))
    except ValueError as error:
        raise ZfsFailed(f"{text[:20]!r} is no percentage") from error


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0][:200]
