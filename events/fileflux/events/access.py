"""The access stream: reads and refused requests of the buckets that ask for it.

CloudEvents 1.0.2 in the binary mode of their Kafka binding, the data as JSON, keyed and partitioned
by bucket. At least once: a request is answered after its record was acknowledged. It has no
positions, no sequences and no chain, and is kept for a while only: changes are in the audit stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from fileflux.core.ids import BucketId, route_hash
from fileflux.events.audit import CONTENT_TYPE, SPEC_VERSION, AuditMessage

READ: Final = "fileflux.access.read"
REFUSED: Final = "fileflux.access.refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One request that was answered. `time`: RFC 3339. `data`: JSON-ready, no secrets."""

    access_id: str
    access_type: str
    bucket_id: BucketId
    source: str
    time: str
    data: Mapping[str, object]


def to_message(access: Access) -> AuditMessage:
    """Return the record to publish."""
    attributes = {
        "specversion": SPEC_VERSION,
        "id": access.access_id,
        "source": access.source,
        "type": access.access_type,
        "time": access.time,
    }
    headers = [("content-type", CONTENT_TYPE.encode())]
    headers += [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
    return AuditMessage(access.bucket_id, orjson.dumps(access.data), tuple(headers))


def partition_of(bucket_id: BucketId, *, lanes: int) -> int:
    """Return where a bucket's accesses are, in order."""
    return route_hash(bucket_id) % lanes
