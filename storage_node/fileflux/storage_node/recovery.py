"""Bring index and extents together at start. Blocking.

The index may lag behind the extents, be lost or be damaged; the extents decide. Nothing that a scan
did not verify is believed, and only a torn tail is ever cut off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fileflux.core.errors import FormatInvalid, Invalid
from fileflux.core.ids import NodeId
from fileflux.core.telemetry import get_logger
from fileflux.storage_node.durable_files import DRAFT_SUFFIX
from fileflux.storage_node.extent_file import (
    EXTENT_SUFFIX,
    Disk,
    ExtentFile,
    extent_numbers,
    extent_path,
)
from fileflux.storage_node.extent_format import (
    HEADER_SIZE_BYTES,
    ExtentHeader,
    encode_row,
)
from fileflux.storage_node.extent_scan import Scan, read_extent_header, scan_extent
from fileflux.storage_node.identity import Dataset, next_epoch
from fileflux.storage_node.index_database import (
    IndexBatch,
    IndexDatabase,
    IndexUnusable,
    Location,
    delete_database,
)

log = get_logger(__name__)

INDEX_FILE: Final = "index.sqlite"
DISTRUST_FILE: Final = "index.distrusted"
"""Left by a process that found the index wrong: the next one makes it anew."""
ROWS_PER_BATCH: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What a start found. `table`: the encoded footer rows of the open extent."""

    database: IndexDatabase
    extent: ExtentFile
    table: bytearray
    epoch: int
    epoch_went_back: bool


def recover(dataset: Dataset, disk: Disk, now_us: Callable[[], int]) -> Recovered:
    """Return the node's state, ready to append. Raise Invalid, OSError."""
    for draft in dataset.extents.glob(f"*{DRAFT_SUFFIX}"):
        draft.unlink()
    if (dataset.root / DISTRUST_FILE).exists():
        _forget_index(dataset, "the last process found it wrong")
    try:
        return _recover(dataset, disk, now_us)
    except IndexUnusable as error:
        _forget_index(dataset, str(error))
        return _recover(dataset, disk, now_us)


def _forget_index(dataset: Dataset, reason: str) -> None:
    log.warning("making the index anew from the extents", reason=reason)
    delete_database(dataset.root / INDEX_FILE)
    (dataset.root / DISTRUST_FILE).unlink(missing_ok=True)


def _recover(dataset: Dataset, disk: Disk, now_us: Callable[[], int]) -> Recovered:
    database = IndexDatabase(dataset.root / INDEX_FILE, dataset.node_id)
    try:
        # Damage shows when it is read: here, rather than at some upload.
        database.check()
        scans = _catch_up(dataset, database)
        _forget_missing(dataset, database)
        epoch, went_back = next_epoch(dataset.root, _highest_epoch(dataset, database))
        database.store(IndexBatch(facts={"epoch": epoch}))
        extent = _appendable(dataset, database, scans, disk) or _create(
            dataset, disk, epoch, now_us()
        )
        table = bytearray(b"".join(encode_row(row) for row in database.rows_of(extent.number)))
    except BaseException:
        database.close()
        raise
    return Recovered(
        database=database, extent=extent, table=table, epoch=epoch, epoch_went_back=went_back
    )


def _catch_up(dataset: Dataset, database: IndexDatabase) -> dict[int, Scan]:
    """Put into the index what it has not seen; return the scans of files without a footer."""
    seen_ends = database.seen_ends()
    scans = {}
    numbers = extent_numbers(dataset.extents)
    newest = max(numbers, default=0)
    for number in numbers:
        path = extent_path(dataset.extents, number)
        size, seen_end = path.stat().st_size, seen_ends.get(number, HEADER_SIZE_BYTES)
        if size < seen_end:
            # The disk lost what it had confirmed: believe what is left of it, after a look.
            log.error("an extent is shorter than its index", path=str(path), seen_end=seen_end)
            database.forget_extent(number)
            seen_end = HEADER_SIZE_BYTES
        elif size == seen_end and number != newest and number in seen_ends:
            continue
        scan = _scan(path, seen_end, dataset.node_id)
        _store_scan(database, number, scan, seen_end=_seen_end(scan, path, start=seen_end))
        scans[number] = scan
    return scans


def _scan(path: Path, seen_end: int, node_id: NodeId) -> Scan:
    try:
        scan = scan_extent(path, seen_end)
    except FormatInvalid as error:
        raise Invalid(f"{path} is not an extent: {error}. Move it away to start") from error
    if scan.header is not None and scan.header.node_id != node_id:
        raise Invalid(f"{path} belongs to node {scan.header.node_id}, not {node_id}: move it away")
    for offset, length in scan.damaged:
        log.error("a damaged record is passed over", path=str(path), offset=offset, length=length)
    if scan.is_unreadable:
        log.error("the disk cannot read some of an extent", path=str(path), end=scan.end)
    elif scan.is_retired:
        log.error("an extent has records behind damaged bytes", path=str(path), offset=scan.end)
    elif scan.torn:
        log.warning("a torn tail is cut off", path=str(path), end=scan.end, bytes=scan.torn)
    return scan


def _seen_end(scan: Scan, path: Path, *, start: int) -> int:
    """Return up to where the next start need not look again."""
    if scan.is_unreadable:
        return start
    return path.stat().st_size if scan.is_retired else scan.end


def _store_scan(database: IndexDatabase, number: int, scan: Scan, *, seen_end: int) -> None:
    rows = {
        row.bundle_id: Location(number, row.offset, row.length, row.sealed_size, row.sealed_crc)
        for row in scan.rows
    }
    ids = list(rows)
    for first in range(0, len(ids), ROWS_PER_BATCH):
        part = {bundle_id: rows[bundle_id] for bundle_id in ids[first : first + ROWS_PER_BATCH]}
        database.store(IndexBatch(rows=part))
    # The end that was seen hides the damage from the next start: so the verdict is kept too.
    facts = {_retired(number): 1} if scan.is_retired and not scan.is_unreadable else {}
    database.store(IndexBatch(seen_ends={number: seen_end}, facts=facts))


def _retired(number: int) -> str:
    """The fact that an extent has records behind damaged bytes: it never grows again."""
    return f"retired_{number}"


def _forget_missing(dataset: Dataset, database: IndexDatabase) -> None:
    present = set(extent_numbers(dataset.extents))
    for number in sorted(set(database.seen_ends()) - present):
        count = database.forget_extent(number)
        log.error("an extent is missing", extent=number, suffix=EXTENT_SUFFIX, bundle_count=count)


def _highest_epoch(dataset: Dataset, database: IndexDatabase) -> int:
    numbers = extent_numbers(dataset.extents)
    newest = read_extent_header(extent_path(dataset.extents, numbers[-1])) if numbers else None
    known = database.fact("epoch")
    return max(newest.epoch if newest else 0, known if isinstance(known, int) else 0)


def _appendable(
    dataset: Dataset, database: IndexDatabase, scans: dict[int, Scan], disk: Disk
) -> ExtentFile | None:
    """Return the newest extent if it may grow, its torn tail cut off and the cut durable."""
    numbers = extent_numbers(dataset.extents)
    scan = scans.get(numbers[-1]) if numbers else None
    if scan is None or not _may_grow(scan):
        return None
    number = numbers[-1]
    if database.fact(_retired(number)) is not None:
        return None
    extent = ExtentFile.open(extent_path(dataset.extents, number), number, scan.end, disk)
    if scan.torn:
        extent.cut_back()
    extent.sync()
    return extent


def _may_grow(scan: Scan) -> bool:
    is_odd = scan.is_retired or scan.is_unreadable or scan.header is None
    return not scan.is_sealed and not is_odd


def _create(dataset: Dataset, disk: Disk, epoch: int, now_us: int) -> ExtentFile:
    numbers = extent_numbers(dataset.extents)
    header = ExtentHeader(
        number=numbers[-1] + 1 if numbers else 1,
        node_id=dataset.node_id,
        epoch=epoch,
        created_us=now_us,
    )
    return ExtentFile.create(dataset.extents, header, disk)
