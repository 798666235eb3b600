"""Whether the public channels are where a release said, with the headers that it said. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tools import schema_compatibility
from tools.schema_compatibility import ADVICE

Channels = Mapping[str, Any]
SCHEMAS: Final = ("headers", "key")


def problems(released: Channels, current: Channels) -> list[str]:
    """Return a sentence for each broken promise of tables by `channel_promises.py`."""
    return [said for name, old in released.items() for said in _channel(name, old, current)]


def _channel(name: str, old: Channels, current: Channels) -> Iterator[str]:
    new = current.get(name)
    if new is None:
        yield f"{name} was removed, and somebody may read it. {ADVICE}"
        return
    for what in ("address", "partitions"):
        if old.get(what) != new.get(what):
            yield f"{name}: the {what} was {old.get(what)} and is {new.get(what)}. {ADVICE}"
    for message, before in old["messages"].items():
        yield from _message(f"{name}/{message}", before, new["messages"].get(message))


def _message(path: str, old: Channels, new: Channels | None) -> Iterator[str]:
    if new is None:
        yield f"{path} was removed, and somebody may read it. {ADVICE}"
        return
    if old["contentType"] != new["contentType"]:
        yield f"{path} was {old['contentType']} and is {new['contentType']}. {ADVICE}"
    for what in SCHEMAS:
        if what in old:
            found = schema_compatibility.problems(old[what], new.get(what, {}))
            yield from (f"{path}: {what}: {said}" for said in found)
