"""Holds JSON against the published schemas, with every record closed: no undeclared member."""

from functools import cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator

from fileflux.console.event_schemas import SCHEMAS
from fileflux.core.json_schema import Schema, closed


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(closed(SCHEMAS[name]()))


def problems(name: str, value: Any) -> list[str]:
    """Return what is wrong with a value, or the bytes of one, by the schema of this name."""
    parsed = orjson.loads(value) if isinstance(value, bytes) else value
    return _told(_validator(name), parsed)


def found_wrong(schema: Schema, value: Any) -> list[str]:
    """Return what is wrong with a value by this schema."""
    return _told(Draft202012Validator(closed(schema)), value)


def _told(validator: Draft202012Validator, value: Any) -> list[str]:
    found = validator.iter_errors(value)
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:300]}" for one in found]
