"""Rows become what the database stores: columns, since statements take arrays.

Each column is one array parameter of its table's `put_…` statement, in the statement's order; keys
are those of its `delete_…` statement.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from fileflux.core.ids import BundleId
from fileflux.core.model import Manifest
from fileflux.metadata.rows import (
    BucketRow,
    GarbageRow,
    HolderRow,
    ObjectRow,
    PartRow,
    Settlement,
    UploadRow,
)
from fileflux.metadata.rows_codec import encode_meta, encode_outcomes

Columns = list[list[Any]]


def _bundle_of(manifest: Manifest) -> BundleId | None:
    """The bundle of an object of one chunk: a GET finds its replicas in the same statement."""
    return manifest.chunks[0].bundle_id if len(manifest.chunks) == 1 else None


def _objects(rows: Sequence[ObjectRow]) -> Columns:
    return [
        [row.bucket_id for row in rows],
        [row.key for row in rows],
        [row.version_id for row in rows],
        [row.stamp for row in rows],
        [row.row_stamp for row in rows],
        [row.size for row in rows],
        [row.etag for row in rows],
        [encode_meta(row.meta) for row in rows],
        [row.manifest.to_bytes() for row in rows],
        [row.content_id for row in rows],
        [row.storage_class for row in rows],
        [row.shared for row in rows],
        [_bundle_of(row.manifest) for row in rows],
    ]


def _buckets(rows: Sequence[BucketRow]) -> Columns:
    return [
        [row.bucket_id for row in rows],
        [row.name for row in rows],
        [row.owner_id for row in rows],
        [row.storage_class for row in rows],
        [row.created_us for row in rows],
        [orjson.dumps(row.config).decode() for row in rows],
        [row.row_stamp for row in rows],
    ]


def _uploads(rows: Sequence[UploadRow]) -> Columns:
    return [
        [row.upload_id for row in rows],
        [row.bucket_id for row in rows],
        [row.key for row in rows],
        [encode_meta(row.meta) for row in rows],
        [row.storage_class for row in rows],
        [row.checksum_algorithm for row in rows],
        [row.checksum_type for row in rows],
        [row.created_us for row in rows],
        [row.state for row in rows],
        [row.owner_id for row in rows],
        [row.row_stamp for row in rows],
        [None if row.outcome is None else encode_outcomes((row.outcome,)) for row in rows],
    ]


def _parts(rows: Sequence[PartRow]) -> Columns:
    return [
        [row.upload_id for row in rows],
        [row.part_number for row in rows],
        [row.size for row in rows],
        [row.etag for row in rows],
        [encode_meta(row.meta) for row in rows],
        [row.manifest.to_bytes() for row in rows],
        [row.content_id for row in rows],
        [row.modified_us for row in rows],
        [row.row_stamp for row in rows],
        [row.shared for row in rows],
    ]


def _holders(rows: Sequence[HolderRow]) -> Columns:
    return [
        [row.content_id for row in rows],
        [row.holder for row in rows],
        [row.row_stamp for row in rows],
        [None if row.manifest is None else row.manifest.to_bytes() for row in rows],
    ]


def columns_of(rows: Sequence[Any], *names: str) -> Columns:
    """Return one column per attribute."""
    return [[getattr(row, name) for row in rows] for name in names]


_PUTS: Final[Mapping[str, Callable[[Sequence[Any]], Columns]]] = {
    "objects": _objects,
    "buckets": _buckets,
    "uploads": _uploads,
    "parts": _parts,
    "holders": _holders,
    "users": lambda rows: columns_of(
        rows, "user_id", "name", "password_hash", "is_root", "created_us", "row_stamp"
    ),
    "access_keys": lambda rows: columns_of(
        rows, "access_key", "user_id", "secret", "active", "created_us", "row_stamp"
    ),
    "nodes": lambda rows: columns_of(rows, "node_id", "intent", "weight", "row_stamp"),
    "async_uploads": lambda rows: columns_of(
        rows, "upload_id", "bucket_id", "key", "state", "created_us", "row_stamp"
    ),
    "history_holds": lambda rows: columns_of(
        rows,
        *("hold_id", "kind", "reason", "from_position", "from_us", "until_us", "created_us"),
        "row_stamp",
    ),
}


def put_columns(table: str, rows: Sequence[Any]) -> Columns:
    """Return the parameters of `put_<table>` for these rows."""
    return _PUTS[table](rows)


def key_columns(keys: Sequence[tuple[object, ...]]) -> Columns:
    """Return the parameters of a `delete_…` statement for these primary keys."""
    return [list(column) for column in zip(*keys, strict=True)]


def garbage_columns(rows: Sequence[GarbageRow], at_us: int) -> Columns:
    """Return the parameters of `put_garbage`; chunk numbers take 4 bytes each, big endian.

    `at_us`: the transaction's stamp, for rows that are new.
    """
    numbers = [b"".join(n.to_bytes(4, "big") for n in row.chunk_numbers) for row in rows]
    return [
        [row.bundle_id for row in rows],
        [row.dropped_by for row in rows],
        numbers,
        [row.size for row in rows],
        [row.at_us or at_us for row in rows],
    ]


def settlement_columns(settlements: Sequence[Settlement]) -> Columns:
    """Return the parameters of `add_settlements`."""
    return [
        [settlement.seal_id for settlement in settlements],
        [encode_outcomes(settlement.outcomes) for settlement in settlements],
        [settlement.aborted for settlement in settlements],
        [settlement.settled_us for settlement in settlements],
    ]
