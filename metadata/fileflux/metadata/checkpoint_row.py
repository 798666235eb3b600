"""The row of checkpoints that a rebuilt database does not know: from their topic, or the archive.

A database that was rebuilt has every record, and no checkpoint. Signing from number 1 again would
look like another history to everybody who has seen the first row, so that is taken over.
"""

from collections.abc import Sequence

from fileflux.core.errors import EventInvalid
from fileflux.events.ports import TopicLookup
from fileflux.events.topics import AUDIT_CHECKPOINTS
from fileflux.metadata.archive import Archive
from fileflux.metadata.archive_blocks import checkpoints_at
from fileflux.metadata.checkpoint import (
    FIRST_NUMBER,
    NO_PREVIOUS,
    Checkpoint,
    decode_checkpoint,
)


async def published_row(source: TopicLookup, stream: str) -> list[Checkpoint]:
    """Return the topic's checkpoints by number; what is none is passed over."""
    found: dict[int, Checkpoint] = {}
    first, end = await source.bounds(AUDIT_CHECKPOINTS, 0)
    for offset in range(first, end):
        record = await source.read_one(AUDIT_CHECKPOINTS, 0, offset)
        try:
            one = None if record is None else decode_checkpoint(record.value)
        except EventInvalid:
            continue
        if one is not None and one.stream == stream:
            found[one.number] = one
    return [found[number] for number in sorted(found)]


async def archived_row(archive: Archive | None, stream: str) -> list[Checkpoint]:
    """Return the archive's checkpoints by number, up to the first that it lacks."""
    found: list[Checkpoint] = []
    while archive is not None:
        following = found[-1].number + 1 if found else FIRST_NUMBER
        held = await checkpoints_at(archive, stream, following)
        fresh = [one for one in held if one.number >= following]
        if not fresh:
            break
        found += fresh
    return found


def is_row(row: Sequence[Checkpoint], *, public_key: bytes) -> bool:
    """Tell whether they are a whole row whose end is signed by this key.

    Each names the digest of the one before: the last signature vouches for all of them.
    """
    number, previous = FIRST_NUMBER, NO_PREVIOUS
    for one in row:
        if (one.number, one.previous) != (number, previous) or not one.is_signed:
            return False
        number, previous = number + 1, one.digest
    return bool(row) and row[-1].public_key == public_key
