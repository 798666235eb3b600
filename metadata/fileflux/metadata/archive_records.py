"""The archived part of the audit stream as a source of records, when nothing else is left of it."""

from collections.abc import Sequence

from fileflux.metadata.archive import Archive
from fileflux.metadata.archive_blocks import segment_at
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.record_sources import Runs
from fileflux.metadata.sequencer import STREAM


class ArchiveRecords:
    """The port `RecordSource` over an archive: from the first record to where its segments end."""

    def __init__(self, archive: Archive, *, stream: str = STREAM) -> None:
        self._archive = archive
        self._stream = stream

    async def read(self, position: int) -> Runs:
        while (segment := await segment_at(self._archive, self._stream, position)) is not None:
            records: Sequence[NumberedRecord] = [
                record for record in segment.records if record.position >= position
            ]
            yield records
            position = records[-1].position + 1

    async def end(self) -> int | None:
        """Nobody knows before it is read: segments that follow later ones are no part of it."""
        return None
