"""Whether what is published now keeps the promises of the released schemas. Pure.

The audit stream is kept for ever, and consumers are updated when they like. So both must hold:
whoever reads with the released schema reads what is written now, and whoever reads with today's
reads what was written then. Records may get members that nobody has to have, and open enumerations
values; descriptions may change. Everything else needs a new version beside the old one (ADR 0013).
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

ADVICE: Final = (
    "Keep it as it was, or publish version 2 beside version 1"
    " (docs/adr/0013-released-schemas-are-promises.md)."
)
NOTES: Final = frozenset({"title", "description", "examples", "$comment", "deprecated"})
"""What people read: it may change as long as the meaning does not."""
KNOWN: Final = "x-known-values"
NESTED: Final = frozenset({"items", "additionalProperties", "prefixItems", "anyOf", "oneOf"})
"""Schemas in these get wider as those around them do; what stands in others must stay as it is."""
NAMING: Final = ("additionalProperties", "unevaluatedProperties", "patternProperties")
"""What they say of members without a name, a new member's name would take away."""
_ABSENT: Final = object()

Schema = Mapping[str, Any]


def problems(released: Schema, current: Schema) -> list[str]:
    """Return a sentence for each broken promise of a schema."""
    return [f"{said} {ADVICE}" for said in _Comparison(released, current).run()]


class _Comparison:
    """Walks two schemas side by side; each pair of definitions once."""

    def __init__(self, released: Schema, current: Schema) -> None:
        self._released, self._current = released, current
        self._seen: set[tuple[str, str]] = set()
        self._rules: Mapping[str, Callable[[str, Schema, Schema], Iterator[str]]] = {
            "properties": self._properties,
            "required": _required,
            KNOWN: _known_values,
            "enum": _enum,
            "allOf": self._conditions,
        }

    def run(self) -> Iterator[str]:
        return self._schema("", self._released, self._current)

    def _schema(self, path: str, old: Any, new: Any) -> Iterator[str]:
        pair = (_named(old), _named(new))
        if all(pair):
            if pair in self._seen:
                return
            self._seen.add(pair)
        old, new = _resolved(self._released, old), _resolved(self._current, new)
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            if not _same(old, new):
                yield _changed(path, "the schema", old, new)
            return
        for keyword in sorted({*old, *new} - NOTES - {"$defs"}):
            rule = self._rules.get(keyword)
            if rule is not None:
                yield from rule(path, old, new)
            else:
                yield from self._keyword(path, keyword, old, new)

    def _keyword(self, path: str, keyword: str, old: Schema, new: Schema) -> Iterator[str]:
        """What no rule knows must be as it was; schemas in it are compared by the rules."""
        before, after = old.get(keyword, _ABSENT), new.get(keyword, _ABSENT)
        where = f"{path}/{keyword}"
        if keyword in NESTED and _are_schemas(before, after):
            yield from self._schema(where, before, after)
        elif keyword in NESTED and _are_lists(before, after):
            for at, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from self._schema(f"{where}/{at}", one, other)
        elif not _same(self._spelled(before), self._spelled(after)):
            yield _changed(path, f"`{keyword}`", before, after)

    def _spelled(self, value: Any) -> Any:
        """Type lists say the same in any order."""
        return sorted(value) if isinstance(value, list) and _are_texts(value) else value

    def _properties(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in before:
            if name in after:
                yield from self._schema(f"{path}/{name}", before[name], after[name])
            else:
                yield f"{path}/{name} was removed, and readers may want it."
        told = [one for one in NAMING if not _is_anything(old.get(one, True))]
        for name in sorted(after.keys() - before.keys()) if told else ():
            yield f"{path}/{name} is new, and `{told[0]}` told what such a member is."

    def _conditions(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = _by_condition(old), _by_condition(new)
        for condition, parts in before.items():
            what = _value_of(condition)
            if len(after.get(condition, ())) < len(parts):
                yield f"{path}: what {what} promised was removed."
            for one, other in zip(parts, after.get(condition, ()), strict=False):
                yield from self._condition(f"{path}[{what}]", one, other)
        for condition, parts in after.items():
            known = len(before.get(condition, ()))
            if len(parts) > known and (known or not _is_of_new_value(condition, old, new)):
                what = _value_of(condition)
                yield f"{path}: {what} has a promise that older records may break."

    def _condition(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        """Compare what two conditions, or two members of `allOf` without one, ask for."""
        split = ("if", "then", "else")
        rests = ({name: one for name, one in s.items() if name not in split} for s in (old, new))
        yield from self._schema(where, *rests)
        for part, place in (("then", where), ("else", f"{where} else")):
            yield from self._schema(place, old.get(part, {}), new.get(part, {}))


def _reference(schema: Any) -> str:
    return str(schema.get("$ref", "")) if isinstance(schema, Mapping) else ""


def _named(schema: Any) -> str:
    """Return what a reference is known by, with what stands beside it; empty for no reference."""
    if not isinstance(schema, Mapping) or "$ref" not in schema:
        return ""
    return str(id(schema)) if schema.keys() - NOTES - {"$ref"} else _reference(schema)


def _resolved(document: Schema, schema: Any) -> Any:
    """Return the schema with what it refers to; what stands beside a reference holds as well."""
    while reference := _reference(schema):
        found = document["$defs"].get(reference.removeprefix("#/$defs/"), _ABSENT)
        beside = {name: one for name, one in schema.items() if name != "$ref"}
        if not isinstance(found, Mapping):
            return found
        if twice := sorted((beside.keys() & found.keys()) - NOTES):
            raise ValueError(f"{reference} has {twice[0]!r} already, and it stands beside it again")
        schema = {**found, **beside}
    return schema


def _are_schemas(before: Any, after: Any) -> bool:
    return isinstance(before, Mapping) and isinstance(after, Mapping)


def _are_lists(before: Any, after: Any) -> bool:
    return isinstance(before, list) and isinstance(after, list) and len(before) == len(after)


def _are_texts(value: list[Any]) -> bool:
    return all(isinstance(one, str) for one in value)


def _is_anything(schema: Any) -> bool:
    return schema is True or (isinstance(schema, Mapping) and not schema.keys() - NOTES)


def _same(before: Any, after: Any) -> bool:
    """Compare as JSON does: in Python 1 is True."""
    if before is _ABSENT or after is _ABSENT:
        return before is after
    return json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)


def _changed(path: str, what: str, old: object, new: object) -> str:
    before = "nothing" if old is _ABSENT else json.dumps(old)
    after = "nothing" if new is _ABSENT else json.dumps(new)
    return f"{path or '/'}: {what} was {before[:80]} and is {after[:80]}."


def _required(path: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(before - after):
        yield f"{path}/{name} was always there, and is not any more."
    for name in sorted(after - before):
        yield f"{path}/{name} is required, and records written before are without it."


def _known_values(path: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = set(old.get(KNOWN, ())), set(new.get(KNOWN, ()))
    for value in sorted(before - after):
        yield f"{path or '/'}: the value {value!r} was removed; recorded events have it."


def _enum(path: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("enum"), new.get("enum")
    if before is None or after is None:
        yield _changed(path, "`enum`", before or _ABSENT, after or _ABSENT)
        return
    for value in before:
        if not any(_same(value, one) for one in after):
            yield f"{path or '/'}: the value {value!r} was removed; recorded events have it."
    for value in after:
        if not any(_same(value, one) for one in before):
            yield f"{path or '/'}: the value {value!r} is new, and readers were told there is none."


def _by_condition(schema: Schema) -> dict[str, list[Any]]:
    """Return the members of `allOf` by their condition's JSON; `true` for those without one."""
    found = defaultdict(list)
    for one in schema.get("allOf", ()):
        condition = json.dumps(one.get("if", True), sort_keys=True)
        found[condition].append(one)
    return found


def _value_of(condition: str) -> str:
    """Return the value that a condition asks for, e.g. PutObject."""
    asked = json.loads(condition)
    if asked is True:
        return "every record"
    members = asked.get("properties", {}) if isinstance(asked, dict) else {}
    values = [str(one["const"]) for one in members.values() if "const" in one]
    return ", ".join(values) or condition


def _is_of_new_value(condition: str, old: Schema, new: Schema) -> bool:
    """Tell whether no older record can meet the condition: it asks for a value that was none."""
    asked = json.loads(condition)
    members = asked.get("properties", {}) if isinstance(asked, dict) else {}
    if len(members) != 1 or asked.get("required") != list(members):
        return False
    ((name, one),) = members.items()
    before, after = (s.get("properties", {}).get(name, {}).get(KNOWN, ()) for s in (old, new))
    return bool(before) and one.get("const") in set(after) - set(before)
