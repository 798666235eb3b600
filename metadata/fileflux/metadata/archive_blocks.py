"""Readers address a position and never care where it lies: blocks from the archive, as if stored.

Only what left the database is asked of the archive, and the database is asked first: what leaves
it in between is archived already.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from fileflux.metadata.archive import (
    CHECKPOINTS,
    SEGMENTS,
    Archive,
    NotArchived,
    next_object,
    span_of,
)
from fileflux.metadata.archive_format import Segment, decode_segment
from fileflux.metadata.chain import FIRST_HASH, FIRST_POSITION, block_of
from fileflux.metadata.checkpoint import FIRST_NUMBER, Checkpoint, decode_checkpoints
from fileflux.metadata.ports import ArchiveHead, AuditBlock, BlockArchive


def first_archive_head(stream: str) -> ArchiveHead:
    """Return the head of a stream set of which nothing was archived."""
    return ArchiveHead(
        stream,
        turn=0,
        next_position=FIRST_POSITION,
        chain_hash=FIRST_HASH,
        kept_from=FIRST_POSITION,
        next_checkpoint=FIRST_NUMBER,
    )


class ArchiveHeads(Protocol):
    """Who knows what left the database."""

    async def archive_head(self, stream: str) -> ArchiveHead: ...


async def with_archived(
    blocks: Sequence[AuditBlock],
    heads: ArchiveHeads,
    archive: BlockArchive | None,
    stream: str,
    position: int,
) -> list[AuditBlock]:
    """Return `blocks`, which the database has from `position` on, or what the archive has of it."""
    if archive is None or (blocks and blocks[0].first_position <= position):
        return list(blocks)
    if position >= (await heads.archive_head(stream)).kept_from:
        return list(blocks)
    block = await archive.block_at(stream, position)
    return list(blocks) if block is None else [block]


class ArchivedBlocks:
    """The port `BlockArchive` over an archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def block_at(self, stream: str, position: int) -> AuditBlock | None:
        segment = await segment_at(self._archive, stream, position)
        return None if segment is None else block_of(segment.stream, segment.records)


async def segment_at(archive: Archive, stream: str, position: int) -> Segment | None:
    """Return the segment that holds a position, None if the archive lacks it.

    Raise EventInvalid if it was changed, ArchiveUnavailable.
    """
    raw = await _object_with(archive, stream, SEGMENTS, position)
    return None if raw is None else await asyncio.to_thread(decode_segment, raw)


async def checkpoints_at(archive: Archive, stream: str, number: int) -> list[Checkpoint]:
    """Return the archived checkpoints of the object that holds a number; empty: there is none.

    Raise EventInvalid if it was changed, ArchiveUnavailable.
    """
    raw = await _object_with(archive, stream, CHECKPOINTS, number)
    return [] if raw is None else decode_checkpoints(raw)


async def _object_with(archive: Archive, stream: str, kind: str, wanted: int) -> bytes | None:
    name = await next_object(archive, stream, kind, wanted)
    span = span_of(name) if name is not None else None
    if name is None or span is None or span.first > wanted:
        return None
    try:
        return await archive.get(name)
    except NotArchived:
        return None
