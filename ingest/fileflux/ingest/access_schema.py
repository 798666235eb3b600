"""The JSON Schema of the access stream: what `access_log` writes. Pure."""

from typing import Final

from fileflux.core.json_schema import (
    Schema,
    constant,
    document,
    hexadecimal,
    integer,
    known,
    record,
    text,
    time_text,
)
from fileflux.events.access import READ, REFUSED
from fileflux.ingest.operations import OPERATIONS
from fileflux.metadata.audit_schema import cloudevent_headers
from fileflux.metadata.facts_schema import ACTOR_MAY_SAY, ACTOR_SAYS, BYTES, KEY, TIME_US, Members

_NAMES: Final = [one.name for one in OPERATIONS]
_REQUEST: Final = ("source_address", "request_id")
"""What is known of somebody who did not prove who they are."""


def access_record() -> Schema:
    """Return the schema of the value of a record of `fileflux.access`."""
    actor = record(
        {name: ACTOR_SAYS[name] for name in _REQUEST},
        {name: one for name, one in ACTOR_SAYS.items() if name not in _REQUEST} | ACTOR_MAY_SAY,
        "Who asked; of those who did not prove it, only whence.",
    )
    required: Members = {
        "version": constant(1, "A reader refuses a version that it does not know."),
        "operation": known(
            [*_NAMES, "unknown"], "S3's name; unknown: refused before that was clear."
        ),
        "method": text("Of HTTP."),
        "bucket": text("The bucket's name."),
        "bucket_id": hexadecimal("Its id, never given again."),
        "owner": hexadecimal("Whose bucket it is."),
        "at_us": integer("When the request was received.", TIME_US),
        "status": integer("Of the HTTP answer.", minimum=100, maximum=599),
        "actor": actor,
    }
    optional: Members = {
        **KEY,
        "code": text("S3's error code, where it was refused."),
        "size": integer("Of the answer's body.", BYTES),
    }
    return document("access-record", "A read or a refused request", record(required, optional), {})


def access_headers() -> Schema:
    """Return the schema of a record's headers: CloudEvents' attributes in Kafka's binary mode."""
    return cloudevent_headers(
        {
            "specversion": constant("1.0"),
            "id": text("The request's id."),
            "source": text("`/buckets/<name>`.", format="uri-reference"),
            "type": known((READ, REFUSED), "What happened."),
            "time": time_text("When the request was received."),
        }
    )
