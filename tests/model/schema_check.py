"""Holds JSON against the published schemas, with every record closed: no undeclared member.

What a validator of somebody else only notes is checked here, too: known values, base64, times.
"""

import binascii
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend

from fileflux.console.event_schemas import SCHEMAS
from fileflux.core.json_schema import Schema, closed


def _known(_: Any, values: list[str], value: Any, __: Any) -> Iterator[ValidationError]:
    if value not in values:
        yield ValidationError(f"{value!r} is not declared as known")


def _encoded(_: Any, encoding: str, value: Any, __: Any) -> Iterator[ValidationError]:
    assert encoding == "base64"
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except (ValueError, TypeError):
        yield ValidationError(f"{value!r} is not base64")


def _is_time(value: object) -> bool:
    return isinstance(datetime.fromisoformat(str(value)), datetime)


def _is_reference(value: object) -> bool:
    return re.fullmatch(r"(?:[A-Za-z0-9._~/:-]|%[0-9A-F]{2})*", str(value)) is not None


FORMATS = FormatChecker([])
FORMATS.checkers = {"date-time": (_is_time, ValueError), "uri-reference": (_is_reference, ())}
_Strict = extend(Draft202012Validator, {"x-known-values": _known, "contentEncoding": _encoded})


def _of(schema: Schema) -> Any:
    return _Strict(closed(schema), format_checker=FORMATS)


@cache
def _validator(name: str) -> Any:
    return _of(SCHEMAS[name]())


def problems(name: str, value: Any) -> list[str]:
    """Return what is wrong with a value, or the bytes of one, by the schema of this name."""
    parsed = orjson.loads(value) if isinstance(value, bytes) else value
    return _told(_validator(name), parsed)


def found_wrong(schema: Schema, value: Any) -> list[str]:
    """Return what is wrong with a value by this schema."""
    return _told(_of(schema), value)


def _told(validator: Any, value: Any) -> list[str]:
    found = validator.iter_errors(value)
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:300]}" for one in found]
