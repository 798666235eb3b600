"""One of every private event and change, filled in from the first released table: `events_v1.bin`.

That table is kept beside it (`events_v1.json`): the released one grows with every release. A field
that came later keeps its default, as a reader fills it in for an old record.
`python -m tests.model.golden_events` writes the fixture: only ever for a new version.
"""

import dataclasses
import enum
import json
import types
import typing
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fileflux.core.changes import Change
from fileflux.events.codec import encode_events
from fileflux.events.schema import Event
from fileflux.events.wire import CHANGE_KINDS, EVENT_KINDS

ROOT: Final = Path(__file__).parents[2]
FIXTURE: Final = ROOT / "tests" / "fixtures" / "events_v1.bin"
TABLE: Final = json.loads(FIXTURE.with_suffix(".json").read_text())
_RELEASED: Final[Mapping[str, Any]] = {**TABLE["events"], **TABLE["changes"], **TABLE["parts"]}


def golden_events() -> list[Any]:
    """Return an event of every released kind; the seal has a change of every released kind."""
    return [_value(kind, kind.__name__) for kind in _of(EVENT_KINDS, "events")]


def _of(kinds: Mapping[int, type], family: str) -> list[type]:
    return [kind for kind in kinds.values() if kind.__name__ in TABLE[family]]


def _value(kind: Any, path: str) -> Any:
    """Return a value of a type that tells from where in the record it is."""
    if dataclasses.is_dataclass(kind):
        return _record(kind, path)
    if isinstance(kind, typing.NewType):
        is_id = kind.__supertype__ is bytes
        return _bytes(path) if is_id else _value(kind.__supertype__, path)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    plain = {int: _number(path), str: path, bytes: _bytes(path), bool: True, float: 0.5}
    if kind in plain:
        return plain[kind]
    return {"of": path} if kind is object else _generic(kind, path)


def _record(kind: Any, path: str) -> Any:
    hints = typing.get_type_hints(kind)
    known = [field["name"] for field in _RELEASED[kind.__name__]["fields"]]
    return kind(**{name: _value(hints[name], f"{path}.{name}") for name in known})


def _generic(kind: Any, path: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _value(args[0], path)
    if origin is Mapping:
        return {"name": _value(args[1], path)}
    if args[0] is Change:
        return tuple(_value(change, change.__name__) for change in _of(CHANGE_KINDS, "changes"))
    if args[-1] is ...:
        return (_value(args[0], path),)
    return tuple(_value(one, f"{path}.{at}") for at, one in enumerate(args))


def _number(path: str) -> int:
    return zlib.crc32(path.encode())


def _bytes(path: str) -> bytes:
    return path.encode()[-16:].rjust(16, b"-")


if __name__ == "__main__":
    events: list[Event] = golden_events()
    FIXTURE.write_bytes(encode_events(events))
