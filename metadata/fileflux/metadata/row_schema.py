"""The JSON Schema of rows in audit records, from the types that `row_json` writes. Pure."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal, NewType

from fileflux.core.changes import Outcome
from fileflux.core.json_schema import (
    Schema,
    base64_text,
    case,
    hexadecimal,
    known,
    mapping,
    nullable,
    record,
    ref,
    text,
)
from fileflux.core.model import Manifest, ObjectMeta
from fileflux.metadata.row_keys import KEY_COLUMNS, ROW_TYPES

_PLAIN: Final[Mapping[Any, Schema]] = {
    int: {"type": "integer"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    float: {"type": "number"},
}


def row_definitions() -> dict[str, Schema]:
    """Return the schema of every table's rows, `row.<table>`, and of what stands in them."""
    rows = {f"row.{table}": _record_schema(kind) for table, kind in ROW_TYPES.items()}
    return {**rows, "ObjectMeta": _record_schema(ObjectMeta), "Outcome": _record_schema(Outcome)}


def effect_schema() -> Schema:
    """Return the schema of one effect: a row that was put, or the key of one that was removed."""
    either = [{"required": ["row"]}, {"required": ["key"]}]
    made = record({"table": known(ROW_TYPES, "The table.")}, {"row": {}, "key": {}})
    cases = [
        case(
            "table", table, {"properties": {"row": ref(f"row.{table}"), "key": _key_schema(table)}}
        )
        for table in sorted(ROW_TYPES)
    ]
    return {**made, "oneOf": either, "allOf": cases}


def _key_schema(table: str) -> Schema:
    hints = typing.get_type_hints(ROW_TYPES[table])
    columns = [_schema(hints[column]) for column in KEY_COLUMNS[table]]
    names = ", ".join(KEY_COLUMNS[table])
    sized = {"minItems": len(columns), "maxItems": len(columns), "prefixItems": columns}
    return {"type": "array", "description": f"The primary key: {names}.", **sized}


def _record_schema(kind: Any) -> Schema:
    """A field with a default is optional: records from before it do not have it."""
    hints = typing.get_type_hints(kind)
    required: dict[str, Schema] = {}
    optional: dict[str, Schema] = {}
    for field in dataclasses.fields(kind):
        is_required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        (required if is_required else optional)[field.name] = _schema(hints[field.name])
    says = " ".join((kind.__doc__ or "").split()) if not _is_generated(kind) else ""
    return record(required, optional, says)


def _is_generated(kind: Any) -> bool:
    return str(kind.__doc__).startswith(f"{kind.__name__}(")


def _schema(hint: Any) -> Schema:
    """Mirrors `row_json`'s choice of a coder."""
    if isinstance(hint, NewType):
        return _id_schema(hint)
    if hint is bytes:
        return base64_text("Any bytes.")
    if hint is Manifest:
        return base64_text("A manifest in its binary form.")
    if hint in (ObjectMeta, Outcome):
        return ref(hint.__name__)
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    return _generic_schema(typing.get_origin(hint), typing.get_args(hint))


def _id_schema(hint: Any) -> Schema:
    return hexadecimal(hint.__name__) if hint.__supertype__ is bytes else text(hint.__name__)


def _generic_schema(origin: Any, args: tuple[Any, ...]) -> Schema:
    if origin is Literal:
        return {"type": "string", "enum": list(args)}
    if origin is Mapping:
        return mapping({} if args[1] is object else _schema(args[1]), "By name.")
    if origin in (typing.Union, types.UnionType):
        return nullable(_schema(args[0]))
    raise AssertionError(f"no schema for {origin}[{args}]")
