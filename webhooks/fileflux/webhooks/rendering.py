"""Bodies and headers of deliveries: S3 event records 2.1, or CloudEvents 1.0 over HTTP.

Rendered once, when a delivery is queued: every attempt sends the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, quote_plus

import orjson

from fileflux.metadata.webhook_rows import Subscription
from fileflux.webhooks.occurrence import Occurrence

S3: Final = "s3"
CLOUDEVENTS: Final = "cloudevents"
STRUCTURED: Final = "cloudevents-structured"
FORMATS: Final = (S3, CLOUDEVENTS, STRUCTURED)
EVENT_SOURCE: Final = "fileflux:s3"
REGION: Final = "us-east-1"
TEST_TYPE: Final = "fileflux.webhook.test"
JSON_TYPE: Final = "application/json"
STRUCTURED_TYPE: Final = "application/cloudevents+json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, apart from the signature."""

    headers: Mapping[str, str]
    body: bytes


def render(subscription: Subscription, occurrence: Occurrence) -> Message:
    """Return an event in the subscription's format."""
    if subscription.format == S3:
        configuration_id = subscription.configuration_id or subscription.subscription_id.hex()
        owner = subscription.owner_id.hex()
        record = s3_record(occurrence, configuration_id=configuration_id, owner=owner)
        return Message({"content-type": JSON_TYPE}, orjson.dumps({"Records": [record]}))
    return _cloudevent(subscription.format, attributes_of(occurrence), data_of(occurrence))


def attributes_of(occurrence: Occurrence) -> dict[str, str]:
    """Return the attributes of an event as a CloudEvent."""
    return {
        "specversion": "1.0",
        "id": occurrence.event_id,
        "source": f"/buckets/{quote(occurrence.bucket)}",
        "type": occurrence.event_type,
        "subject": _key_text(occurrence.key),
        "time": occurrence.time,
        "sequence": f"{occurrence.sequence:020}",
    }


def render_test(subscription: Subscription, *, event_id: str, time: str) -> Message:
    """Return a message that tells of nothing: S3's test event, or a CloudEvent of our own type."""
    if subscription.format == S3:
        body = {
            "Service": "FileFlux",
            "Event": "s3:TestEvent",
            "Time": time,
            "Bucket": subscription.bucket,
            "RequestId": event_id,
        }
        return Message({"content-type": JSON_TYPE}, orjson.dumps(body))
    attributes = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/buckets/{quote(subscription.bucket)}",
        "type": TEST_TYPE,
        "time": time,
    }
    return _cloudevent(subscription.format, attributes, {"bucket": subscription.bucket})


def _cloudevent(mode: str, attributes: Mapping[str, str], data: Mapping[str, Any]) -> Message:
    if mode == STRUCTURED:
        return structured(attributes, data)
    headers = {f"ce-{name}": _header_text(text) for name, text in attributes.items()}
    return Message({"content-type": JSON_TYPE, **headers}, orjson.dumps(data))


def structured(attributes: Mapping[str, str], data: Mapping[str, Any]) -> Message:
    """Return a CloudEvent as one JSON object, which any transport carries."""
    event = {**attributes, "datacontenttype": JSON_TYPE, "data": data}
    return Message({"content-type": STRUCTURED_TYPE}, orjson.dumps(event))


def _header_text(text: str) -> str:
    """Percent-encode as the HTTP binding (3.1.3.2) says: spaces, quotes, %, and beyond ASCII."""
    printable = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
    return quote(text, safe=printable)


def _key_text(key: bytes) -> str:
    """Return a key as text; what is not UTF-8 is percent-encoded as in a URL."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return quote(key)


def data_of(occurrence: Occurrence) -> dict[str, Any]:
    """Return the data of an event as a CloudEvent: nothing internal."""
    facts = {"size": occurrence.size, "etag": occurrence.etag}
    return {
        "name": occurrence.name,
        "bucket": occurrence.bucket,
        "key": _key_text(occurrence.key),
        "key_encoded": quote_plus(occurrence.key),
        "version": occurrence.version,
        **{name: value for name, value in facts.items() if value is not None},
        "principal": occurrence.actor.get("user_name", ""),
        "source_address": occurrence.actor.get("source_address", ""),
        "request_id": occurrence.actor.get("request_id", ""),
        "sequence": occurrence.sequence,
        "position": occurrence.position,
    }


def s3_record(occurrence: Occurrence, *, configuration_id: str, owner: str) -> dict[str, Any]:
    """Return an event as S3 tells it, version 2.1."""
    stored = {"key": quote_plus(occurrence.key, safe="/")}
    facts = {"size": occurrence.size, "eTag": occurrence.etag}
    return {
        "eventVersion": "2.1",
        "eventSource": EVENT_SOURCE,
        "awsRegion": REGION,
        "eventTime": f"{occurrence.time[:23]}Z",  # To the millisecond, as S3 has it.
        "eventName": occurrence.name.removeprefix("s3:"),
        "userIdentity": {"principalId": occurrence.actor.get("user_name", "")},
        "requestParameters": {"sourceIPAddress": occurrence.actor.get("source_address", "")},
        "responseElements": {"x-amz-request-id": occurrence.actor.get("request_id", "")},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": occurrence.bucket,
                "ownerIdentity": {"principalId": owner},
                "arn": f"arn:aws:s3:::{occurrence.bucket}",
            },
            "object": {
                **stored,
                **{name: value for name, value in facts.items() if value is not None},
                "sequencer": f"{occurrence.sequence:016X}",
            },
        },
    }
