"""Audit records ⇄ stored bytes. What is stored is hashed and published as it is, for ever.

A record is the JSON of one CloudEvent: who did what, to which key, with what outcome, and every
audited row that it wrote, so that a replay needs nothing else. Position, sequence and hash come
later, from the sequencer, and travel beside it (`chain.py`). A transaction's records are stored
as one pending block until then: a version byte, then for each record its stream (a bucket's id,
16 zero bytes for the system's), its length (4 bytes, big endian) and its bytes.
"""

import hashlib
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import orjson

from fileflux.core.changes import OK
from fileflux.core.errors import EventInvalid
from fileflux.core.ids import ID_SIZE_BYTES, BucketId, UploadId, parse_id
from fileflux.metadata.audit_facts import key_facts
from fileflux.metadata.row_json import bytes_from_json, effect_from_json, effect_to_json
from fileflux.metadata.rows import AuditRecord, Writes

RECORD_VERSION: Final = 1
SYSTEM_STREAM: Final = BucketId(bytes(ID_SIZE_BYTES))
"""The stream of what belongs to no bucket: users, keys, nodes. No bucket has this id."""

SALVAGE: Final = "Salvage"
"""No change: what stands behind it was read from the nodes (`salvage.py`)."""
TYPE_PREFIX: Final = "fileflux."
REFUSED_TYPE: Final = "object.refused"
EVENT_TYPES: Final = {
    "PutObject": "object.created",
    "CopyObject": "object.copied",
    "DeleteObject": "object.deleted",
    "AcceptAsync": "object.accepted",
    "CreateMultipartUpload": "upload.created",
    "UploadPart": "part.created",
    "UploadPartCopy": "part.copied",
    "CompleteMultipartUpload": "upload.completed",
    "AbortMultipartUpload": "upload.aborted",
    "CreateBucket": "bucket.created",
    "ConfigureBucket": "bucket.configured",
    "DeleteBucket": "bucket.deleted",
    "CreateUser": "user.created",
    "SetPassword": "user.password_set",
    "DeleteUser": "user.deleted",
    "CreateKey": "access_key.created",
    "SetKeyActive": "access_key.changed",
    "DeleteKey": "access_key.deleted",
    "SetNodeIntent": "node.intent_set",
    "DropContent": "content.dropped",
    SALVAGE: "salvage.recorded",
    "RestoreVersion": "object.restored",
    "CreateHold": "hold.created",
    "ReleaseHold": "hold.released",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STREAM: Final = re.compile(rb'"bucket_id":(?:null|"([0-9a-f]{32})")')
_TIME_US_MAX: Final = 253_402_300_799_000_000
"""The end of the year 9999: more cannot be written as a time."""


def encode_record(record: AuditRecord) -> bytes:
    """Return the bytes that are stored, hashed and published for one record."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": event_id(record),
            "source": f"/buckets/{quote(record.bucket)}" if record.bucket_id else "/system",
            "type": event_type(record),
            "time": _time_text(record.stamp),
            "datacontenttype": "application/json",
            "data": _data_of(record),
        }
    )


def event_id(record: AuditRecord) -> str:
    """Return the change's id. Accepting an upload and storing it are two events of one id."""
    suffix = "-accepted" if record.operation == "AcceptAsync" else ""
    return record.record_id.hex() + suffix


def event_type(record: AuditRecord) -> str:
    """Return the CloudEvent's type. Only an asynchronous upload is recorded when refused."""
    refused = record.facts.get("outcome", OK) != OK
    return TYPE_PREFIX + (REFUSED_TYPE if refused else EVENT_TYPES[record.operation])


def _time_text(at_us: int) -> str:
    moment = _EPOCH + timedelta(microseconds=min(at_us, _TIME_US_MAX))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _data_of(record: AuditRecord) -> dict[str, object]:
    return {
        "version": RECORD_VERSION,
        "operation": record.operation,
        "bucket": record.bucket,
        "bucket_id": record.bucket_id.hex() if record.bucket_id else None,
        **({} if record.key is None else key_facts(record.key)),
        "at_us": record.at_us,
        "stamp": record.stamp,
        "actor": record.actor,
        "facts": record.facts,
        "effects": [effect_to_json(effect) for effect in record.effects],
    }


def decode_record(raw: bytes) -> AuditRecord:
    """Return the record that `encode_record` wrote; raise EventInvalid for anything else."""
    try:
        event = orjson.loads(raw)
        data = event["data"]
        if data["version"] != RECORD_VERSION:
            raise EventInvalid(f"an audit record of version {data['version']}")
        return _record_of(event["id"], data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EventInvalid(f"not an audit record: {error!r}") from error


def stream_of(raw: bytes) -> BucketId:
    """Return the stream that a stored record names; raise EventInvalid if it names none.

    The first such member is that of `data`: before it stand a few strings, and within a string the
    quotes are escaped. So the record, which may be large, is not decoded.
    """
    found = _STREAM.search(raw)
    if found is None:
        raise EventInvalid("not an audit record: it names no stream")
    return BucketId(bytes.fromhex(found[1].decode())) if found[1] else SYSTEM_STREAM


def usage_in(raw: bytes) -> dict[BucketId, tuple[int, int]]:
    """Return what a stored record added to its buckets' (objects, bytes)."""
    usage = orjson.loads(raw)["data"]["facts"].get("usage", {})
    return {BucketId(parse_id(name)): (delta[0], delta[1]) for name, delta in usage.items()}


def _record_of(name: str, data: dict[str, Any]) -> AuditRecord:
    return AuditRecord(
        record_id=UploadId(parse_id(name.partition("-")[0])),
        bucket_id=BucketId(parse_id(data["bucket_id"])) if data["bucket_id"] else None,
        bucket=data["bucket"],
        operation=data["operation"],
        key=key_of(data),
        at_us=data["at_us"],
        stamp=data["stamp"],
        actor=data["actor"],
        facts=data["facts"],
        effects=tuple(effect_from_json(effect) for effect in data["effects"]),
    )


def key_of(data: dict[str, Any]) -> bytes | None:
    """Return the key in a record's data, None if it has none."""
    if "key" in data:
        return str(data["key"]).encode()
    return bytes_from_json(data["key_base64"]) if "key_base64" in data else None


_PENDING_VERSION: Final = b"\x01"
_FRAME: Final = struct.Struct(f">{ID_SIZE_BYTES}sI")


@dataclass(frozen=True, slots=True)
class PendingRecord:
    """A record that waits for its number. `payload`: its exact bytes."""

    stream: BucketId
    payload: bytes


def pending_block(writes: Writes) -> tuple[bytes, bytes] | None:
    """Return (block id, payload) of a transaction's records; None if it has none.

    The id follows from the bytes, so a transaction that is run again stores the same block.
    """
    if not writes.audit:
        return None
    pieces = [_PENDING_VERSION]
    for record in writes.audit:
        raw = encode_record(record)
        pieces += (_FRAME.pack(record.bucket_id or SYSTEM_STREAM, len(raw)), raw)
    payload = b"".join(pieces)
    return hashlib.blake2b(payload, digest_size=ID_SIZE_BYTES).digest(), payload


def unpack_pending(payload: bytes) -> list[PendingRecord]:
    """Return a pending block's records; raise EventInvalid for anything else."""
    if payload[:1] != _PENDING_VERSION:
        raise EventInvalid("not a pending block of a version we know")
    records = []
    at = 1
    while at < len(payload):
        stream, size = unpack_frame(_FRAME, payload, at)
        at += _FRAME.size
        records.append(PendingRecord(BucketId(stream), payload[at : at + size]))
        at += size
    if at != len(payload):
        raise EventInvalid("a pending block ends inside a record")
    return records


def unpack_frame(frame: struct.Struct, payload: bytes, at: int) -> tuple[Any, ...]:
    """Return the fields of the frame at `at`; raise EventInvalid if the bytes end inside it."""
    if at + frame.size > len(payload):
        raise EventInvalid("a block ends inside a frame")
    return frame.unpack_from(payload, at)
