"""What changed in a bucket between two moments, told from the audit stream alone.

Per key what is left of all changes in between: added, replaced or deleted. Whether there was
something before, and its size, follow from the first change's usage (+1, 0 or -1 objects, and
bytes); so only the stretch between the two moments is read. Memory grows with the number of keys
that changed, not with the bucket.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from fileflux.core.errors import NoSuchBucket
from fileflux.metadata.audit_log import CLOCK_SLACK_US, position_before
from fileflux.metadata.chain import FIRST_POSITION, NumberedRecord
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.rebuild import EVERYTHING, Until
from fileflux.metadata.record_sources import DatabaseRecords
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.row_json import bytes_from_json
from fileflux.metadata.sequencer import STREAM

OPERATIONS: Final = frozenset(
    {"PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject", "RestoreVersion"}
)
"""Those that change what a key is."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What became of a key. Sizes in bytes, None where there is nothing; `etag` "" if deleted.

    The rest is of the last change: position, stamp (µs), operation, user's name, version (hex).
    """

    key: bytes
    kind: Literal["added", "replaced", "deleted"]
    size_before: int | None
    size_after: int | None
    etag: str
    version: str
    position: int
    at_us: int
    operation: str
    user_name: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """Before the first change: `size_before`, None if there was nothing. The rest: the last one."""

    size_before: int | None
    after: "_After | None"
    last: Mapping[str, Any]
    position: int


@dataclass(frozen=True, slots=True)
class _After:
    size: int
    etag: str
    version: str


async def bucket_diff(
    reader: MetadataReader,
    bucket: str,
    *,
    start: Until = EVERYTHING,
    end: Until = EVERYTHING,
    stream: str = STREAM,
) -> list[KeyChange]:
    """Return the changes after `start` and until `end`, by key; raise NoSuchBucket.

    A bucket that was deleted and made again under its name is one bucket here.
    """
    seen: dict[bytes, _Seen] = {}
    is_known = bool(await reader.find_buckets([bucket]))
    async for record in _between(reader, bucket, start, end, stream):
        is_known = True
        _note(seen, record)
    if not is_known:
        raise NoSuchBucket(f"there is no bucket {bucket}, and no record of it in this stretch")
    found = (_change_of(key, one) for key, one in seen.items())
    return sorted((one for one in found if one is not None), key=lambda one: one.key)


async def _between(
    reader: MetadataReader, bucket: str, start: Until, end: Until, stream: str
) -> AsyncIterator[NumberedRecord]:
    """Yield the records that tell of the bucket. Stamps are in order within seconds only."""
    named = b'"bucket":' + orjson.dumps(bucket)
    position = await _first_position(reader, start, stream)
    latest = None if end.at_us is None else end.at_us + CLOCK_SLACK_US
    async for run in DatabaseRecords(reader, stream=stream).read(position):
        if end.position is not None and run[0].position > end.position:
            return
        if latest is not None and data_of(run[0])["stamp"] > latest:
            return
        for record in run:
            if named in record.payload and _is_within(record, bucket, start, end):
                yield record


def _is_within(record: NumberedRecord, bucket: str, start: Until, end: Until) -> bool:
    data = data_of(record)
    begins = start == EVERYTHING or start.is_beyond(record.position, data["stamp"])
    ends = end.is_beyond(record.position, data["stamp"])
    return data["bucket"] == bucket and begins and not ends


async def _first_position(reader: MetadataReader, start: Until, stream: str) -> int:
    if start.position is not None:
        return start.position + 1
    if start.at_us is None:
        return FIRST_POSITION
    return await position_before(reader, stream, start.at_us - CLOCK_SLACK_US)


def _note(seen: dict[bytes, _Seen], record: NumberedRecord) -> None:
    data = data_of(record)
    if data["operation"] not in OPERATIONS:
        return
    facts, key = data["facts"], _key_of(data)
    objects, size = facts.get("usage", {}).get(record.stream.hex(), (0, 0))
    is_put = data["operation"] != "DeleteObject"
    if is_put and facts.get("outcome", "ok") != "ok":
        return  # An accepted upload that could not be stored: the key is what it was.
    if not is_put and not objects:
        return
    after = _After(facts["size"], facts["etag"], facts["version"]) if is_put else None
    if key in seen:
        before = seen[key].size_before
    else:
        before = None if objects > 0 else (after.size if after else 0) - size
    seen[key] = _Seen(before, after, data, record.position)


def _change_of(key: bytes, seen: _Seen) -> KeyChange | None:
    before, after, data = seen.size_before, seen.after, seen.last
    if before is None and after is None:
        return None  # Made and deleted in between.
    kind: Literal["added", "replaced", "deleted"] = "replaced"
    if before is None:
        kind = "added"
    elif after is None:
        kind = "deleted"
    return KeyChange(
        key=key,
        kind=kind,
        size_before=before,
        size_after=after.size if after else None,
        etag=after.etag if after else "",
        version=after.version if after else "",
        position=seen.position,
        at_us=data["stamp"],
        operation=data["operation"],
        user_name=data["actor"].get("user_name", ""),
    )


def _key_of(data: Mapping[str, Any]) -> bytes:
    return str(data["key"]).encode() if "key" in data else bytes_from_json(data["key_base64"])
