"""Subscriptions and audit records for tests of webhooks."""

import random
from typing import Any

import orjson

from fileflux.core.ids import BucketId, UserId
from fileflux.metadata.audit_facts import key_facts
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.webhook_rows import Subscription

BUCKET_ID = BucketId(b"b" * 16)
OWNER_ID = UserId(b"o" * 16)
RNG = random.Random(20)


def subscription(**changed: Any) -> Subscription:
    """Return an active subscription to everything of the bucket `photos`."""
    fields: dict[str, Any] = {
        "subscription_id": RNG.randbytes(16),
        "owner_id": OWNER_ID,
        "bucket_id": BUCKET_ID,
        "bucket": "photos",
        "url": "https://example.com/hook",
        "format": "s3",
        "event_names": ("s3:ObjectCreated:*", "s3:ObjectRemoved:*"),
        "prefix": b"",
        "suffix": b"",
        "secret": b"",
        "old_secret": None,
        "old_secret_until_us": 0,
        "state": "active",
        "reason": "",
        "is_live": False,
        "next_position": 1,
        "created_us": 0,
        "changed_us": 0,
    }
    return Subscription(**{**fields, **changed})


def stamp_of(position: int) -> int:
    """Return when the record at a position happened: one a minute, from noon on."""
    return 1_796_040_000_000_000 + position * 60_000_000


def audit_record(
    position: int = 1, key: bytes = b"a.jpg", operation: str = "PutObject", **facts: Any
) -> NumberedRecord:
    """Return a numbered record as the sequencer publishes it."""
    kinds = {"PutObject": "created", "CopyObject": "copied", "DeleteObject": "deleted"}
    data = {
        "version": 1,
        "operation": operation,
        "bucket": "photos",
        "bucket_id": BUCKET_ID.hex(),
        **key_facts(key),
        "at_us": stamp_of(position),
        "stamp": stamp_of(position),
        "actor": {"user_name": "ada", "source_address": "192.0.2.1", "request_id": "R1"},
        "facts": {"outcome": "ok", "version": "0" * 32, **facts},
        "effects": [],
    }
    event = {
        "id": f"{position:032x}",
        "source": "/buckets/photos",
        "type": f"fileflux.object.{kinds.get(operation, 'other')}",
        "time": "2026-11-30T12:00:00.123456Z",
        "data": data,
    }
    return NumberedRecord(position, BUCKET_ID, position, bytes(32), orjson.dumps(event))
