"""Whether the private topics' records can still be read by, and from, the released version. Pure.

During an upgrade old and new processes read each other, and a topic holds a day of old records.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

ADVICE: Final = (
    "Fields are only added at the end, with a default, and numbers are for ever. Keep it, or raise "
    "WIRE_VERSION and let readers know both versions before writers use the new one."
)
Table = Mapping[str, Any]


def problems(released: Table, current: Table) -> list[str]:
    """Return a sentence for each broken promise of a table (`events/wire_table.py`)."""
    return [f"{said} {ADVICE}" for said in _table(released, current)]


def _table(released: Table, current: Table) -> Iterator[str]:
    if released["version"] != current["version"]:
        yield f"The wire version was {released['version']} and is {current['version']}."
    for family in ("events", "changes", "parts"):
        for name, before in released[family].items():
            after = current[family].get(name)
            if after is None:
                yield f"{name} was removed."
                continue
            if before.get("kind") != after.get("kind"):
                yield f"{name} had kind {before['kind']} and has {after['kind']}."
            yield from _fields(name, before["fields"], after["fields"])
        yield from _numbers(family, released[family], current[family])
    for name, members in released.get("enums", {}).items():
        if members != (now := current["enums"].get(name)):
            yield f"{name} was {members} and is {now}: a reader refuses what it does not know."


def _fields(name: str, before: Sequence[Table], after: Sequence[Table]) -> Iterator[str]:
    for at, old in enumerate(before):
        new = after[at] if at < len(after) else None
        if new is None or new["name"] != old["name"]:
            yield f"{name}.{old['name']} was field {at + 1}, and is not there any more."
            return
        if new["type"] != old["type"]:
            yield f"{name}.{old['name']} was {old['type']} and is {new['type']}."
        if old["optional"] and not new["optional"]:
            yield f"{name}.{old['name']} had a default, and has none any more."
    for new in after[len(before) :]:
        if not new["optional"]:
            yield f"{name}.{new['name']} is new and has no default."


def _numbers(family: str, released: Table, current: Table) -> Iterator[str]:
    owners = {one["kind"]: name for name, one in released.items() if "kind" in one}
    for name, one in current.items():
        owner = owners.get(one.get("kind"))
        if owner is not None and owner != name:
            yield f"Kind {one['kind']} of the {family} was {owner}'s and is given to {name}."
