"""What a bundle says of each chunk, in msgpack: whose it is, and everything about its upload. Pure.

Nodes alone can tell what they hold by it: `fileflux salvage` reads nothing else. Elements are only
ever appended; a reader ignores what it does not know. `docs/formats/bundle.md`, "Meta".
"""

from collections.abc import Mapping
from typing import Any, Final

import msgpack

from fileflux.core.bundle_records import UNCONDITIONAL, ChunkMeta, MultipartRecord, UploadRecord
from fileflux.core.checksum import Buffer
from fileflux.core.errors import FormatInvalid
from fileflux.core.ids import ID_SIZE_BYTES, BucketId, UploadId
from fileflux.core.model import Manifest, ObjectMeta, WriteConditions

_META_ITEMS_MAX: Final = 4_096


def encode_meta(meta: ChunkMeta) -> bytes:
    """Return the msgpack array that stands in the bundle for this chunk."""
    packed: bytes = msgpack.packb(meta_values(meta))
    return packed


def meta_values(meta: ChunkMeta) -> list[Any]:
    record = meta.record
    return [
        meta.upload_id,
        meta.bucket_id,
        meta.bucket,
        meta.key,
        meta.multipart_id,
        meta.part_number,
        meta.chunk_number,
        None if record is None else _record_values(record),
    ]


def _record_values(record: UploadRecord) -> list[Any]:
    about = record.meta
    return [
        record.size,
        record.etag,
        record.at_us,
        record.storage_class,
        _plain(about.headers),
        _plain(about.user),
        _plain(about.checksums),
        about.checksum_type,
        b"" if record.manifest is None else record.manifest.to_bytes(),
        *_more_values(record),
    ]


def _more_values(record: UploadRecord) -> list[dict[str, Any]]:
    """Return what few uploads have, so that all others cost no byte more."""
    asked, origin = record.conditions, record.multipart
    more: dict[str, Any] = {
        name: value
        for name, value in (("if", asked.if_match), ("unless", asked.if_none_match))
        if value is not None
    }
    if origin is not None:
        more["upload"] = [
            _plain(origin.meta.headers),
            _plain(origin.meta.user),
            origin.checksum_algorithm,
            origin.checksum_type,
            origin.created_us,
        ]
    return [more] if more else []


def _plain(mapping: Mapping[str, str]) -> dict[str, str]:
    return mapping if type(mapping) is dict else dict(mapping)


def decode_meta(raw: Buffer) -> ChunkMeta:
    """Return what `encode_meta` wrote; raise FormatInvalid for anything else."""
    values = _unpack(raw)
    none = type(None)
    if not _are(values, bytes, bytes, str, bytes, (bytes, none), int, int, (tuple, none)):
        raise FormatInvalid("a chunk's meta is not what we write")
    upload_id, bucket_id, bucket, key, multipart_id, part_number, chunk_number, record = values[:8]
    ids = (upload_id, bucket_id) if multipart_id is None else (upload_id, bucket_id, multipart_id)
    if any(len(each) != ID_SIZE_BYTES for each in ids):
        raise FormatInvalid("an id has 16 bytes")
    return ChunkMeta(
        upload_id=UploadId(upload_id),
        bucket_id=BucketId(bucket_id),
        bucket=bucket,
        key=key,
        multipart_id=None if multipart_id is None else UploadId(multipart_id),
        part_number=part_number,
        chunk_number=chunk_number,
        record=None if record is None else _decode_record(record),
    )


def _decode_record(values: tuple[Any, ...]) -> UploadRecord:
    if not _are(values, int, str, int, str, dict, dict, dict, str, bytes):
        raise FormatInvalid("an upload's record is not what we write")
    size, etag, at_us, storage_class, headers, user, checksums, checksum_type, manifest = values[:9]
    for mapping in (headers, user, checksums):
        _check_texts(mapping)
    conditions, multipart = _decode_more(values[9]) if len(values) > 9 else (UNCONDITIONAL, None)
    return UploadRecord(
        size=size,
        etag=etag,
        at_us=at_us,
        storage_class=storage_class,
        meta=ObjectMeta(headers, user, checksums, checksum_type),
        manifest=Manifest.from_bytes(manifest) if manifest else None,
        conditions=conditions,
        multipart=multipart,
    )


def _check_texts(mapping: Mapping[Any, Any]) -> None:
    if not all(type(text) is str for pair in mapping.items() for text in pair):
        raise FormatInvalid("an upload's metadata is text")


def _decode_more(more: Any) -> tuple[WriteConditions, MultipartRecord | None]:
    none = type(None)
    if type(more) is not dict:
        raise FormatInvalid("what an upload's record says besides is a map")
    asked = (more.get("if"), more.get("unless"))
    if not _are(asked, (str, none), (str, none)):
        raise FormatInvalid("a write's condition is an ETag")
    origin = more.get("upload")
    return WriteConditions(*asked), None if origin is None else _decode_origin(origin)


def _decode_origin(values: Any) -> MultipartRecord:
    if not _are(values, dict, dict, str, str, int):
        raise FormatInvalid("what a multipart upload began with is not what we write")
    headers, user, algorithm, kind, created_us = values[:5]
    _check_texts(headers)
    _check_texts(user)
    return MultipartRecord(
        meta=ObjectMeta(headers, user),
        checksum_algorithm=algorithm,
        checksum_type=kind,
        created_us=created_us,
    )


def _are(values: Any, *kinds: type | tuple[type, ...]) -> bool:
    return (
        type(values) is tuple
        and len(values) >= len(kinds)
        and all(
            type(value) in kind if isinstance(kind, tuple) else type(value) is kind
            for value, kind in zip(values, kinds, strict=False)
        )
    )


def _unpack(raw: Buffer) -> Any:
    items_max = min(_META_ITEMS_MAX, len(raw))
    try:
        return msgpack.unpackb(
            raw, use_list=False, max_array_len=items_max, max_map_len=items_max, max_ext_len=0
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise FormatInvalid("a chunk's meta is not msgpack") from error
