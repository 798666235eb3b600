"""Rows ⇄ JSON values, for audit records. Everything a row holds comes back as it was.

A row becomes an object with its fields' names. Ids are hexadecimal; other bytes (keys, holders,
encrypted secrets) are base64, and so is a manifest in its own binary form. A field may be added
with a default: a reader fills in what an older record does not have and ignores what it does not
know.
"""

import base64
import binascii
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, Literal, NewType, TypeVar

from fileflux.core.changes import Outcome
from fileflux.core.errors import EventInvalid, FormatInvalid
from fileflux.core.ids import BucketId, UploadId
from fileflux.core.model import Manifest, ObjectMeta
from fileflux.metadata.row_keys import KEY_COLUMNS, ROW_TYPES, RowKey, key_of
from fileflux.metadata.rows import ObjectRow, Row, RowWrite

Json = Any
"""None, bool, int, float, str, lists of them, dicts from str to them."""
T = TypeVar("T")
Coder = tuple[Callable[[Any], Json], Callable[[Json], Any]]


def row_to_json(row: Row) -> dict[str, Json]:
    """Return the row as a JSON object."""
    return _record_to_json(row)


def row_from_json(table: str, value: Mapping[str, Json]) -> Row:
    """Return the row of `table` that `row_to_json` wrote; raise EventInvalid for anything else."""
    try:
        row: Row | None = _object_from_json(value) if table == "objects" else None
        if row is None:
            row = _record_from_json(ROW_TYPES[table], value)
    except _BAD as error:
        raise EventInvalid(f"not a row of {table}: {error!r}") from error
    return row


def record_from_json(kind: type[T], value: Mapping[str, Json]) -> T:
    """Return the record that `row_to_json` wrote, of a class that is no audited row's."""
    try:
        record: T = _record_from_json(kind, value)
    except _BAD as error:
        raise EventInvalid(f"not a {kind.__name__}: {error!r}") from error
    return record


def effect_to_json(write: RowWrite) -> dict[str, Json]:
    """Return {table, row} for a row that was put, {table, key} for one that was removed."""
    if write.row is not None:
        return {"table": write.table, "row": row_to_json(write.row)}
    coders = _key_coders(write.table)
    key = [encode(value) for (encode, _), value in zip(coders, write.key, strict=True)]
    return {"table": write.table, "key": key}


def effect_from_json(value: Mapping[str, Json]) -> RowWrite:
    """Return what `effect_to_json` wrote; raise EventInvalid for anything else."""
    try:
        table = value["table"]
        if "row" in value:
            row = row_from_json(table, value["row"])
            return RowWrite(*key_of(row), row)
        return RowWrite(table, _key_from_json(table, value["key"]), None)
    except _BAD as error:
        raise EventInvalid(f"not an effect: {error!r}") from error


def _key_from_json(table: str, key: list[Json]) -> RowKey:
    return tuple(decode(v) for (_, decode), v in zip(_key_coders(table), key, strict=True))


_BAD: Final = (KeyError, TypeError, ValueError, AttributeError, FormatInvalid)


def _record_to_json(record: Any) -> dict[str, Json]:
    kind: type = type(record)
    return {name: encode(getattr(record, name)) for name, (encode, _) in _field_coders(kind)}


def _record_from_json(kind: type, value: Mapping[str, Json]) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    fields = {name: decode(value[name]) for name, decode in _decoders(kind) if name in value}
    return kind(**fields)


_OBJECT_TYPES: Final = (int, int, int, str, str, bool)
_META_TYPES: Final = (dict, dict, dict, str)


def _object_from_json(value: Mapping[str, Json]) -> ObjectRow | None:
    """Read a whole object row without a loop: a rebuild reads one for almost every event.

    None for all that is not exactly as we write it; the usual way finds out what it is.
    """
    try:
        stamp, row_stamp, size = value["stamp"], value["row_stamp"], value["size"]
        etag, storage_class, shared = value["etag"], value["storage_class"], value["shared"]
        meta = value["meta"]
        headers, user, sums = meta["headers"], meta["user"], meta["checksums"]
        kind = meta["checksum_type"]
    except (KeyError, TypeError):
        return None
    plain = (stamp, row_stamp, size, etag, storage_class, shared)
    if (
        tuple(map(type, plain)) != _OBJECT_TYPES
        or tuple(map(type, (headers, user, sums, kind))) != _META_TYPES
    ):
        return None
    return ObjectRow(
        bucket_id=BucketId(bytes.fromhex(value["bucket_id"])),
        key=bytes_from_json(value["key"]),
        version_id=UploadId(bytes.fromhex(value["version_id"])),
        stamp=stamp,
        row_stamp=row_stamp,
        size=size,
        etag=etag,
        meta=ObjectMeta(headers, user, sums, kind),
        manifest=Manifest.from_bytes(bytes_from_json(value["manifest"])),
        content_id=UploadId(bytes.fromhex(value["content_id"])),
        storage_class=storage_class,
        shared=shared,
    )


def mapping_to_json(value: Mapping[str, Any]) -> dict[str, Json]:
    """Return a mapping whose keys are plain text: a member of a StrEnum is none to the encoder."""
    return {str(name): each for name, each in value.items()}


def _same(value: Any) -> Any:
    return value


def _bytes_to_json(value: bytes) -> str:
    return base64.b64encode(value).decode()


def bytes_from_json(value: str) -> bytes:
    return binascii.a2b_base64(value, strict_mode=True)


_ID: Final[Coder] = (bytes.hex, bytes.fromhex)
_BYTES: Final[Coder] = (_bytes_to_json, bytes_from_json)


def _plain(kind: type) -> Coder:
    """Return the coder of what JSON has itself; what is read is checked."""
    fitting = (int, float) if kind is float else (kind,)

    def decode(value: Json) -> Any:
        if type(value) is kind:  # A rebuild comes here ten times a row.
            return value
        if not isinstance(value, fitting) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"{value!r} is no {kind.__name__}")
        return value

    return _same, decode


_MAPPING: Final[Coder] = (mapping_to_json, _plain(dict)[1])
_MANIFEST: Final[Coder] = (
    lambda manifest: _bytes_to_json(manifest.to_bytes()),
    lambda text: Manifest.from_bytes(bytes_from_json(text)),
)


@cache
def _field_coders(kind: type) -> tuple[tuple[str, Coder], ...]:
    hints = typing.get_type_hints(kind)
    return tuple((field.name, _coder(hints[field.name])) for field in dataclasses.fields(kind))


@cache
def _decoders(kind: type) -> tuple[tuple[str, Callable[[Json], Any]], ...]:
    return tuple((name, decode) for name, (_, decode) in _field_coders(kind))


@cache
def _key_coders(table: str) -> tuple[Coder, ...]:
    coders = dict(_field_coders(ROW_TYPES[table]))
    return tuple(coders[column] for column in KEY_COLUMNS[table])


def _coder(hint: Any) -> Coder:
    origin = typing.get_origin(hint)
    if isinstance(hint, NewType):
        return _ID if hint.__supertype__ is bytes else _coder(hint.__supertype__)
    if hint is bytes:
        return _BYTES
    if hint is Manifest:
        return _MANIFEST
    if hint in (ObjectMeta, Outcome):
        return _record_to_json, lambda value: _record_from_json(hint, value)
    if hint in (int, str, bool, float):
        return _plain(hint)
    if origin is Literal:
        return _plain(str)
    if origin is Mapping:
        return _MAPPING
    if origin in (typing.Union, types.UnionType):
        return _optional(_coder(typing.get_args(hint)[0]))
    raise AssertionError(f"no JSON form for {hint}")


def _optional(inner: Coder) -> Coder:
    encode, decode = inner
    return (
        lambda value: None if value is None else encode(value),
        lambda value: None if value is None else decode(value),
    )
