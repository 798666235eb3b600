"""Routes and messages for tests."""

import random
from typing import Any

from tests.model.webhook_rows import BUCKET_ID, OWNER_ID, audit_record

from fileflux.metadata.route_rows import NO_REPLAY, Route
from fileflux.webhooks.routes.destination import RoutedMessage
from fileflux.webhooks.routes.messages import routed

RNG = random.Random(21)


def route(**changed: Any) -> Route:
    """Return an active route for everything of the bucket `photos`."""
    fields: dict[str, Any] = {
        "route_id": RNG.randbytes(16),
        "name": f"r{RNG.randrange(1 << 40)}",
        "owner_id": OWNER_ID,
        "bucket_id": BUCKET_ID,
        "bucket": "photos",
        "prefix": b"",
        "suffix": b"",
        "event_names": ("s3:ObjectCreated:*", "s3:ObjectRemoved:*"),
        "destination": "kafka:alice.photos",
        "format": "cloudevents",
        "state": "active",
        "next_position": 1,
        "replay_id": NO_REPLAY,
        "replay_until": 0,
        "problem": "",
        "problem_us": 0,
        "created_us": 0,
        "changed_us": 0,
    }
    return Route(**{**fields, **changed})


def message(position: int = 1, key: bytes = b"a.jpg", **changed: Any) -> RoutedMessage:
    """Return what a route makes of an object's creation."""
    made = routed(route(**changed), audit_record(position, key, size=1, etag="e"))
    assert made is not None
    return made
