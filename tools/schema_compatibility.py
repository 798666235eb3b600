"""Whether what is published now keeps the promises of the released schemas. Pure.

The audit stream is kept for ever, and consumers are updated when they like. So both must hold:
whoever reads with the released schema reads what is written now, and whoever reads with today's
reads what was written then. Records may get members that nobody has to have, and open enumerations
values; descriptions may change. Everything else needs a new version beside the old one (ADR 0013).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

ADVICE: Final = (
    "Keep it as it was, or publish version 2 beside version 1"
    " (docs/adr/0013-released-schemas-are-promises.md)."
)
NOTES: Final = frozenset({"title", "description", "examples", "$comment", "deprecated"})
"""What people read: it may change as long as the meaning does not."""
KNOWN: Final = "x-known-values"
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
        pair = (_reference(old), _reference(new))
        if any(pair) and pair in self._seen:
            return
        self._seen.add(pair)
        old, new = _resolved(self._released, old), _resolved(self._current, new)
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            if old != new:
                yield _changed(path, "the schema", old, new)
            return
        for keyword in sorted({*old, *new} - NOTES - {"$defs", "$ref"}):
            rule = self._rules.get(keyword)
            if rule is not None:
                yield from rule(path, old, new)
            else:
                yield from self._keyword(path, keyword, old, new)

    def _keyword(self, path: str, keyword: str, old: Schema, new: Schema) -> Iterator[str]:
        """What no rule knows must be as it was; schemas in it are compared by the rules."""
        before, after = old.get(keyword, _ABSENT), new.get(keyword, _ABSENT)
        if isinstance(before, Mapping) and isinstance(after, Mapping) and keyword != "const":
            yield from self._schema(f"{path}/{keyword}", before, after)
        elif _are_schemas(before) and _are_schemas(after) and len(before) == len(after):
            for at, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from self._schema(f"{path}/{keyword}/{at}", one, other)
        elif before != after:
            yield _changed(path, f"`{keyword}`", before, after)

    def _properties(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in before:
            if name in after:
                yield from self._schema(f"{path}/{name}", before[name], after[name])
            else:
                yield f"{path}/{name} was removed, and readers may want it."

    def _conditions(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        if _unconditional(old) != _unconditional(new):
            yield _changed(path, "`allOf`", _unconditional(old), _unconditional(new))
        before, after = _by_condition(old), _by_condition(new)
        for condition, then in before.items():
            if condition in after:
                where = f"{path}[{_value_of(condition)}]"
                yield from self._schema(where, then, after[condition])
            else:
                yield f"{path}: what {_value_of(condition)} promised was removed."
        for condition in after.keys() - before.keys():
            if _value_of(condition) in _old_values(old):
                yield f"{path}: {_value_of(condition)} has a promise that older records may break."


def _reference(schema: Any) -> str:
    return str(schema.get("$ref", "")) if isinstance(schema, Mapping) else ""


def _resolved(document: Schema, schema: Any) -> Any:
    reference = _reference(schema)
    if not reference:
        return schema
    return document["$defs"][reference.removeprefix("#/$defs/")]


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


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
        if value not in after:
            yield f"{path or '/'}: the value {value!r} was removed; recorded events have it."
    for value in after:
        if value not in before:
            yield f"{path or '/'}: the value {value!r} is new, and readers were told there is none."


def _by_condition(schema: Schema) -> dict[str, Any]:
    conditions = (one for one in schema.get("allOf", ()) if "if" in one)
    return {json.dumps(one["if"], sort_keys=True): one.get("then", {}) for one in conditions}


def _unconditional(schema: Schema) -> list[Any]:
    return [one for one in schema.get("allOf", ()) if "if" not in one]


def _value_of(condition: str) -> str:
    """Return the value that a condition asks for, e.g. PutObject."""
    members = json.loads(condition).get("properties", {})
    return ", ".join(str(one.get("const")) for one in members.values() if isinstance(one, dict))


def _old_values(schema: Schema) -> set[str]:
    members = schema.get("properties", {}).values()
    return {value for one in members if isinstance(one, Mapping) for value in one.get(KNOWN, ())}
