"""From a route and an event to the message that its destination is given. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.route_rows import ANY_BUCKET, NO_REPLAY, Route
from fileflux.webhooks.filters import lets_through
from fileflux.webhooks.intake import told
from fileflux.webhooks.messages import REPLAY_HEADER
from fileflux.webhooks.occurrence import Occurrence
from fileflux.webhooks.rendering import (
    CLOUDEVENTS,
    JSON_TYPE,
    S3,
    Message,
    attributes_of,
    data_of,
    s3_record,
    structured,
)
from fileflux.webhooks.routes.destination import RoutedMessage

EVENT_ID_HEADER: Final = "fileflux-event-id"


def routed(route: Route, record: NumberedRecord) -> RoutedMessage | None:
    """Return what a route's destination is told of an audit record; None: nothing."""
    if not _may_concern(route, record):
        return None
    occurrence = told(record)
    if occurrence is None or not _is_wanted(route, occurrence):
        return None
    return message_of(route, occurrence)


def message_of(route: Route, occurrence: Occurrence) -> RoutedMessage:
    """Return an event in the route's format."""
    message = _rendered(route, occurrence)
    headers = {**message.headers, EVENT_ID_HEADER: occurrence.event_id}
    send_id = occurrence.event_id
    if route.replay_id != NO_REPLAY and occurrence.position < route.replay_until:
        headers[REPLAY_HEADER] = route.replay_id.hex()
        send_id = f"{send_id}-{route.replay_id.hex()}"
    return RoutedMessage(
        position=occurrence.position,
        key=occurrence.bucket.encode() + b"/" + occurrence.key,
        event_id=occurrence.event_id,
        send_id=send_id,
        event_name=occurrence.name,
        headers=tuple(headers.items()),
        body=message.body,
    )


def _may_concern(route: Route, record: NumberedRecord) -> bool:
    """Cheap, so that what others do need not be parsed."""
    if route.bucket_id == ANY_BUCKET:
        return route.owner_id.hex().encode() in record.payload
    return record.stream == route.bucket_id


def _is_wanted(route: Route, occurrence: Occurrence) -> bool:
    if route.bucket_id == ANY_BUCKET and occurrence.owner != route.owner_id.hex():
        return False
    return lets_through(route, occurrence)


def _rendered(route: Route, occurrence: Occurrence) -> Message:
    if route.format == S3:
        owner = route.owner_id.hex()
        record = s3_record(occurrence, configuration_id=route.name, owner=owner)
        return Message({"content-type": JSON_TYPE}, orjson.dumps({"Records": [record]}))
    attributes, data = attributes_of(occurrence), _tenants(data_of(occurrence))
    if route.format == CLOUDEVENTS:
        return _binary(attributes, orjson.dumps(data))
    return structured(attributes, data)


def _tenants(data: Mapping[str, Any]) -> dict[str, Any]:
    """Without the global position, which tells how much others do."""
    return {name: value for name, value in data.items() if name != "position"}


def _binary(attributes: Mapping[str, str], body: bytes) -> Message:
    """As the Kafka protocol binding of CloudEvents says: attributes in headers, UTF-8 as it is."""
    headers = {f"ce_{name}": text for name, text in attributes.items()}
    return Message({"content-type": JSON_TYPE, **headers}, body)
