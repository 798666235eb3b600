"""The JSON Schemas of the audit stream: records, lines, a tenant's events, checkpoints. Pure.

They say what the encoders write (`audit_record`, `audit_facts`, `audit_json`, `checkpoint`): tests
hold every record that they make against them, closed, so a member that is not declared here fails.
"""

from typing import Any, Final

from fileflux.core.json_schema import (
    Schema,
    array,
    case,
    constant,
    document,
    hexadecimal,
    integer,
    known,
    nullable,
    padded,
    record,
    ref,
    text,
    time_text,
)
from fileflux.metadata.audit_filter import OPERATION_NAMES
from fileflux.metadata.audit_json import ACTOR_SHOWN
from fileflux.metadata.audit_record import EVENT_TYPES, RECORD_VERSION, REFUSED_TYPE, TYPE_PREFIX
from fileflux.metadata.checkpoint import FORMAT, VERSION
from fileflux.metadata.facts_schema import (
    ACTOR_SAYS,
    KEY,
    TIME_US,
    Members,
    actor_schema,
    facts_definitions,
    tenant_facts_definitions,
)
from fileflux.metadata.row_schema import effect_schema, row_definitions


def _cases() -> list[Schema]:
    return [
        case("operation", operation, {"properties": {"facts": ref(f"facts.{operation}")}})
        for operation in sorted(OPERATION_NAMES)
    ]


_FACTS_SAY: Final = "What came of it; members by operation, below."


def _data_schema() -> Schema:
    required: Members = {
        "version": constant(RECORD_VERSION, "A reader refuses a version that it does not know."),
        **_what(),
        "stamp": integer("When it took effect; changes of a key sort by it.", TIME_US),
        "actor": ref("actor"),
        "facts": {"type": "object", "description": _FACTS_SAY},
        "effects": array(effect_schema(), "For replay: every row that the change wrote, in order."),
    }
    return {**record(required, KEY, "The change."), "allOf": _cases()}


def _what() -> Members:
    return {
        "operation": known(OPERATION_NAMES, "S3's name, or ours."),
        "bucket": text("The bucket's name; empty for what belongs to no bucket."),
        "bucket_id": nullable(hexadecimal("Its id, never given again.")),
        "at_us": integer("When the request was received.", TIME_US),
    }


def _event(data: Schema) -> Members:
    types = [TYPE_PREFIX + one for one in (*EVENT_TYPES.values(), REFUSED_TYPE)]
    return {
        "specversion": constant("1.0"),
        "id": text("The change's id: one for ever.", pattern="^[0-9a-f]{32}(-accepted)?$"),
        "source": text("`/buckets/<name>`, or `/system`.", format="uri-reference"),
        "type": known(types, "What happened."),
        "time": time_text("When it took effect."),
        "datacontenttype": constant("application/json"),
        "data": data,
    }


_NUMBERS: Final[Members] = {
    "position": padded("Place in the stream set, from 1 without gaps."),
    "stream": hexadecimal("The bucket's id; zeros: what belongs to no bucket."),
    "sequence": padded("Place among the stream's records, from 1 without gaps."),
    "prevhash": hexadecimal("The chain's hash before this record.", 64),
}


def audit_record() -> Schema:
    """Return the schema of the value of a record of `fileflux.audit`."""
    defs = {"actor": actor_schema(), **facts_definitions(), **row_definitions()}
    made = record(_event(_data_schema()))
    return document("audit-record", "A record of the audit stream", made, defs)


def audit_line() -> Schema:
    """Return the schema of a line of an archive, an export, or an operator's event over HTTP."""
    defs = {"actor": actor_schema(), **facts_definitions(), **row_definitions()}
    members = {**_NUMBERS, **_event(_data_schema())}
    return document("audit-line", "An audit record with its numbers", record(members), defs)


def tenant_event() -> Schema:
    """Return the schema of an event as the owner of its bucket sees it."""
    shown = {name: ACTOR_SAYS[name] for name in ACTOR_SHOWN}
    rest = {name: one for name, one in ACTOR_SAYS.items() if name not in shown}
    data: Members = {
        "version": constant(RECORD_VERSION, "A reader refuses a version that it does not know."),
        **_what(),
        "actor": record(shown, rest, "Who did it: of others only who they are."),
        "facts": {"type": "object", "description": _FACTS_SAY},
    }
    numbers = {name: _NUMBERS[name] for name in ("stream", "sequence")}
    whole = {**record(data, KEY, "The change."), "allOf": _cases()}
    made = record({**numbers, **_event(whole)})
    title = "A change as its bucket's owner sees it"
    return document("tenant-event", title, made, tenant_facts_definitions())


def checkpoint() -> Schema:
    """Return the schema of the value of a record of `fileflux.audit.checkpoints`."""
    members: Members = {
        "format": constant(FORMAT),
        "version": constant(VERSION),
        "stream": text("The stream set."),
        "number": integer("1, 2, 3 … without gaps.", minimum=1),
        "position": integer("Of the last record that it vouches for."),
        "chain_hash": hexadecimal("The chain's hash after that record.", 64),
        "time": time_text("When it was signed, by the database's clock."),
        "previous": hexadecimal("Digest of the checkpoint before; zeros for the first.", 64),
        "key": hexadecimal("The public key, raw.", 64),
        "signature": hexadecimal("Ed25519 over the text in docs/formats/archive.md.", 128),
    }
    return document("checkpoint", "A signed checkpoint of the audit stream", record(members), {})


def audit_headers() -> Schema:
    """Return the schema of a record's headers: CloudEvents' attributes in Kafka's binary mode."""
    event: dict[str, Any] = _event({})
    names = ("specversion", "id", "source", "type", "time")
    made = cloudevent_headers({**{n: event[n] for n in names}, **_NUMBERS})
    made["properties"] |= {
        "ce_traceparent": text("The request's place in a trace (W3C), if it had one."),
        "traceparent": text("The place in a trace of what published the record, if it had one."),
    }
    return made


def cloudevent_headers(attributes: Members) -> Schema:
    """Return the schema of the headers that carry these attributes."""
    content_type = constant("application/json; charset=utf-8")
    named = {f"ce_{name}": schema for name, schema in attributes.items()}
    return record({"content-type": content_type, **named})
