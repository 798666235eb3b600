"""What a bucket was at a position of the audit stream, told by its records.

Two passes: what follows the position says which keys changed since, what precedes it says what
those keys were. A multipart upload's parts, and what they were copied from, take a pass more for
each level. So memory grows with the keys that changed and not with the bucket. The hash chain is
verified over everything that is read: a changed record must not bring back other people's bytes.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fileflux.core.changes import PastContent, PastPart
from fileflux.core.ids import UploadId
from fileflux.core.model import Manifest
from fileflux.metadata.chain import FIRST_HASH, FIRST_POSITION, NumberedRecord
from fileflux.metadata.ports import SequencerHead
from fileflux.metadata.rebuild import StreamBroken
from fileflux.metadata.record_sources import RecordSource
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.row_json import bytes_from_json, row_from_json
from fileflux.metadata.row_keys import KEY_COLUMNS
from fileflux.metadata.rows import CONTENT_DEPTH_MAX, BucketRow, HolderRow, ObjectRow, PartRow

Json = Mapping[str, Any]
RawKey = tuple[str, str]
"""(bucket id in hex, key in base64): as effects have them."""
Report = Callable[[int, int], None]
"""Hears how many records of how many were read."""
REPORT_EVERY: Final = 500
CONTENT_MARKS: Final = (b'"table":"parts"', b'"table":"holders"')


@dataclass(frozen=True, slots=True)
class Past:
    """`bucket`: None if there was none of that name. `objects`: what the changed keys were.

    `changed`: every key that a record behind the position names, with the stamp of the last one.
    `last_stamp`: the largest of them.
    """

    bucket: BucketRow | None
    changed: Mapping[bytes, int]
    objects: Mapping[bytes, ObjectRow]
    contents: Mapping[UploadId, PastContent]
    last_stamp: int


class BucketHistory:
    """One look at one bucket. `head`: where the stream ends for it."""

    def __init__(
        self,
        source: RecordSource,
        head: SequencerHead,
        bucket: str,
        *,
        prefix: bytes = b"",
        report: Report = lambda done, total: None,
    ) -> None:
        self._source = source
        self._head = head
        self._bucket = bucket
        self._named = b'"bucket":' + orjson.dumps(bucket)
        self._prefix = prefix
        self._report = report
        self._hash_at_position = head.chain_hash

    async def at(self, position: int) -> Past:
        """Return what the bucket was behind `position`; raise StreamBroken, and as reading does."""
        changed = await self._changed_behind(position)
        bucket, rows = await self._read_rows(position, changed)
        wanted = "" if bucket is None else bucket.bucket_id.hex()
        objects: dict[bytes, ObjectRow] = {}
        while rows:  # Each is let go of as soon as it is read.
            (bucket_id, key), raw = rows.popitem()
            if bucket_id == wanted:
                objects[bytes_from_json(key)] = _object(raw)
        contents = await self._contents(position, objects.values())
        stamps: dict[bytes, int] = {}
        for (_, key_text), stamp in changed.items():
            key_bytes = bytes_from_json(key_text)
            stamps[key_bytes] = max(stamp, stamps.get(key_bytes, 0))
        return Past(bucket, stamps, objects, contents, max(stamps.values(), default=0))

    async def _changed_behind(self, position: int) -> dict[RawKey, int]:
        """Return the keys that changed, with the stamp of the last change."""
        changed: dict[RawKey, int] = {}
        last = self._head.next_position - 1
        async for record in self._verified(position + 1, last, ends_with=self._head.chain_hash):
            data = self._data_if_named(record)
            if data is None:
                continue
            for table, key, _ in _effects(data):
                if table == "objects" and key[0] == data["bucket_id"] and self._is_within(key[1]):
                    changed[(key[0], key[1])] = data["stamp"]
        return changed

    async def _read_rows(
        self, position: int, wanted: Collection[RawKey]
    ) -> tuple[BucketRow | None, dict[RawKey, bytes]]:
        """Return the bucket's row and the last rows of the keys wanted, as stored JSON."""
        bucket: Json | None = None
        rows: dict[RawKey, bytes] = {}
        async for record in self._before(position):
            data = self._data_if_named(record)
            if data is None:
                continue
            for table, key, row in _effects(data):
                if table == "buckets":
                    bucket = row
                elif table == "objects" and (key[0], key[1]) in wanted:
                    if row is None:
                        rows.pop((key[0], key[1]), None)
                    else:
                        rows[(key[0], key[1])] = _packed(row)
        found = None if bucket is None else row_from_json("buckets", bucket)
        assert found is None or isinstance(found, BucketRow), "a row of its table"
        return found, rows

    async def _contents(
        self, position: int, objects: Iterable[ObjectRow]
    ) -> dict[UploadId, PastContent]:
        """Return the objects' contents, whole, and what their parts were copied from.

        What lies more levels down than a transaction follows is left out.
        """
        rows = [row for row in objects if row.manifest.chunks or row.manifest.parts]
        manifests = {row.content_id: row.manifest for row in rows}
        known = {
            content_id: PastContent(content_id, manifest)
            for content_id, manifest in manifests.items()
            if not manifest.parts
        }
        wanted = manifests.keys() - known.keys()
        for _ in range(CONTENT_DEPTH_MAX):
            if not wanted:
                break
            found = await self._read_contents(position, wanted, manifests)
            known |= found
            copied = {p.content_id for one in found.values() for p in one.parts if p.shared}
            wanted = copied - known.keys()
        return known

    async def _read_contents(
        self, position: int, wanted: Iterable[UploadId], manifests: Mapping[UploadId, Manifest]
    ) -> dict[UploadId, PastContent]:
        names = {content_id.hex() for content_id in wanted}
        parts: dict[tuple[str, int], Json] = {}
        whole: dict[str, Json] = {}
        async for record in self._before(position):
            if not any(mark in record.payload for mark in CONTENT_MARKS):
                continue
            for table, key, row in _effects(data_of(record)):
                if key[0] in names and table == "parts":
                    _keep(parts, (key[0], key[1]), row)
                elif key[0] in names and table == "holders" and not key[1]:
                    _keep(whole, key[0], row)
        known = {UploadId(bytes.fromhex(name)): _holder(row) for name, row in whole.items()}
        rows = [_part(row) for row in parts.values()]
        return _assembled(wanted, {**known, **manifests}, rows)

    async def _before(self, position: int) -> AsyncIterator[NumberedRecord]:
        async for record in self._verified(
            FIRST_POSITION, position, begins_with=FIRST_HASH, ends_with=self._hash_at_position
        ):
            yield record

    async def _verified(
        self, first: int, last: int, *, ends_with: bytes, begins_with: bytes | None = None
    ) -> AsyncIterator[NumberedRecord]:
        """Yield the records from `first` to `last`; raise StreamBroken where the chain is not."""
        expected = begins_with
        position = first
        if first > last:
            return
        async for run in self._source.read(first):
            for record in run:
                if record.position > last:
                    break
                is_next = expected is None or record.previous_hash == expected
                if record.position != position or not is_next:
                    raise _broken(record.position)
                if expected is None:
                    self._hash_at_position = record.previous_hash
                expected = record.chain_hash
                position += 1
                if position % REPORT_EVERY == 0:
                    self._report(position - first, last - first + 1)
                yield record
            if position > last:
                break
        if position != last + 1 or expected != ends_with:
            raise _broken(last)

    def _data_if_named(self, record: NumberedRecord) -> Json | None:
        if self._named not in record.payload:
            return None
        data = data_of(record)
        return data if data["bucket"] == self._bucket else None

    def _is_within(self, key: str) -> bool:
        return not self._prefix or bytes_from_json(key).startswith(self._prefix)


def _effects(data: Json) -> list[tuple[str, tuple[Any, ...], Json | None]]:
    """Return (table, key, row) of every effect, as JSON."""
    return [_effect(effect) for effect in data["effects"]]


def _effect(effect: Json) -> tuple[str, tuple[Any, ...], Json | None]:
    table, row = effect["table"], effect.get("row")
    if row is None:
        return table, tuple(effect["key"]), None
    return table, tuple(row[name] for name in KEY_COLUMNS[table]), row


def _keep(rows: dict[Any, Json], key: Any, row: Json | None) -> None:
    if row is None:
        rows.pop(key, None)
    else:
        rows[key] = row


def _packed(row: Json) -> bytes:
    """Return a row as JSON. Copied: what orjson returns occupies 4 KB, however short it is."""
    return bytes(memoryview(orjson.dumps(row)))


def _object(raw: bytes) -> ObjectRow:
    row = row_from_json("objects", orjson.loads(raw))
    assert isinstance(row, ObjectRow), "a row of its table"
    return row


def _part(value: Json) -> PartRow:
    row = row_from_json("parts", value)
    assert isinstance(row, PartRow), "a row of its table"
    return row


def _holder(value: Json) -> Manifest:
    row = row_from_json("holders", value)
    assert isinstance(row, HolderRow), "a row of its table"
    return row.manifest or Manifest()


def _assembled(
    wanted: Iterable[UploadId], manifests: Mapping[UploadId, Manifest], rows: Iterable[PartRow]
) -> dict[UploadId, PastContent]:
    parts: dict[UploadId, dict[int, PastPart]] = {}
    for row in rows:
        parts.setdefault(row.upload_id, {})[row.part_number] = _past_part(row)
    return {
        content_id: PastContent(
            content_id,
            manifests[content_id],
            tuple(
                parts[content_id][number]
                for number, _ in manifests[content_id].parts
                if number in parts.get(content_id, {})
            ),
        )
        for content_id in wanted
        if content_id in manifests
    }


def _past_part(row: PartRow) -> PastPart:
    return PastPart(
        row.part_number,
        row.size,
        row.etag,
        row.meta,
        row.manifest,
        row.content_id,
        row.modified_us,
        row.shared,
    )


def _broken(position: int) -> StreamBroken:
    return StreamBroken(
        f"the audit stream is broken at position {position}: nothing is restored from it; see "
        "`fileflux audit verify`"
    )
