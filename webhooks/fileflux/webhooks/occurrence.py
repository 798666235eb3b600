"""What a subscriber may learn of an audit record: a change of an object, and nothing internal."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from fileflux.core.changes import OK
from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId, parse_id
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.row_json import bytes_from_json

S3_NAMES: Final = {
    "PutObject": "s3:ObjectCreated:Put",
    "CopyObject": "s3:ObjectCreated:Copy",
    "CompleteMultipartUpload": "s3:ObjectCreated:CompleteMultipartUpload",
    "DeleteObject": "s3:ObjectRemoved:Delete",
    "RestoreVersion": "s3:ObjectCreated:Copy",
}
"""The operations that are told, by their names in S3's notifications. Whoever brings an older
version back in S3 copies it; `ObjectRestore` there is about archived storage classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """A change of one object. `size` and `etag` are None for a removal.

    `owner`: hexadecimal, whose bucket it was when it happened.
    `actor`: user_name, source_address, request_id, … as the audit record has them.
    """

    event_id: str
    event_type: str
    name: str
    time: str
    position: int
    sequence: int
    bucket_id: BucketId
    bucket: str
    owner: str
    key: bytes
    version: str
    size: int | None
    etag: str | None
    actor: dict[str, str]


def occurrence_of(record: NumberedRecord) -> Occurrence | None:
    """Return what subscribers are told of a record; None: nothing. Raise EventInvalid."""
    try:
        event = orjson.loads(record.payload)
        data = event["data"]
        is_told = data["operation"] in S3_NAMES and data["facts"].get("outcome", OK) == OK
        return _occurrence(record, event, data) if is_told else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EventInvalid(f"audit position {record.position}: {error!r}") from error


def _occurrence(record: NumberedRecord, event: dict[str, Any], data: dict[str, Any]) -> Occurrence:
    facts = data["facts"]
    key = data["key"].encode() if "key" in data else bytes_from_json(data["key_base64"])
    return Occurrence(
        event_id=event["id"],
        event_type=event["type"],
        name=S3_NAMES[data["operation"]],
        time=event["time"],
        position=record.position,
        sequence=record.sequence,
        bucket_id=BucketId(parse_id(data["bucket_id"])),
        bucket=data["bucket"],
        owner=facts.get("owner", ""),
        key=key,
        version=facts.get("version", ""),
        size=facts.get("size"),
        etag=facts.get("etag"),
        actor=data["actor"],
    )
