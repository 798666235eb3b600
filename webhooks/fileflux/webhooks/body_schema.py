"""The JSON Schemas of what webhooks and routes send: what `rendering` writes. Pure."""

from collections.abc import Sequence
from typing import Final

from fileflux.core.json_schema import (
    Schema,
    array,
    constant,
    document,
    hexadecimal,
    integer,
    known,
    padded,
    record,
    ref,
    text,
    time_text,
)
from fileflux.metadata.audit_record import EVENT_TYPES, TYPE_PREFIX
from fileflux.metadata.facts_schema import BYTES, Members
from fileflux.webhooks.occurrence import S3_NAMES
from fileflux.webhooks.rendering import EVENT_SOURCE, TEST_TYPE

_TYPES: Final = tuple(TYPE_PREFIX + EVENT_TYPES[operation] for operation in S3_NAMES)
_STORED: Final[Members] = {"size": integer("The object's size.", BYTES)}


def s3_notification() -> Schema:
    """Return the schema of a body of format `s3`: S3's event record 2.1, or its test event."""
    names = (name.removeprefix("s3:") for name in S3_NAMES.values())
    principal = record({"principalId": text("A user's name.")})
    owner = record({"principalId": hexadecimal("The id of the bucket's owner.")})
    stored: Members = {
        "key": text("The key, encoded as in a form: a blank is `+`."),
        "sequencer": text("Orders the events of a bucket, as text.", pattern="^[0-9A-F]{16}$"),
    }
    bucket = record({"name": text("The bucket's name."), "ownerIdentity": owner, "arn": text("")})
    of_s3: Members = {
        "s3SchemaVersion": constant("1.0"),
        "configurationId": text("The Id of the bucket's configuration, or the webhook's id."),
        "bucket": bucket,
        "object": record(stored, {**_STORED, "eTag": text("Without quotes.")}),
    }
    members: Members = {
        "eventVersion": constant("2.1"),
        "eventSource": constant(EVENT_SOURCE),
        "awsRegion": text("Always the same: clients want one."),
        "eventTime": time_text("When it took effect, to the millisecond."),
        "eventName": known(names, "What happened, by S3's name without `s3:`."),
        "userIdentity": principal,
        "requestParameters": record({"sourceIPAddress": text("Whence the request came.")}),
        "responseElements": record({"x-amz-request-id": text("As the answer had it.")}),
        "s3": record(of_s3),
    }
    events = record({"Records": array(ref("event"), "One event a message today.", minItems=1)})
    either = {"oneOf": [ref("events"), ref("test")]}
    defs = {"events": events, "event": record(members), "test": _s3_test()}
    return document("s3-notification", "An S3 event notification", either, defs)


def _s3_test() -> Schema:
    return record(
        {
            "Service": text("Who says it."),
            "Event": constant("s3:TestEvent"),
            "Time": text("When it was asked for."),
            "Bucket": text("The bucket's name."),
            "RequestId": text("The message's id."),
        }
    )


def webhook_data() -> Schema:
    """Return the schema of a body of format `cloudevents`: the event's data alone."""
    return document("webhook-data", "What a webhook's CloudEvent tells", _either_data(), _data())


def webhook_event() -> Schema:
    """Return the schema of a body of format `cloudevents-structured`: a whole CloudEvent."""
    made = _event([*_TYPES, TEST_TYPE], _either_data())
    return document("webhook-event", "A webhook's CloudEvent, structured", made, _data())


def routed_data() -> Schema:
    """Return the schema of what a route in format `cloudevents` writes as value."""
    return document("routed-data", "What a route's CloudEvent tells", _change({}), {})


def routed_event() -> Schema:
    """Return the schema of what a route in format `cloudevents-structured` sends."""
    made = _event(_TYPES, _change({}))
    return document("routed-event", "A route's CloudEvent, structured", made, {})


def _event(types: Sequence[str], data: Schema) -> Schema:
    required: Members = {
        "specversion": constant("1.0"),
        "id": text("The change's id, or the test's: one for ever, at every attempt."),
        "source": text("`/buckets/<name>`.", format="uri-reference"),
        "type": known(types, "What happened."),
        "time": text("When it took effect."),
        "datacontenttype": constant("application/json"),
        "data": data,
    }
    optional: Members = {
        "subject": text("The key; what is not UTF-8 is percent-encoded."),
        "sequence": padded("Place among the bucket's events."),
    }
    return record(required, optional)


def _either_data() -> Schema:
    return {"oneOf": [ref("change"), ref("test")]}


def _data() -> dict[str, Schema]:
    test = record({"bucket": text("The bucket's name.")}, says="A test: it tells of nothing.")
    test["not"] = {"required": ["name"]}
    return {"change": _change({"position": integer("Place in the audit stream.")}), "test": test}


def _change(besides: Members) -> Schema:
    """`besides`: what only some are told."""
    required: Members = {
        "name": known(S3_NAMES.values(), "What happened, by S3's name."),
        "bucket": text("The bucket's name."),
        "key": text("The key; what is not UTF-8 is percent-encoded."),
        "key_encoded": text("The key, encoded as in a form: no two keys look the same."),
        "version": text("The version that the change made or removed; may be empty."),
        "principal": text("The name of who did it."),
        "source_address": text("Whence the request came."),
        "request_id": text("As the answer had it."),
        "sequence": integer("Place among the bucket's events."),
        **besides,
    }
    return record(required, {**_STORED, "etag": text("Without quotes.")})
