"""What an audit stream tells of the uploads that nodes hold, noted while it is replayed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import orjson

from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId, UploadId
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.rebuild import Until
from fileflux.metadata.record_sources import RecordSource
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.row_json import bytes_from_json
from fileflux.metadata.salvage_plan import Known
from fileflux.metadata.salvage_uploads import FoundUpload

_UPLOADS: Final = ("PutObject", "UploadPart")


class Listening:
    """A record source that notes, on the way, what of the nodes' uploads the stream names."""

    def __init__(
        self, source: RecordSource, until: Until, known: Known, uploads: Sequence[FoundUpload]
    ) -> None:
        self._source = source
        self._until = until
        self._is_beyond = False  # A rebuild reads a little further than it replays.
        self._known = known
        self._wanted = {upload.upload_id for upload in uploads}
        self._places = {(upload.meta.bucket_id, upload.meta.key) for upload in uploads}

    async def end(self) -> int | None:
        return await self._source.end()

    async def read(self, position: int) -> AsyncIterator[Sequence[NumberedRecord]]:
        async for run in self._source.read(position):
            for record in run:
                self._hear(record)
            yield run

    def _hear(self, record: NumberedRecord) -> None:
        """Take in what is not verified yet: the rebuild does that behind us, and stops."""
        try:
            self._take_in(record, data_of(record))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            problem = f"position {record.position}: no audit record: {error!r}"
            raise EventInvalid(problem) from error

    def _take_in(self, record: NumberedRecord, data: Mapping[str, Any]) -> None:
        self._is_beyond |= self._until.is_beyond(record.position, data["stamp"])
        if self._is_beyond:
            return
        if data["operation"] in _UPLOADS:
            name = orjson.loads(record.payload)["id"]
            upload_id = UploadId(bytes.fromhex(name.partition("-")[0]))
            if upload_id in self._wanted:
                self._known.seen.add(upload_id)
        for effect in data["effects"]:
            if effect["table"] == "buckets":
                self._hear_of_bucket(effect)
            elif effect["table"] == "objects" and effect.get("row") is None:
                self._hear_of_deletion(effect["key"], data["stamp"])
            elif effect["table"] == "async_uploads" and effect.get("row") is not None:
                self._hear_of_acceptance(UploadId(bytes.fromhex(effect["row"]["upload_id"])))

    def _hear_of_acceptance(self, upload_id: UploadId) -> None:
        if upload_id in self._wanted:
            self._known.accepted.add(upload_id)

    def _hear_of_deletion(self, key: Sequence[Any], stamp: int) -> None:
        place = BucketId(bytes.fromhex(key[0])), bytes_from_json(key[1])
        if place in self._places:
            self._known.deleted_us[place] = stamp

    def _hear_of_bucket(self, effect: Mapping[str, Any]) -> None:
        row = effect.get("row")
        if row is not None:
            self._known.bucket_names[BucketId(bytes.fromhex(row["bucket_id"]))] = row["name"]
            return
        bucket_id = BucketId(bytes.fromhex(effect["key"][0]))
        self._known.bucket_names.pop(bucket_id, None)
        self._known.bucket_gone.add(bucket_id)
