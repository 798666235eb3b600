"""What the database stores becomes rows: one function per table, by the columns' names.

Metadata and configuration are JSONB, so that a person can read them in the database; manifests and
outcomes are bytes with a version of their own.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import orjson

from fileflux.core.changes import Outcome
from fileflux.core.ids import BucketId
from fileflux.core.model import Manifest, ObjectMeta
from fileflux.events.codec import decode_record, encode_record
from fileflux.metadata.rows import (
    AsyncRow,
    BucketRow,
    GarbageRow,
    HolderRow,
    HoldRow,
    KeyRow,
    NodeRow,
    ObjectRow,
    PartRow,
    ReplicaRow,
    Settlement,
    UploadRow,
    UserRow,
)


class Found(Protocol):
    """A record as the driver returns it."""

    def __getitem__(self, name: str, /) -> Any: ...

    def items(self) -> Iterable[tuple[str, Any]]: ...


_OUTCOMES: Final = tuple[Outcome, ...]


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    return encode_record(_OUTCOMES, tuple(outcomes))


def decode_outcomes(raw: bytes) -> tuple[Outcome, ...]:
    outcomes: tuple[Outcome, ...] = decode_record(_OUTCOMES, raw)
    return outcomes


def encode_meta(meta: ObjectMeta) -> str:
    return orjson.dumps(
        {
            "headers": meta.headers,
            "user": meta.user,
            "checksums": meta.checksums,
            "checksum_type": meta.checksum_type,
        }
    ).decode()


def decode_meta(text: str) -> ObjectMeta:
    return ObjectMeta(**orjson.loads(text))


def bucket_row(found: Found, prefix: str = "") -> BucketRow:
    return BucketRow(
        bucket_id=found[prefix + "bucket_id"],
        name=found[prefix + "name"],
        owner_id=found[prefix + "owner_id"],
        storage_class=found[prefix + "storage_class"],
        created_us=found[prefix + "created_us"],
        config=orjson.loads(found[prefix + "config"]),
        row_stamp=found[prefix + "row_stamp"],
    )


def object_row(found: Found) -> ObjectRow:
    return ObjectRow(
        bucket_id=found["bucket_id"],
        key=found["key"],
        version_id=found["version_id"],
        stamp=found["stamp"],
        row_stamp=found["row_stamp"],
        size=found["size"],
        etag=found["etag"],
        meta=decode_meta(found["meta"]),
        manifest=Manifest.from_bytes(found["manifest"]),
        content_id=found["content_id"],
        storage_class=found["storage_class"],
        shared=found["shared"],
    )


def listed_row(found: Found, bucket_id: BucketId) -> ObjectRow:
    """A row of a listing: without its manifest, which may be long and nobody lists."""
    return ObjectRow(
        bucket_id=bucket_id,
        key=found["key"],
        version_id=found["version_id"],
        stamp=found["stamp"],
        row_stamp=found["row_stamp"],
        size=found["size"],
        etag=found["etag"],
        meta=decode_meta(found["meta"]),
        manifest=Manifest(),
        content_id=found["content_id"],
        storage_class=found["storage_class"],
        shared=found["shared"],
    )


def upload_row(found: Found) -> UploadRow:
    outcome = found["outcome"]
    return UploadRow(
        upload_id=found["upload_id"],
        bucket_id=found["bucket_id"],
        key=found["key"],
        meta=decode_meta(found["meta"]),
        storage_class=found["storage_class"],
        checksum_algorithm=found["checksum_algorithm"],
        checksum_type=found["checksum_type"],
        created_us=found["created_us"],
        state=found["state"],
        owner_id=found["owner_id"],
        row_stamp=found["row_stamp"],
        outcome=None if outcome is None else decode_outcomes(outcome)[0],
    )


def part_row(found: Found) -> PartRow:
    return PartRow(
        upload_id=found["upload_id"],
        part_number=found["part_number"],
        size=found["size"],
        etag=found["etag"],
        meta=decode_meta(found["meta"]),
        manifest=Manifest.from_bytes(found["manifest"]),
        content_id=found["content_id"],
        modified_us=found["modified_us"],
        row_stamp=found["row_stamp"],
        shared=found["shared"],
    )


def holder_row(found: Found) -> HolderRow:
    manifest = found["manifest"]
    return HolderRow(
        content_id=found["content_id"],
        holder=found["holder"],
        row_stamp=found["row_stamp"],
        manifest=None if manifest is None else Manifest.from_bytes(manifest),
    )


def user_row(found: Found) -> UserRow:
    return UserRow(**dict(found.items()))


def key_row(found: Found) -> KeyRow:
    return KeyRow(**dict(found.items()))


def node_row(found: Found) -> NodeRow:
    return NodeRow(**dict(found.items()))


def async_row(found: Found) -> AsyncRow:
    return AsyncRow(**dict(found.items()))


def hold_row(found: Found) -> HoldRow:
    return HoldRow(**dict(found.items()))


def garbage_row(found: Found) -> GarbageRow:
    raw: bytes = found["chunk_numbers"]
    numbers = (int.from_bytes(raw[at : at + 4], "big") for at in range(0, len(raw), 4))
    return GarbageRow(
        bundle_id=found["bundle_id"],
        chunk_numbers=tuple(numbers),
        size=found["size"],
        dropped_by=found["dropped_by"],
        at_us=found["at_us"],
    )


def replica_row(found: Found) -> ReplicaRow:
    return ReplicaRow(**dict(found.items()))


def settlement_row(found: Found) -> Settlement:
    return Settlement(
        seal_id=found["seal_id"],
        outcomes=decode_outcomes(found["outcomes"]),
        aborted=found["aborted"],
        settled_us=found["settled_us"],
    )
