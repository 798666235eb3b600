"""Which bytes of which stored chunks make up a range of an object. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fileflux.core.ids import BundleId
from fileflux.core.model import Chunk


@dataclass(frozen=True, slots=True)
class Slice:
    """`length` bytes of a stored chunk, from byte `start` of it on.

    `whole`: all that the manifest has of this chunk, so worth keeping under (start, length).
    """

    bundle_id: BundleId
    number: int
    start: int
    length: int
    whole: bool


def slices_of(chunks: Sequence[Chunk], start: int, length: int) -> Iterator[Slice]:
    """Yield the slices that hold bytes `start` to `start + length` of the joined chunks, in order.

    The range may end behind the last chunk: the slices end there.
    """
    position = 0
    for chunk in chunks:
        if length <= 0:
            return
        skip = max(0, start - position)
        taken = min(chunk.size - skip, length)
        if taken > 0:
            whole = taken == chunk.size
            yield Slice(chunk.bundle_id, chunk.number, chunk.start + skip, taken, whole)
            length -= taken
        position += chunk.size


def parts_in(
    parts: Sequence[tuple[int, int]], start: int, length: int
) -> Iterator[tuple[int, int, int]]:
    """Yield (part number, start in it, length) of the parts that a range touches, in order."""
    position = 0
    for number, size in parts:
        skip = max(0, start - position)
        taken = min(size - skip, length)
        if taken > 0:
            yield number, skip, taken
            length -= taken
        position += size
