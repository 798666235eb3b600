"""Which changes of a schema keep its promises, to old readers and of old records.

The rules are told apart from what they are about, so that they can be tried on small schemas.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tools import schema_compatibility, wire_compatibility

from fileflux.core.json_schema import (
    array,
    boolean,
    case,
    constant,
    integer,
    known,
    mapping,
    nullable,
    record,
    ref,
    text,
)

Change = Callable[[dict[str, Any]], Any]


def small() -> dict[str, Any]:
    """A schema with one of everything that ours have."""
    required = {
        "version": constant(1),
        "kind": known(["put", "delete"], "What happened."),
        "at": integer("When.", "µs"),
        "state": {"type": "string", "enum": ["open", "closed"]},
        "owner": nullable(text("Whose.")),
        "facts": {"type": "object"},
        "rows": array(ref("row"), "Rows."),
        "sums": mapping(text("Base64."), "By name."),
    }
    made = record(required, {"size": integer("How large.", "bytes")})
    made["allOf"] = [case("kind", "put", {"properties": {"facts": ref("put")}})]
    put = record({"etag": text("Of the bytes.", pattern="^[0-9a-f]+$")})
    return {**made, "$defs": {"row": record({"id": text("")}), "put": put}}


def _set(*path: str | int, to: object) -> Change:
    def change(schema: dict[str, Any]) -> None:
        place: Any = schema
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


def _drop(*path: str | int) -> Change:
    def change(schema: dict[str, Any]) -> None:
        place: Any = schema
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


ALLOWED: dict[str, Change] = {
    "nothing": lambda schema: None,
    "an optional member": _set("properties", "new", to=text("New.")),
    "an optional member of a definition": _set("$defs", "put", "properties", "new", to=text("")),
    "another description": _set("properties", "size", "description", to="The size."),
    "a title": _set("title", to="Small"),
    "another known value": lambda s: s["properties"]["kind"]["x-known-values"].append("copy"),
    "a new kind with its facts": lambda s: (
        s["properties"]["kind"]["x-known-values"].append("copy"),
        s["allOf"].append(case("kind", "copy", {"required": ["sums"]})),
    ),
    "a definition that nobody names": _set("$defs", "other", to=text("")),
    "a definition by another name": lambda s: (
        s["$defs"].update(rows=s["$defs"].pop("row")),
        s["properties"]["rows"].update(items=ref("rows")),
    ),
}
BROKEN: dict[str, tuple[Change, str]] = {
    "a removed member": (_drop("properties", "size"), "/size was removed"),
    "a removed member of a definition": (
        _drop("$defs", "put", "properties", "etag"),
        "[put]/facts/etag was removed",
    ),
    "a type made wider": (_set("properties", "size", "type", to=["integer", "string"]), "`type`"),
    "a type made narrower": (_set("properties", "owner", to=text("Whose.")), "/owner"),
    "another type": (_set("properties", "size", to=text("How large.")), "/size: `type`"),
    "a member that is not always there any more": (
        lambda s: s["required"].remove("at"),
        "/at was always there",
    ),
    "a member that must be there now": (
        lambda s: s["required"].append("size"),
        "/size is required",
    ),
    "a new member that must be there": (
        lambda s: (s["properties"].update(new=text("")), s["required"].append("new")),
        "/new is required",
    ),
    "a removed value of an enumeration": (
        _set("properties", "state", "enum", to=["open"]),
        "'closed' was removed",
    ),
    "a new value of a closed enumeration": (
        _set("properties", "state", "enum", to=["open", "closed", "lost"]),
        "'lost' is new",
    ),
    "a removed known value": (
        _set("properties", "kind", "x-known-values", to=["put"]),
        "'delete' was removed",
    ),
    "an open enumeration that is closed": (
        _set("properties", "kind", "enum", to=["put", "delete"]),
        "`enum` was nothing",
    ),
    "another unit": (_set("properties", "at", "x-unit", to="ms"), '`x-unit` was "\\u00b5s"'),
    "another constant": (_set("properties", "version", "const", to=2), "`const` was 1 and is 2"),
    "a stricter pattern": (
        _set("$defs", "put", "properties", "etag", "pattern", to="^[0-9a-f]{32}$"),
        "`pattern`",
    ),
    "a limit that was none": (_set("properties", "size", "maximum", to=5), "`maximum`"),
    "items of another kind": (_set("properties", "rows", "items", to=boolean("")), "/rows/items"),
    "values of another kind": (
        _set("properties", "sums", "additionalProperties", to=boolean("")),
        "/sums/additionalProperties",
    ),
    "a record that is closed": (_set("additionalProperties", to=False), "`additionalProperties`"),
    "a removed condition": (_drop("allOf"), "what put promised was removed"),
    "a condition on what was without one": (
        lambda s: s["allOf"].append(case("kind", "delete", {"required": ["size"]})),
        "delete has a promise",
    ),
    "a demand without a condition": (
        lambda s: s["allOf"].append({"required": ["size"]}),
        "every record has a promise",
    ),
    "another null": (_set("properties", "owner", "anyOf", to=[text("Whose.")]), "/owner: `anyOf`"),
}


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED)
def test_a_change_that_keeps_every_promise_is_allowed(change: Change) -> None:
    changed = small()
    change(changed)
    assert schema_compatibility.problems(small(), changed) == []


@pytest.mark.parametrize(("change", "said"), BROKEN.values(), ids=BROKEN)
def test_a_change_that_breaks_a_promise_is_named_with_what_to_do(change: Change, said: str) -> None:
    changed = small()
    change(changed)
    found = schema_compatibility.problems(small(), changed)
    assert said in " ".join(found)
    assert all(one.endswith(schema_compatibility.ADVICE) for one in found)


def table() -> dict[str, Any]:
    fields = [
        {"name": "id", "type": "BundleId", "optional": False},
        {"name": "note", "type": "str", "optional": True},
    ]
    return {
        "version": 1,
        "events": {"Assigned": {"kind": 1, "fields": fields}},
        "changes": {},
        "parts": {"Chunk": {"fields": copy.deepcopy(fields)}},
        "enums": {"Size": {"SMALL": 0, "LARGE": 1}},
    }


FIELD = {"name": "new", "type": "int"}
WIRE_ALLOWED: dict[str, Change] = {
    "nothing": lambda table: None,
    "a field at the end with a default": lambda t: t["parts"]["Chunk"]["fields"].append(
        {**FIELD, "optional": True}
    ),
    "another event": _set("events", "Lost", to={"kind": 2, "fields": []}),
    "another enumeration": _set("enums", "Mood", to={"GOOD": 1}),
}
WIRE_BROKEN: dict[str, tuple[Change, str]] = {
    "a field at the end without a default": (
        lambda t: t["events"]["Assigned"]["fields"].append({**FIELD, "optional": False}),
        "Assigned.new is new and has no default",
    ),
    "a field before others": (
        lambda t: t["events"]["Assigned"]["fields"].insert(0, {**FIELD, "optional": True}),
        "Assigned.id was field 1",
    ),
    "a removed field": (_drop("events", "Assigned", "fields", 1), "Assigned.note was field 2"),
    "another name": (_set("parts", "Chunk", "fields", 0, "name", to="key"), "Chunk.id was field 1"),
    "another type": (_set("parts", "Chunk", "fields", 0, "type", to="str"), "is str"),
    "a default that is gone": (
        _set("events", "Assigned", "fields", 1, "optional", to=False),
        "had a default",
    ),
    "a removed event": (_drop("events", "Assigned"), "Assigned was removed"),
    "another version": (_set("version", to=2), "The wire version was 1 and is 2"),
    "an enumeration with other numbers": (
        _set("enums", "Size", to={"LARGE": 0, "SMALL": 1}),
        "Size was {'SMALL': 0, 'LARGE': 1} and is",
    ),
    "an enumeration with one more": (_set("enums", "Size", "HUGE", to=2), "Size was"),
    "an enumeration that is gone": (_drop("enums", "Size"), "Size was"),
    "a number that is given again": (
        _set("events", "Lost", to={"kind": 1, "fields": []}),
        "Kind 1 of the events was Assigned's",
    ),
}


@pytest.mark.parametrize("change", WIRE_ALLOWED.values(), ids=WIRE_ALLOWED)
def test_a_change_on_the_wire_that_both_versions_can_read_is_allowed(change: Change) -> None:
    changed = table()
    change(changed)
    assert wire_compatibility.problems(table(), changed) == []


@pytest.mark.parametrize(("change", "said"), WIRE_BROKEN.values(), ids=WIRE_BROKEN)
def test_a_change_on_the_wire_that_mixes_up_readers_is_named(change: Change, said: str) -> None:
    changed = table()
    change(changed)
    (found,) = wire_compatibility.problems(table(), changed)
    assert said in found
    assert found.endswith(wire_compatibility.ADVICE)


def test_a_kind_with_another_number_is_named() -> None:
    changed = table()
    changed["events"]["Assigned"]["kind"] = 2
    (found,) = wire_compatibility.problems(table(), changed)
    assert "Assigned had kind 1 and has 2" in found
