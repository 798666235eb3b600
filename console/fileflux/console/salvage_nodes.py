"""Ask nodes that run, and read the directories of those that do not, for what they hold."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from fileflux.core.bundle_view import BundleIndexView, ChunkPlace
from fileflux.core.clock import Clock
from fileflux.core.errors import Corrupt, NoSuchBundle, Unavailable
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.node_client import NodeClient
from fileflux.core.node_records import RECORDS_PAGE_MAX, HeldBundle
from fileflux.metadata.salvage_evidence import Evidence
from fileflux.metadata.salvage_findings import Findings
from fileflux.storage_node.dead_dataset import DeadDataset, open_dead_dataset

READ_AT_ONCE: Final = 500
ATTEMPTS: Final = 5
PAUSE_S: Final = 1.0
PROBLEMS_NAMED_MAX: Final = 20
NO_NODE: Final = "no storage node, or one of an older version"
Answer = TypeVar("Answer")
Report = Callable[[str], None]


def open_directories(directories: Sequence[Path]) -> list[DeadDataset]:
    """Return whose they are; raise Invalid for one that is no node's. Blocking."""
    return [open_dead_dataset(directory) for directory in directories]


async def read_directory(
    dataset: DeadDataset,
    evidence: Evidence,
    findings: Findings,
    *,
    checks_data: bool,
    report: Report,
) -> None:
    """Take in what a node's extents hold. What the disk cannot read is told, and passed over."""
    count = 0
    problems = []
    for extent in dataset.extents:
        held = dataset.bundles_in(extent, checks_data=checks_data)
        try:
            while some := await asyncio.to_thread(_some, held):
                for one in some:
                    evidence.add(dataset.node_id, one)
                count += len(some)
        except OSError as error:
            problems.append(str(error))
    if problems:
        why = "; ".join(problems[:PROBLEMS_NAMED_MAX])
        findings.note("node_silent", node=dataset.node_id, why=why, extents=len(problems))
    end = f", {len(problems)} of them cannot be read" if problems else ""
    report(f"node {dataset.node_id}: {count} records in {len(dataset.extents)} extents{end}")


async def ask_nodes(
    client: NodeClient,
    nodes: Mapping[NodeId, str],
    evidence: Evidence,
    findings: Findings,
    *,
    checks_data: bool,
    clock: Clock,
    report: Report,
) -> None:
    """Take in what each node says that it holds. One that stops answering is told."""
    for node_id, url in nodes.items():
        count, after, end = 0, None, ""
        try:
            while page := await _page(client, url, after, clock):
                after = _end_of(page, after)
                for one in page:
                    held = await _checked(client, url, one, clock) if checks_data else one
                    evidence.add(node_id, held)
                    count += 1
        except (Unavailable, NoSuchBundle) as error:
            why = NO_NODE if isinstance(error, NoSuchBundle) else str(error)
            findings.note("node_silent", node=node_id, why=why)
            end = f"; NOT COMPLETE: {why}"
        report(f"node {node_id}: {count} records{end}")


async def _page(
    client: NodeClient, url: str, after: BundleId | None, clock: Clock
) -> list[HeldBundle]:
    return await _insist(lambda: client.records(url, after, RECORDS_PAGE_MAX), clock)


async def _insist(ask: Callable[[], Awaitable[Answer]], clock: Clock) -> Answer:
    """Ask more than once: what one node alone has is lost with its answer."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await ask()
        except Unavailable:
            await clock.sleep(PAUSE_S)
    return await ask()


def _some(held: Iterator[HeldBundle]) -> list[HeldBundle]:
    return list(islice(held, READ_AT_ONCE))


def _end_of(page: Sequence[HeldBundle], after: BundleId | None) -> BundleId:
    """Return where the next page begins; a node that does not get on would be asked for ever."""
    last = page[-1].bundle_id
    if after is not None and last <= after:
        raise Unavailable("its pages are not in order")
    return last


async def _checked(client: NodeClient, url: str, held: HeldBundle, clock: Clock) -> HeldBundle:
    """Read every chunk once; return the same with those that fail their checksums."""
    index = held.index
    if index is None:
        return held
    rotten = []
    for place in index.chunks():
        read = partial(_is_readable, client, url, index, place)
        if not await _insist(read, clock):
            rotten.append(place.number)
    return replace(held, rotten=frozenset(rotten))


async def _is_readable(
    client: NodeClient, url: str, index: BundleIndexView, place: ChunkPlace
) -> bool:
    bundle_id = index.header.bundle_id
    try:
        async for _ in client.read_chunk(url, bundle_id, place.number, 0, place.length):
            pass  # Verified on the way, to its end.
    except (Corrupt, NoSuchBundle):
        return False
    return True
