"""Read what a dataset holds without its node: nothing is opened for writing, locked or repaired.

For `fileflux salvage`, when the node's process or its index is gone too. The extents alone are
read. A sealed one has its footer; of any other, or where the footer is damaged, one believable
record is searched behind the other: what lies behind damaged bytes is found too, which a start of
the node does not need and does not do.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fileflux.core.bundle_format import MAGIC, parse_header
from fileflux.core.bundle_records import HEADER_SIZE_BYTES as BUNDLE_HEADER_SIZE_BYTES
from fileflux.core.bundle_records import BundleHeader
from fileflux.core.bundle_view import BundleIndexView, ChunkPlace, ReadAt, read_index
from fileflux.core.errors import Corrupt, FormatInvalid, Invalid
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.model import BLOCK_SIZE_BYTES, KIB, MIB
from fileflux.core.node_records import HeldBundle
from fileflux.storage_node.extent_file import extent_numbers, extent_path
from fileflux.storage_node.extent_format import (
    HEADER_SIZE_BYTES,
    ROW_SIZE_BYTES,
    TRAILER_SIZE_BYTES,
    ExtentRow,
    parse_extent_header,
    parse_rows,
    parse_trailer,
)
from fileflux.storage_node.identity import EXTENTS_DIRECTORY, IDENTITY_FILE

SEARCH_WINDOW_BYTES: Final = MIB
SKIP_BYTES: Final = 4 * KIB
"""Where the disk cannot read, the search goes on behind so much."""
NONE: Final = frozenset[int]()


@dataclass(frozen=True, slots=True)
class DeadDataset:
    """A data directory that nobody runs on, or nobody is asked about."""

    node_id: NodeId
    extents: tuple[Path, ...]

    def bundles(self, *, checks_data: bool = False) -> Iterator[HeldBundle]:
        """Yield every record that is found, in the order of the disk. Blocking; raise OSError.

        `checks_data`: also read and verify every byte of their data.
        """
        for path in self.extents:
            yield from self.bundles_in(path, checks_data=checks_data)

    def bundles_in(self, extent: Path, *, checks_data: bool = False) -> Iterator[HeldBundle]:
        """Yield the records of one extent."""
        with _ReadOnlyFile(extent) as file:
            yield from _bundles_of(file, checks_data=checks_data)


def open_dead_dataset(root: Path) -> DeadDataset:
    """Find the extents below a node's data directory and whose they are. Blocking.

    Raise Invalid when it is no data directory of a node.
    """
    directory = root / EXTENTS_DIRECTORY
    if not directory.is_dir():
        raise Invalid(f"{root} is no storage node's data directory: it has no {EXTENTS_DIRECTORY}/")
    paths = tuple(extent_path(directory, number) for number in extent_numbers(directory))
    return DeadDataset(_node_id(root, paths), paths)


def _node_id(root: Path, extents: tuple[Path, ...]) -> NodeId:
    """Return whose it is: its identity's file says so, and each extent by itself."""
    with suppress(OSError, ValueError):
        return NodeId(str(uuid.UUID((root / IDENTITY_FILE).read_text().strip())))
    for path in extents:
        with suppress(Corrupt, FormatInvalid, OSError), _ReadOnlyFile(path) as file:
            return parse_extent_header(file.read(0, HEADER_SIZE_BYTES)).node_id
    raise Invalid(f"nothing below {root} says which node's it was: no {IDENTITY_FILE}, no extent")


class _ReadOnlyFile:
    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.size = os.fstat(self._fd).st_size

    def __enter__(self) -> "_ReadOnlyFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; none where the disk cannot read."""
        pieces = []
        while length:
            try:
                piece = os.pread(self._fd, length, offset)
            except OSError:
                break
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)


def _bundles_of(file: _ReadOnlyFile, *, checks_data: bool) -> Iterator[HeldBundle]:
    rows = _footer_rows(file)
    if rows is None:
        for offset, header in _search(file):
            yield _held(file, offset, header.bundle_id, header.size, checks_data=checks_data)
        return
    for row in rows:
        yield _held(file, row.offset, row.bundle_id, row.length, checks_data=checks_data)


def _held(
    file: _ReadOnlyFile, offset: int, bundle_id: BundleId, length: int, *, checks_data: bool
) -> HeldBundle:
    where = f"{file.name} at {offset}"

    def read_at(at: int, count: int) -> bytes:
        return file.read(offset + at, max(0, min(count, length - at)))

    try:
        index = read_index(read_at, with_meta=True)
        if index.header.bundle_id != bundle_id:
            return HeldBundle(bundle_id, None, f"{where}: another bundle lies there")
    except (Corrupt, FormatInvalid) as error:
        return HeldBundle(bundle_id, None, f"{where}: {error}")
    return HeldBundle(bundle_id, index, rotten=_rotten(index, read_at) if checks_data else NONE)


def _rotten(index: BundleIndexView, read_at: ReadAt) -> frozenset[int]:
    """Return the chunks whose data fails its checksums, each block read once."""
    return frozenset(
        place.number
        for place in index.chunks()
        if not all(_is_whole(index, place, block, read_at) for block in range(place.block_count))
    )


def _is_whole(index: BundleIndexView, place: ChunkPlace, block: int, read_at: ReadAt) -> bool:
    start = block * BLOCK_SIZE_BYTES
    length = min(BLOCK_SIZE_BYTES, place.length - start)
    try:
        index.verify_blocks(place, block, read_at(place.offset + start, length))
    except Corrupt:
        return False
    return True


def _footer_rows(file: _ReadOnlyFile) -> tuple[ExtentRow, ...] | None:
    if file.size < HEADER_SIZE_BYTES + TRAILER_SIZE_BYTES:
        return None
    raw = file.read(file.size - TRAILER_SIZE_BYTES, TRAILER_SIZE_BYTES)
    with suppress(Corrupt, FormatInvalid):
        trailer = parse_trailer(raw, file.size)
        if trailer is not None:
            table = file.read(trailer.rows_offset, trailer.row_count * ROW_SIZE_BYTES)
            return tuple(parse_rows(table, trailer))
    return None


def _search(file: _ReadOnlyFile) -> Iterator[tuple[int, BundleHeader]]:
    """Yield (offset, header) of every believable header. Damaged bytes between are passed over.

    A header that stands where a record must begin is believed, its length too: what lies within are
    a client's bytes, which may look like records. One that was searched for may lie anywhere: if
    its record is not whole, the search goes on right behind it.
    """
    offset, is_due = HEADER_SIZE_BYTES, True
    while offset + BUNDLE_HEADER_SIZE_BYTES <= file.size:
        try:
            header = parse_header(file.read(offset, BUNDLE_HEADER_SIZE_BYTES))
        except (Corrupt, FormatInvalid):
            offset, is_due = _next_magic(file, offset + 1), False
            continue
        yield offset, header
        is_due = is_due or _fits(file, offset, header)
        offset += header.size if is_due else BUNDLE_HEADER_SIZE_BYTES


def _fits(file: _ReadOnlyFile, offset: int, header: BundleHeader) -> bool:
    """Whether its index stands where the header says, so that its end can be believed."""
    try:
        read_index(lambda at, count: file.read(offset + at, count), with_meta=True)
    except (Corrupt, FormatInvalid):
        return False
    return offset + header.size <= file.size


def _next_magic(file: _ReadOnlyFile, offset: int) -> int:
    """Return where the next record may begin, from `offset` on; the file's end if nowhere."""
    while offset < file.size:
        overlap = len(MAGIC) - 1
        window = file.read(offset, SEARCH_WINDOW_BYTES + overlap)
        found = window.find(MAGIC)
        if found >= 0:
            return offset + found
        is_read = len(window) > SEARCH_WINDOW_BYTES
        offset += SEARCH_WINDOW_BYTES if is_read else max(len(window) - overlap, SKIP_BYTES)
    return file.size
