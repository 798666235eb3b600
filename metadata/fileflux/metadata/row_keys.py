"""What a row is called: its table, its primary key, and the floor that it leaves when it goes."""

from collections.abc import Callable
from typing import Any, Final

from fileflux.core.ids import BucketId
from fileflux.metadata.rows import (
    AsyncRow,
    BucketRow,
    FloorRow,
    HolderRow,
    KeyRow,
    NodeRow,
    ObjectRow,
    PartRow,
    Row,
    UploadRow,
    UserRow,
)

RowKey = tuple[object, ...]

ROW_TYPES: Final[dict[str, type]] = {
    "buckets": BucketRow,
    "objects": ObjectRow,
    "uploads": UploadRow,
    "parts": PartRow,
    "holders": HolderRow,
    "users": UserRow,
    "access_keys": KeyRow,
    "nodes": NodeRow,
    "async_uploads": AsyncRow,
}

_KEYS: Final[dict[type, tuple[str, Callable[[Any], RowKey]]]] = {
    BucketRow: ("buckets", lambda row: (row.bucket_id,)),
    ObjectRow: ("objects", lambda row: (row.bucket_id, row.key)),
    UploadRow: ("uploads", lambda row: (row.upload_id,)),
    PartRow: ("parts", lambda row: (row.upload_id, row.part_number)),
    HolderRow: ("holders", lambda row: (row.content_id, row.holder)),
    UserRow: ("users", lambda row: (row.user_id,)),
    KeyRow: ("access_keys", lambda row: (row.access_key,)),
    NodeRow: ("nodes", lambda row: (row.node_id,)),
    AsyncRow: ("async_uploads", lambda row: (row.upload_id,)),
}


def key_of(row: Row) -> tuple[str, RowKey]:
    """Return the row's table and primary key."""
    table, key = _KEYS[type(row)]
    return table, key(row)


def object_floor_key(bucket_id: BucketId, key: bytes) -> bytes:
    """Return the key of an object's floor. Those of one bucket are one range of keys."""
    return bucket_id + key


def floor_of(row: Row, stamp: int) -> FloorRow | None:
    """Return what `row` leaves when it is removed at `stamp`; None if it can never come back."""
    match row:
        case ObjectRow():
            key = object_floor_key(row.bucket_id, row.key)
        case BucketRow() | UserRow():
            key = row.name.encode()
        case KeyRow():
            key = row.access_key.encode()
        case _:
            return None
    return FloorRow(table=key_of(row)[0], key=key, stamp=stamp)
