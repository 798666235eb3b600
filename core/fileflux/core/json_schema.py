"""JSON Schema 2020-12 as values: what the published schemas are put together from. Pure.

Records are open: members are added freely, so a reader ignores those that it does not know, and an
enumeration that may grow is a text with `x-known-values`. What a member means and may not change
silently stands in keywords (`type`, `pattern`, `x-unit` …), not in its description.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

Schema = dict[str, Any]
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
KNOWN: Final = "x-known-values"
UNIT: Final = "x-unit"
VERSION: Final = 1
"""Of all schemas, and of the URNs that name them."""


def document(name: str, title: str, schema: Schema, defs: Mapping[str, Schema]) -> Schema:
    """Return a whole schema file. `defs`: what `ref` may name."""
    head = {"$schema": DIALECT, "$id": f"urn:fileflux:schema:{name}:{VERSION}", "title": title}
    return {**head, **schema, **({"$defs": dict(defs)} if defs else {})}


def text(says: str, **keywords: object) -> Schema:
    return {"type": "string", "description": says, **keywords}


def integer(says: str, unit: str = "", **keywords: object) -> Schema:
    """Return a whole number of at least 0. `unit`: what it counts, in words that never change."""
    counted = {UNIT: unit} if unit else {}
    return {"type": "integer", "description": says, "minimum": 0, **counted, **keywords}


def boolean(says: str) -> Schema:
    return {"type": "boolean", "description": says}


def hexadecimal(says: str, digits: int = 32) -> Schema:
    return text(says, pattern=f"^[0-9a-f]{{{digits}}}$")


def padded(says: str, digits: int = 20) -> Schema:
    """Return a number as text with leading zeros, so that text sorts as numbers do."""
    return text(says, pattern=f"^[0-9]{{{digits}}}$")


def base64_text(says: str) -> Schema:
    return text(says, contentEncoding="base64")


def time_text(says: str) -> Schema:
    return text(says, format="date-time", pattern="Z$")


def constant(value: object, says: str = "") -> Schema:
    return {"const": value, **({"description": says} if says else {})}


def known(values: Iterable[str], says: str) -> Schema:
    """Return a text that has one of these values today; later ones may come."""
    return text(says, **{KNOWN: sorted(set(values))})


def array(items: Schema, says: str, **keywords: object) -> Schema:
    return {"type": "array", "description": says, "items": items, **keywords}


def mapping(values: Schema, says: str) -> Schema:
    """Return an object whose names are data."""
    return {"type": "object", "description": says, "additionalProperties": values}


def anything(says: str) -> Schema:
    return {"description": says}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def record(
    required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, says: str = ""
) -> Schema:
    """Return an object with these members, and others that a reader ignores."""
    described = {"description": says} if says else {}
    members = {**required, **(optional or {})}
    made: Schema = {"type": "object", **described, "properties": members}
    return {**made, "required": list(required)} if required else made


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def case(member: str, value: str, then: Schema) -> Schema:
    """Return a condition: where `member` has `value`, the record is `then` too."""
    asked = {"properties": {member: {"const": value}}, "required": [member]}
    return {"if": asked, "then": then}


def closed(schema: Any) -> Any:
    """Return the schema with every record closed: for tests, which want no member undeclared.

    Conditions stay open: what they ask about is only a part of the record.
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        name: value if name in ("if", "const") else closed(value) for name, value in schema.items()
    }
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made
