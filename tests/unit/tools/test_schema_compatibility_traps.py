"""Changes that a comparison by keywords overlooks easily, each with the reader whom it breaks."""

from typing import Any

import pytest
from tools.schema_compatibility import problems

from fileflux.core.json_schema import Schema, case, integer, known, mapping, record, ref, text

TEXT, NUMBER = text(""), integer("")


def two(a: Schema, b: Schema, **defs: Schema) -> Schema:
    """A record of two members, which are optional."""
    return {**record({}, {"a": a, "b": b}), **({"$defs": defs} if defs else {})}


def told(*conditions: Schema) -> Schema:
    """A record with one open and one closed enumeration, and what they ask for."""
    members = {"kind": known(["put"], ""), "state": {"enum": ["open", "shut"]}, "size": NUMBER}
    return {**record({}, members), **({"allOf": list(conditions)} if conditions else {})}


def asked(then: Schema, **others: Schema) -> Schema:
    return {**case("kind", "put", then), **others}


SIZED: Schema = {"required": ["size"]}
COUNTED: Schema = {"properties": {"size": {**NUMBER, "maximum": 5}}}
BROKEN: dict[str, tuple[Schema, Schema]] = {
    "one of two members that become one definition": (
        two(TEXT, NUMBER),
        two(ref("x"), ref("x"), x=TEXT),
    ),
    "a limit beside a reference": (
        two(ref("x"), TEXT, x=TEXT),
        two({**ref("x"), "maxLength": 3}, TEXT, x=TEXT),
    ),
    "a unit beside a reference, removed": (
        two({**ref("x"), "x-unit": "s"}, TEXT, x=NUMBER),
        two(ref("x"), TEXT, x=NUMBER),
    ),
    "a definition behind another one": (
        two(ref("x"), TEXT, x=ref("y"), y=TEXT),
        two(ref("x"), TEXT, x=ref("y"), y=NUMBER),
    ),
    "a definition that is gone": (two(ref("x"), TEXT, x=TEXT), two(ref("y"), TEXT, x=TEXT)),
    "a member by a name that was data": (
        mapping(TEXT, ""),
        {**mapping(TEXT, ""), "properties": {"new": NUMBER}},
    ),
    "a new member of a closed record": (
        {**two(TEXT, TEXT), "additionalProperties": False},
        {**record({}, {"a": TEXT, "b": TEXT, "c": TEXT}), "additionalProperties": False},
    ),
    "what else asks for": (
        told(asked(SIZED, **{"else": COUNTED})),
        told(asked(SIZED, **{"else": SIZED})),
    ),
    "the first of two conditions that ask the same": (
        told(asked(SIZED), asked(COUNTED)),
        told(asked({}), asked(COUNTED)),
    ),
    "the second promise of a condition": (told(asked(SIZED)), told(asked(SIZED), asked(COUNTED))),
    "a condition on a value of a closed enumeration": (told(), told(case("state", "open", SIZED))),
    "a condition on a member that is there": (
        told(),
        told({"if": {"required": ["kind"]}, "then": SIZED}),
    ),
    "a condition on a value of nobody knows what": (
        two(TEXT, TEXT),
        {**two(TEXT, TEXT), "allOf": [case("a", "x", SIZED)]},
    ),
    "a condition on a value inside a member": (
        two(told(), TEXT),
        {
            **two(told(), TEXT),
            "allOf": [{"if": {"properties": {"a": case("kind", "put", {})["if"]}}, "then": SIZED}],
        },
    ),
    "what must not be": ({"not": {"required": ["a"]}}, {"not": {}}),
    "a member of what must not be": (
        {"not": two(TEXT, TEXT)},
        {"not": record({}, {"a": TEXT, "b": TEXT, "c": TEXT})},
    ),
    "a number that becomes true": ({"const": 1}, {"const": True}),
    "a number of an enumeration that becomes true": ({"enum": [0, 1]}, {"enum": [False, True]}),
    "a pattern of names that is a word of ours": (
        {"patternProperties": {"title": TEXT}},
        {"patternProperties": {"title": NUMBER}},
    ),
}
ALLOWED: dict[str, tuple[Schema, Schema]] = {
    "types in another order": ({"type": ["string", "null"]}, {"type": ["null", "string"]}),
    "required members in another order": ({"required": ["a", "b"]}, {"required": ["b", "a"]}),
    "conditions in another order": (
        told(asked(SIZED), case("state", "open", SIZED)),
        told(case("state", "open", SIZED), asked(SIZED)),
    ),
    "a member that becomes a definition": (two(TEXT, TEXT), two(ref("x"), TEXT, x=TEXT)),
    "words beside a reference": (
        two(ref("x"), TEXT, x=TEXT),
        two({**ref("x"), "description": "New."}, TEXT, x=TEXT),
    ),
    "a new member of a record whose others may be anything": (
        {**two(TEXT, TEXT), "additionalProperties": {}},
        {**record({}, {"a": TEXT, "b": TEXT, "c": TEXT}), "additionalProperties": {}},
    ),
    "a definition that names itself": (
        two(ref("x"), TEXT, x=record({}, {"next": {**ref("x"), "description": "Next."}})),
        two(ref("x"), TEXT, x=record({}, {"next": ref("x")})),
    ),
}


@pytest.mark.parametrize(("old", "new"), BROKEN.values(), ids=BROKEN)
def test_what_is_easily_overlooked_is_found(old: Schema, new: Schema) -> None:
    assert problems(old, new)
    assert problems(old, old) == []


@pytest.mark.parametrize(("old", "new"), ALLOWED.values(), ids=ALLOWED)
def test_what_only_looks_different_is_allowed(old: Schema, new: Schema) -> None:
    assert problems(old, new) == []


def test_what_cannot_be_compared_is_said() -> None:
    """A word that a definition and the place that names it both have: which of them holds?"""
    unclear: Any = two({**ref("x"), "maxLength": 3}, TEXT, x={**TEXT, "maxLength": 5})
    with pytest.raises(ValueError, match="'maxLength' already"):
        problems(unclear, unclear)
