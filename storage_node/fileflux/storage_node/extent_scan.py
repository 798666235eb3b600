"""What an extent file really holds: read it, believe only what verifies. Blocking.

Used at start, for everything that the index has not seen. The rules are in
`docs/formats/extent.md`, "What a start believes".
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fileflux.core.bundle_format import MAGIC as BUNDLE_MAGIC
from fileflux.core.bundle_format import parse_header
from fileflux.core.bundle_records import HEADER_SIZE_BYTES as BUNDLE_HEADER_SIZE_BYTES
from fileflux.core.bundle_records import BundleHeader
from fileflux.core.bundle_view import check_bundle
from fileflux.core.errors import Corrupt, ExtentCorrupt, FormatInvalid
from fileflux.core.model import MIB
from fileflux.storage_node.extent_format import (
    HEADER_SIZE_BYTES,
    ROW_SIZE_BYTES,
    TRAILER_SIZE_BYTES,
    ExtentHeader,
    ExtentRow,
    parse_extent_header,
    parse_rows,
    parse_trailer,
)

SEARCH_WINDOW_BYTES: Final = MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What was found from `start` on.

    `end`: behind the last whole record. `torn`: bytes behind it that are no record; they may be cut
    off unless `is_retired`, when something there still looks like one. `damaged`: records passed
    over, as (offset, length). `header` None: the file's own header is damaged. `is_unreadable`: the
    disk could not read some of it. Perhaps it can next time: nothing is to be cut off or appended.
    """

    header: ExtentHeader | None
    rows: tuple[ExtentRow, ...]
    end: int
    torn: int = 0
    is_sealed: bool = False
    is_retired: bool = False
    is_unreadable: bool = False
    damaged: tuple[tuple[int, int], ...] = ()


def scan_extent(path: Path, start: int = HEADER_SIZE_BYTES) -> Scan:
    """Return what the file holds from `start` on, each byte of it verified.

    Of a sealed file the footer is believed and the records are left to the scrub.
    Raise FormatInvalid when it is no extent, OSError when the disk cannot be read.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        file = _File(fd)
        header = _header(file)
        rows = _footer_rows(file, size)
        if rows is not None:
            fresh = tuple(row for row in rows if row.offset >= start)
            return Scan(header=header, rows=fresh, end=size, is_sealed=True)
        _read_from_disk_not_memory(fd, start)
        return _scan_records(file, header, start, size)
    finally:
        os.close(fd)


def read_extent_header(path: Path) -> ExtentHeader | None:
    """Return whose file it is, None when its header is damaged."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _header(_File(fd))
    finally:
        os.close(fd)


class _File:
    """Reads; what the disk cannot read is Corrupt here, and noted."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.is_unreadable = False

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes. Raise ExtentCorrupt, or OSError for any other trouble."""
        try:
            return os.pread(self._fd, length, offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.is_unreadable = True
            raise ExtentCorrupt(f"the disk cannot read at {offset}") from error

    def read_fully(self, offset: int, length: int) -> bytes:
        pieces = []
        while length and (piece := self.read(offset, length)):
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)


def _header(file: _File) -> ExtentHeader | None:
    try:
        return parse_extent_header(file.read(0, HEADER_SIZE_BYTES))
    except ExtentCorrupt:
        return None


def _footer_rows(file: _File, size: int) -> tuple[ExtentRow, ...] | None:
    if size < HEADER_SIZE_BYTES + TRAILER_SIZE_BYTES:
        return None
    try:
        trailer = parse_trailer(file.read(size - TRAILER_SIZE_BYTES, TRAILER_SIZE_BYTES), size)
        if trailer is None:
            return None
        table = file.read_fully(trailer.rows_offset, trailer.row_count * ROW_SIZE_BYTES)
        return tuple(parse_rows(table, trailer))
    except ExtentCorrupt:
        return None


def _read_from_disk_not_memory(fd: int, start: int) -> None:
    """After a failed sync the kernel shows pages, as if they were written, that the disk lacks."""
    os.fsync(fd)
    os.posix_fadvise(fd, start, 0, os.POSIX_FADV_DONTNEED)


def _scan_records(file: _File, header: ExtentHeader | None, start: int, size: int) -> Scan:
    rows: list[ExtentRow] = []
    damaged: list[tuple[int, int]] = []
    end = start
    for offset, bundle in _records(file, start, size):
        if _is_whole(file, offset):
            rows.append(
                ExtentRow(bundle.bundle_id, offset, bundle.size, bundle.sealed[0], bundle.sealed[1])
            )
            end = offset + bundle.size
        else:
            damaged.append((offset, bundle.size))
    # Damaged records that nothing whole follows belong to the torn tail.
    gaps = tuple((offset, length) for offset, length in damaged if offset < end)
    unread = max([end, *(offset + length for offset, length in damaged)])
    return Scan(
        header=header,
        rows=tuple(rows),
        end=end,
        torn=max(0, size - end),
        is_retired=_looks_like_records(file, unread, size),
        is_unreadable=file.is_unreadable,
        damaged=gaps,
    )


def _records(file: _File, start: int, size: int) -> Iterator[tuple[int, BundleHeader]]:
    """Yield (offset, header) from one believable header to the next."""
    offset = start
    while offset + BUNDLE_HEADER_SIZE_BYTES <= size:
        try:
            bundle = parse_header(file.read(offset, BUNDLE_HEADER_SIZE_BYTES))
        except (Corrupt, FormatInvalid):
            return
        yield offset, bundle
        offset += bundle.size


def _is_whole(file: _File, offset: int) -> bool:
    try:
        check_bundle(lambda at, length: file.read(offset + at, length))
    except (Corrupt, FormatInvalid):
        return False
    return True


def _looks_like_records(file: _File, start: int, size: int) -> bool:
    """Whether anything from here on begins like a bundle: then it is not ours to cut off."""
    overlap = BUNDLE_HEADER_SIZE_BYTES - 1
    for at in range(start, size, SEARCH_WINDOW_BYTES):
        try:
            window = file.read(at, SEARCH_WINDOW_BYTES + overlap)
        except ExtentCorrupt:
            return True
        found = window.find(BUNDLE_MAGIC)
        while found >= 0:
            try:
                parse_header(window[found : found + BUNDLE_HEADER_SIZE_BYTES])
            except (Corrupt, FormatInvalid):
                found = window.find(BUNDLE_MAGIC, found + 1)
            else:
                return True
    return False
