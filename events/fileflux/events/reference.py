"""docs/reference/events.md, made from the schema and the topic registry.

`python -m fileflux.events.reference` prints it; a test compares it with the file.
"""

import dataclasses
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from fileflux.core.changes import Actor, CompletedPart, Outcome, PastContent, PastPart
from fileflux.core.model import (
    Chunk,
    HopTimes,
    Manifest,
    ObjectMeta,
    SealedBundle,
    WriteConditions,
)
from fileflux.events import access, audit
from fileflux.events.codec import WIRE_VERSION
from fileflux.events.schema import ClassSets, MappedNode, ReplicaSet
from fileflux.events.topics import FOREVER_MS, Topic, all_topics
from fileflux.events.wire import CHANGE_KINDS, EVENT_KINDS

HEADER = """\
# Events and topics

Made from `events/fileflux/events/schema.py` and `topics.py` by
`python -m fileflux.events.reference`; do not edit it.

Our own topics are private: a record is one version byte ({version}), then a msgpack array of
events; an event is an array of its kind number and its fields in the order below. Readers ignore
fields that follow those they know and fill in defaults for those that are missing. The public
stream is `fileflux.audit`; [schemas](schemas.md) say what is in it.
"""

PARTS = (
    *(SealedBundle, Manifest, Chunk, ObjectMeta, WriteConditions, HopTimes, Actor, CompletedPart),
    *(Outcome, MappedNode, ReplicaSet, ClassSets, PastContent, PastPart),
)


def render() -> str:
    """Return the whole page."""
    lines = [HEADER.format(version=WIRE_VERSION), *_topics(), "", "## Events", ""]
    lines += _kinds(EVENT_KINDS)
    lines += ["## Changes", "", "What a seal carries, with their kind numbers.", ""]
    lines += _kinds(CHANGE_KINDS)
    lines += ["## Parts of both", ""]
    for part in PARTS:
        lines += _record(part.__name__, part)
    lines += ["## The audit stream", "", *_unwrapped(audit.__doc__ or "")]
    lines += ["", "## The access stream", "", *_unwrapped(access.__doc__ or "")]
    return "\n".join(lines).rstrip() + "\n"


def _topics() -> Iterator[str]:
    yield "## Topics"
    yield ""
    yield "| topic | holds | partitions | key | retention | durable | written by | read by |"
    yield "|---|---|---|---|---|---|---|---|"
    for topic in all_topics():
        yield _topic_row(topic)


def _topic_row(topic: Topic) -> str:
    cells = [
        f"`{topic.name}`",
        topic.holds,
        {"one": "1"}.get(topic.partitioned_by, topic.partitioned_by),
        topic.key,
        _retention(topic.retention_ms),
        "acks=all" if topic.durable else "acks=1",
        ", ".join(topic.writers),
        ", ".join(topic.readers),
    ]
    return f"| {' | '.join(cells)} |"


def _retention(retention_ms: int) -> str:
    if retention_ms == FOREVER_MS:
        return "for ever"
    hours = retention_ms // 3_600_000
    return f"{hours} h" if hours <= 48 else f"{hours // 24} days"


def _kinds(kinds: Mapping[int, type]) -> Iterator[str]:
    for number, kind in kinds.items():
        yield from _record(f"{kind.__name__} ({number})", kind)


def _record(title: str, record: Any) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    if record.__doc__ and not record.__doc__.startswith(f"{record.__name__}("):
        yield from _unwrapped(record.__doc__)
        yield ""
    yield "| field | type | default |"
    yield "|---|---|---|"
    hints = typing.get_type_hints(record)
    for field in dataclasses.fields(record):
        yield f"| `{field.name}` | {type_name(hints[field.name])} | {_default(field)} |"
    yield ""


def described(record: type) -> str:
    """Return the first paragraph of what a record's class says, in one line."""
    return " ".join((record.__doc__ or "").split("\n\n")[0].split())


def _unwrapped(doc: str) -> list[str]:
    return [re.sub(r"^    ", "", line) for line in doc.strip().splitlines()]


def type_name(kind: Any) -> str:
    """Return a type as a reader of the page writes it."""
    if isinstance(kind, typing.NewType | type) and not typing.get_args(kind):
        return kind.__name__
    text = re.sub(r"\b[a-z_]+(\.[a-z_]+)*\.", "", str(kind))
    return text.replace("|", "or")


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    return "empty" if field.default_factory is not dataclasses.MISSING else "—"


if __name__ == "__main__":
    sys.stdout.write(render())
