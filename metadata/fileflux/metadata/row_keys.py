"""What a row is called: its table, its primary key, and the floor that it leaves when it goes."""

from typing import Final

from fileflux.core.ids import BucketId
from fileflux.metadata.rows import (
    AsyncRow,
    BucketRow,
    FloorRow,
    HolderRow,
    HoldRow,
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
    "history_holds": HoldRow,
}

KEY_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "buckets": ("bucket_id",),
    "objects": ("bucket_id", "key"),
    "uploads": ("upload_id",),
    "parts": ("upload_id", "part_number"),
    "holders": ("content_id", "holder"),
    "users": ("user_id",),
    "access_keys": ("access_key",),
    "nodes": ("node_id",),
    "async_uploads": ("upload_id",),
    "history_holds": ("hold_id",),
}

_TABLES: Final = {row_type: table for table, row_type in ROW_TYPES.items()}


def key_of(row: Row) -> tuple[str, RowKey]:
    """Return the row's table and primary key."""
    table = _TABLES[type(row)]
    return table, tuple([getattr(row, column) for column in KEY_COLUMNS[table]])


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
