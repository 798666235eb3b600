"""Every published JSON Schema, by the name of its file. Made from what the encoders declare."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import orjson

from fileflux.console.channel_promises import channel_promises
from fileflux.core.json_schema import Schema
from fileflux.events.wire_table import wire_table
from fileflux.ingest.access_schema import access_record
from fileflux.metadata.audit_schema import audit_line, audit_record, checkpoint, tenant_event
from fileflux.webhooks.body_schema import (
    routed_data,
    routed_event,
    s3_notification,
    webhook_data,
    webhook_event,
)

SCHEMAS: Final[Mapping[str, Callable[[], Schema]]] = {
    "audit-record": audit_record,
    "audit-line": audit_line,
    "tenant-event": tenant_event,
    "checkpoint": checkpoint,
    "access-record": access_record,
    "s3-notification": s3_notification,
    "webhook-data": webhook_data,
    "webhook-event": webhook_event,
    "routed-data": routed_data,
    "routed-event": routed_event,
}


PIPELINE: Final = "pipeline"
"""The table of our own topics' records: no JSON Schema, they are msgpack."""
CHANNELS: Final = "channels"
"""The table of the public channels: addresses, and their messages' headers and keys."""


def files() -> dict[str, Callable[[], str]]:
    """Return what makes each file's text, by its name."""
    return {f"{name}.json": partial(_text, make) for name, make in published().items()}


def published() -> dict[str, Callable[[], Schema]]:
    """Return what makes each schema and each table, by name: all that a release promises."""
    return {**SCHEMAS, PIPELINE: wire_table, CHANNELS: channel_promises}


def _text(make: Callable[[], Schema]) -> str:
    return orjson.dumps(make(), option=orjson.OPT_INDENT_2).decode() + "\n"
