"""Cut a stream at the borders of its chunks. Pure: no I/O, no bytes copied."""

from collections.abc import Iterator

from fileflux.core.checksum import Buffer
from fileflux.core.model import CHUNK_SIZE_BYTES


def cut_at_borders(
    piece: Buffer, position: int, chunk_size: int = CHUNK_SIZE_BYTES
) -> Iterator[tuple[int, memoryview]]:
    """Yield (chunk number, bytes) of a piece that begins at `position` of its stream, in order.

    No yielded run crosses the border of a chunk; an empty piece yields nothing.
    """
    view = memoryview(piece)
    while view:
        number, filled = divmod(position, chunk_size)
        run = view[: chunk_size - filled]
        yield number, run
        position += len(run)
        view = view[len(run) :]
