"""The AsyncAPI 3.0 document: everything that FileFlux sends, and to whom it is of use. Pure.

Payloads are the published JSON Schemas, in files beside the document. Our own topics stand in it
too, marked `x-internal`: nobody else should read them, and whoever looks at a broker knows them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from fileflux.core.json_schema import VERSION, Schema, record, text
from fileflux.core.tracing import TRACEPARENT
from fileflux.events.reference import described
from fileflux.events.topics import (
    ACCESS_TOPIC,
    AUDIT_TOPIC,
    CHECKPOINTS_TOPIC,
    PIPELINE_TOPICS,
    Topic,
)
from fileflux.events.wire import EVENT_KINDS
from fileflux.events.wire_table import fields_table
from fileflux.ingest.access_schema import access_headers
from fileflux.metadata.audit_schema import audit_headers
from fileflux.webhooks.messages import ATTEMPT_HEADER, REPLAY_HEADER
from fileflux.webhooks.rendering import STRUCTURED_TYPE
from fileflux.webhooks.routes.messages import EVENT_ID_HEADER

Json = dict[str, Any]
SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"
_BINDING: Final = "0.5.0"
_MSGPACK: Final = "application/vnd.fileflux.events+msgpack"
_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "time")
_ATTRIBUTES_BESIDE: Final = ("subject", "sequence")
_DESCRIPTION: Final = """\
What an installation of FileFlux tells others. The audit stream has every change, numbered without \
gaps; accesses are recorded for the buckets that ask; owners of buckets follow their own events \
over HTTP, or have them delivered by webhooks. Members are added to records at any time: a reader \
ignores those that it does not know."""


def render() -> str:
    """Return the text of the document."""
    return orjson.dumps(asyncapi(), option=orjson.OPT_INDENT_2).decode() + "\n"


def asyncapi() -> Json:
    """Return the whole document."""
    channels = {
        **_public_topics(),
        **_http_channels(),
        **_route_channel(),
        **_internal_topics(),
    }
    return {
        "asyncapi": "3.0.0",
        "id": "urn:fileflux:events",
        "info": {
            "title": "FileFlux events",
            "version": f"{VERSION}.0.0",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": channels,
        "operations": {f"send-{name}": _operation(name) for name in channels},
        "components": {"messages": {**_public_messages(), **_internal_messages()}},
    }


def _servers() -> Json:
    broker = "Wherever KAFKA_BOOTSTRAP_SERVERS says; `fileflux dev` prints it."
    gateway = "The S3 endpoint."
    return {
        "kafka": {"host": "localhost:9092", "protocol": "kafka", "description": broker},
        "gateway": {"host": "localhost:9000", "protocol": "http", "description": gateway},
    }


def _operation(channel: str) -> Json:
    return {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}}


def _messages(names: Sequence[str]) -> Json:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _topic_channel(topic: Topic, messages: Sequence[str], says: str) -> Json:
    required = topic.required_settings(brokers=1)
    settings: Json = {
        "cleanup.policy": required["cleanup.policy"].split(","),
        "retention.ms": topic.retention_ms,
    }
    if "max.message.bytes" in required:
        settings["max.message.bytes"] = int(required["max.message.bytes"])
    partitions = {"partitions": 1} if topic.partitioned_by == "one" else {}
    binding = {**partitions, "topicConfiguration": settings, "bindingVersion": _BINDING}
    return {
        "address": topic.name,
        "description": says,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": _messages(messages),
        "bindings": {"kafka": binding},
    }


def _public_topics() -> Json:
    audit = (
        "Every change, in one partition, numbered. For operators: it has every tenant's keys. Keep "
        "the position with your effect, skip a position that you have, treat a gap as an error."
    )
    access = (
        "Reads and refused requests of the buckets that ask for it, partitioned by bucket. At "
        "least once; no numbers and no chain."
    )
    checkpoints = "Signed: with the public key anybody verifies the audit stream."
    return {
        "audit": _topic_channel(AUDIT_TOPIC, ["audit-record"], audit),
        "audit-checkpoints": _topic_channel(CHECKPOINTS_TOPIC, ["checkpoint"], checkpoints),
        "access": _topic_channel(ACCESS_TOPIC, ["access-record"], access),
    }


def _http_channels() -> Json:
    gateway = [{"$ref": "#/servers/gateway"}]
    follow = "Server-sent events: those of one's own buckets; for root all (docs/reference)."
    deliver = "POST to the URL of a subscription, signed by Standard Webhooks, at least once."
    return {
        "events": {
            "address": "/events",
            "description": follow,
            "servers": gateway,
            "messages": _messages(["tenant-event", "audit-line"]),
        },
        "webhook": {
            "address": None,
            "description": deliver,
            "messages": _messages(["s3-notification", "webhook-data", "webhook-event"]),
        },
    }


def _route_channel() -> Json:
    says = (
        "Topics of tenants, which operators name (`fileflux route create`): what happens in a "
        "bucket or in all of a user's. At least once, each key in one partition and in order; "
        "format s3 has the payload of `s3-notification`. SQS and SNS are sent the same bodies."
    )
    channel = {
        "address": None,
        "description": says,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": _messages(["routed-data", "routed-event"]),
    }
    return {"route": channel}


def _internal_topics() -> Json:
    says = "Private to FileFlux: formats change with its versions, and no consumer is promised."
    return {
        topic.name.removeprefix("fileflux.").replace(".", "-"): {
            **_topic_channel(topic, topic.holds.split(", "), says),
            "x-internal": True,
        }
        for topic in PIPELINE_TOPICS
    }


def _public_messages() -> Json:
    raw = "The bucket's id: 16 raw bytes, no text; zeros for what belongs to no bucket."
    bucket_key = {"type": "string", "format": "binary", "description": raw}
    of_object = "`<bucket>/<key>`, in the key's own bytes: they need not be UTF-8."
    object_key = {"type": "string", "format": "binary", "description": of_object}
    number_key = {"type": "string", "description": "`<stream>/<number>`, in ASCII."}
    return {
        "audit-record": _message("A change", audit_headers(), key=bucket_key, name="audit-record"),
        "checkpoint": _message("A signed checkpoint", key=number_key, name="checkpoint"),
        "access-record": _message(
            "A read or a refused request", access_headers(), key=bucket_key, name="access-record"
        ),
        "tenant-event": _message("A change of one's own bucket", name="tenant-event"),
        "audit-line": _message("A change, for operators", name="audit-line"),
        "s3-notification": _message("Format s3", _webhook_headers(), name="s3-notification"),
        "webhook-data": _message("Format cloudevents", _binary_headers(), name="webhook-data"),
        "webhook-event": _message(
            "Format cloudevents-structured",
            _webhook_headers(),
            name="webhook-event",
            content_type=STRUCTURED_TYPE,
        ),
        "routed-data": _message(
            "Format cloudevents",
            record({**_routed_headers(), **_attributes("ce_")}, _replayed(_ATTRIBUTES_BESIDE)),
            key=object_key,
            name="routed-data",
        ),
        "routed-event": _message(
            "Format cloudevents-structured",
            record(_routed_headers(), _replayed(())),
            key=object_key,
            name="routed-event",
            content_type=STRUCTURED_TYPE,
        ),
    }


def _message(
    title: str,
    headers: Schema | None = None,
    *,
    name: str,
    key: Schema | None = None,
    content_type: str = "application/json",
) -> Json:
    made: Json = {"name": name, "title": title, "contentType": content_type}
    if headers is not None:
        made["headers"] = headers
    if key is not None:
        made["bindings"] = {"kafka": {"key": key, "bindingVersion": _BINDING}}
    schema = {"$ref": f"schemas/{name}.json"}
    return {**made, "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": schema}}


def _webhook_headers() -> Schema:
    required = {
        "webhook-id": text("The event's id: the same at every attempt."),
        "webhook-timestamp": text("When this attempt was signed, in seconds since 1970."),
        "webhook-signature": text("`v1,` and HMAC-SHA256 in base64, one for each valid secret."),
        ATTEMPT_HEADER: text("1, 2, 3 …"),
    }
    replay = text("The replay that this is of; missing in what is told for the first time.")
    trace = text("The request's place in a trace (W3C), if it had one.")
    return record(required, {REPLAY_HEADER: replay, TRACEPARENT: trace})


def _binary_headers() -> Schema:
    """CloudEvents' attributes, percent-encoded as its HTTP binding says."""
    made = _webhook_headers()
    attributes = _attributes("ce-")
    optional = {f"ce-{name}": text("") for name in _ATTRIBUTES_BESIDE}
    made["properties"] |= {**attributes, **optional}
    made["required"] += list(attributes)
    return made


def _routed_headers() -> dict[str, Schema]:
    return {EVENT_ID_HEADER: text("The event's id: the same at every attempt, in every replay.")}


def _attributes(prefix: str) -> dict[str, Schema]:
    return {f"{prefix}{name}": text("") for name in _ATTRIBUTES}


def _replayed(attributes: Sequence[str]) -> dict[str, Schema]:
    """What a message may lack: CloudEvents' attributes in Kafka's headers, and the replay."""
    replay = text("The replay that this is of; missing in what is told for the first time.")
    return {**{f"ce_{name}": text("") for name in attributes}, REPLAY_HEADER: replay}


def _internal_messages() -> Mapping[str, Json]:
    return {kind.__name__: _internal_message(number, kind) for number, kind in EVENT_KINDS.items()}


def _internal_message(number: int, kind: type) -> Json:
    payload = "Version byte, then a msgpack array of events; each is its kind number and fields."
    return {
        "name": kind.__name__,
        "title": f"{kind.__name__} (kind {number})",
        "summary": described(kind),
        "contentType": _MSGPACK,
        "payload": {"description": payload, "x-fields": fields_table(kind)},
        "x-internal": True,
    }
