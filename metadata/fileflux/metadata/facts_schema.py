"""The JSON Schema of what an audit record says of a change: its actor, its facts. Pure.

`audit_facts` and `seals` write them. A member is added freely as an optional one.
"""

from collections.abc import Mapping
from typing import Final

from fileflux.core.json_schema import (
    Schema,
    array,
    base64_text,
    boolean,
    hexadecimal,
    integer,
    mapping,
    record,
    text,
)
from fileflux.core.model import HopTimes
from fileflux.metadata.audit_filter import OPERATION_NAMES
from fileflux.metadata.audit_json import FACTS_KEPT
from fileflux.metadata.audit_record import SALVAGE

Members = dict[str, Schema]
TIME_US: Final = "µs since 1970-01-01T00:00:00Z"
BYTES: Final = "bytes"
_CHECKSUM_TYPE: Final = "FULL_OBJECT or COMPOSITE."

KEY: Final[Members] = {
    "key": text("The object's key, where it is UTF-8."),
    "key_base64": base64_text("The key, where it is not UTF-8."),
}
ACTOR_SAYS: Final = {
    "user_id": hexadecimal("Whose key or password it was."),
    "user_name": text("Their name."),
    "key_id": text("The access key; empty for a password."),
    "source_address": text("Whence the request came."),
    "user_agent": text("As the client said, credentials cut out."),
    "request_id": text("As the answer had it."),
    "trace_id": text("Of the trace that it belongs to; may be empty."),
}
ACTOR_MAY_SAY: Final = {
    "traceparent": text("The request's place in a trace (W3C), if it had one."),
}


def actor_schema() -> Schema:
    """Return the schema of who did it."""
    return record(ACTOR_SAYS, ACTOR_MAY_SAY, "Who did it.")


_STORED: Final[Members] = {
    "version": hexadecimal("The version that the change made or removed."),
    "size": integer("The object's or part's size.", BYTES),
    "etag": text("The ETag without quotes."),
}
_SUMS: Final[Members] = {
    "checksums": mapping(text("Base64."), "By algorithm."),
    "checksum_type": text(_CHECKSUM_TYPE),
}
_ALWAYS: Final[Members] = {
    "outcome": text("`ok`, or the S3 error code of an accepted upload that could not be stored."),
}
_MAYBE: Final[Members] = {
    **_SUMS,
    "detail": text("One sentence about the outcome."),
    "owner": hexadecimal("Whose bucket it was: whom the event may be shown to."),
    "usage": mapping(
        array({"type": "integer"}, "Objects and bytes added.", minItems=2, maxItems=2),
        "What the change added to each bucket, by its id; negative for what it took away.",
    ),
    "salvaged": boolean("Read from the nodes' own records by a salvage, and written then."),
}
_CLASS: Final = {"class": text("The storage class.")}
_MULTIPART: Final = {"multipart": hexadecimal("The multipart upload.")}
_PART: Final[Members] = {**_MULTIPART, "part": integer("The part's number, from 1.", minimum=1)}
_USER: Final = {"user": hexadecimal("The user that it is about.")}
_ACCESS_KEY: Final = {"access_key": text("The access key that it is about.")}


def _hops() -> Schema:
    times = {name: integer("", TIME_US) for name in HopTimes.__dataclass_fields__}
    return record(times, says="When the upload passed each hop; 0: it did not.")


def _placement() -> Schema:
    times = ("received_us", "pulled_us", "durable_us")
    commit = record({"node": text("The node.")}, {name: integer("", TIME_US) for name in times})
    details: Members = {
        "seal": hexadecimal("The flush that brought it."),
        "epoch": integer("Of the placement map."),
        "set": integer("The replica set in it."),
        "nodes": array(text("A node."), "Where it lies."),
        "size": integer("The bundle's size.", BYTES),
        "crc": integer("CRC32C of the bundle's index part."),
        "size_class": integer("0 small, 1 large."),
        "wanted": integer("Replicas."),
        "commits": array(commit, "When each node had it, as far as known then."),
    }
    return record({"bundle": hexadecimal("The bundle.")}, details)


def _stored_facts() -> Members:
    return {"hops": _hops(), "bundles": array(_placement(), "Where the bytes lie.")}


def _source(of: Members) -> Members:
    version = {"version": hexadecimal("The version that was copied.")}
    return {"source": record({**of, **version}, KEY, "What was copied.")}


_FROM_BUCKET: Final = _source({"bucket": text("The bucket's name.")})
_FROM_BUCKET_ID: Final = _source({"bucket_id": hexadecimal("The bucket.")})
_PARTS: Final = {"parts": integer("Of how many parts.")}
_NODE: Final[Members] = {
    "node": text("The node that it is about."),
    "intent": text("`active`, `drain` or `remove`."),
    "weight": {"type": "number", "description": "Its share of new bytes; 1 is usual."},
}
_AS_OF: Final[Members] = {"position": integer("What it was behind this position.")}
_RESTORED: Final = {
    "restored": record(
        {"version": hexadecimal("The version of then."), **_AS_OF}, says="What came back."
    )
}
_DELETED_NEWER: Final = {
    "restored": record(_AS_OF, says="A restore deleted it: it was not there behind this position.")
}
_HOLD_ID: Final = {"hold": hexadecimal("The hold.")}
_HOLD: Final[Members] = {
    **_HOLD_ID,
    "kind": text("`operator` or `restore`."),
    "reason": text("Why."),
    "from_position": integer("The first position that is kept."),
    "until_us": integer("How long.", TIME_US),
}
_SALVAGE: Final[Members] = {
    "nodes": mapping(integer("Bundles."), "What each node told of."),
    "objects": integer("How many objects came back."),
    "bytes": integer("Their size.", BYTES),
    "findings": mapping(integer("How many."), "What was left out, by why."),
    "unknown": array(text("One sentence."), "What no node could know."),
}
_FACTS: Final[Mapping[str, tuple[Members, Members]]] = {
    "PutObject": ({**_CLASS, "async": boolean("Answered 202."), **_stored_facts()}, _STORED),
    "CopyObject": ({**_FROM_BUCKET, **_STORED}, {}),
    "DeleteObject": ({}, {**_STORED, **_DELETED_NEWER}),
    "RestoreVersion": ({**_CLASS, **_RESTORED, **_STORED}, {}),
    "AcceptAsync": ({"size": _STORED["size"]}, {}),
    "CreateMultipartUpload": ({**_MULTIPART, **_CLASS}, _STORED),
    "UploadPart": ({**_PART, **_stored_facts()}, _STORED),
    "UploadPartCopy": ({**_PART, **_FROM_BUCKET_ID}, _STORED),
    "CompleteMultipartUpload": ({**_MULTIPART, **_PARTS, **_STORED}, {}),
    "AbortMultipartUpload": (_MULTIPART, {}),
    "CreateBucket": ({"owner": _MAYBE["owner"], **_CLASS}, {}),
    "ConfigureBucket": ({"entries": array(text("A name."), "Which were set or removed.")}, {}),
    "DeleteBucket": ({}, {}),
    "CreateUser": ({**_USER, "name": text("Their name.")}, {}),
    "SetPassword": (_USER, {}),
    "DeleteUser": (_USER, {}),
    "CreateKey": ({**_USER, **_ACCESS_KEY}, {}),
    "SetKeyActive": ({**_ACCESS_KEY, "active": boolean("Usable from now on.")}, {}),
    "DeleteKey": (_ACCESS_KEY, {}),
    "SetNodeIntent": (_NODE, {}),
    "CreateHold": (_HOLD, {}),
    "ReleaseHold": (_HOLD_ID, {}),
    SALVAGE: (_SALVAGE, {}),
    "DropContent": ({"content": hexadecimal("The content that nobody held.")}, {}),
}
"""What each operation's facts have always, and sometimes; besides what every one's may have."""


def facts_definitions() -> dict[str, Schema]:
    """Return the schema of every operation's facts, `facts.<operation>`."""
    return {
        f"facts.{operation}": record({**_ALWAYS, **_FACTS[operation][0]}, _optional(operation))
        for operation in sorted(OPERATION_NAMES)
    }


def _optional(operation: str) -> Members:
    required, optional = _FACTS[operation]
    return {name: one for name, one in {**_MAYBE, **optional}.items() if name not in required}


def tenant_facts_definitions() -> dict[str, Schema]:
    """A tenant's copy has fewer members, and the source of a copy only if it was its own."""
    made = {}
    for name, schema in facts_definitions().items():
        kept = {m: one for m, one in schema["properties"].items() if m in (*FACTS_KEPT, "source")}
        required = [m for m in schema["required"] if m in FACTS_KEPT]
        made[name] = {**schema, "properties": kept, "required": required}
    return made
