"""The private topics' records as a table: kinds, and their fields in the order on the wire. Pure.

What is compared with the table of a release: a field may only follow the others, with a default,
and a kind number is for ever (`wire.py` says why).
"""

import dataclasses
import enum
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from fileflux.events.codec import WIRE_VERSION
from fileflux.events.reference import PARTS, type_name
from fileflux.events.wire import CHANGE_KINDS, EVENT_KINDS, fields_of


def wire_table() -> dict[str, Any]:
    """Return {version, events, changes, parts, enums}: each kind with its number, or part, by name.

    `enums`: what each member is on the wire, by its name.
    """
    return {
        "version": WIRE_VERSION,
        "events": _kinds(EVENT_KINDS),
        "changes": _kinds(CHANGE_KINDS),
        "parts": {part.__name__: {"fields": fields_table(part)} for part in PARTS},
        "enums": {
            kind.__name__: {member.name: member.value for member in kind} for kind in _enums()
        },
    }


def _enums() -> list[type[enum.Enum]]:
    records = (*EVENT_KINDS.values(), *CHANGE_KINDS.values(), *PARTS)
    found = {one for record in records for kind in fields_of(record)[1] for one in _enums_in(kind)}
    return sorted(found, key=lambda kind: kind.__name__)


def _enums_in(kind: Any) -> Iterator[type[enum.Enum]]:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield kind
    for argument in typing.get_args(kind):
        yield from _enums_in(argument)


def _kinds(kinds: Mapping[int, type]) -> dict[str, Any]:
    return {
        kind.__name__: {"kind": number, "fields": fields_table(kind)}
        for number, kind in kinds.items()
    }


def fields_table(record: Any) -> list[dict[str, Any]]:
    """Return {name, type, optional} of each field; an optional one may be missing at the end."""
    defaults = {
        field.name: field.default is not dataclasses.MISSING
        or field.default_factory is not dataclasses.MISSING
        for field in dataclasses.fields(record)
    }
    names, kinds = fields_of(record)
    return [
        {"name": name, "type": type_name(kind), "optional": defaults[name]}
        for name, kind in zip(names, kinds, strict=True)
    ]
