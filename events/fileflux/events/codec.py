"""Events ⇄ bytes. The only place that knows the format of our private topics.

A record is one version byte, then a msgpack array of events; an event is an array of its kind
number and its fields (`wire.py`). Readers learn a new version before writers use it. Whatever is
not exactly that raises EventInvalid: the consume loop sets such a record aside.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgpack

from fileflux.core.errors import EventInvalid
from fileflux.core.model import MIB
from fileflux.events.schema import Event
from fileflux.events.wire import decoder_for, encoder_for

WIRE_VERSION: Final = 1
RECORD_SIZE_BYTES_MAX: Final = 16 * MIB
"""Larger than any topic accepts: a guard against bytes that were never ours."""
_ITEMS_MAX: Final = 16_384
"""Per list or map. The longest list we write has 10,000 parts; msgpack reserves room by this."""

_Record = TypeVar("_Record")


def encode_events(events: Sequence[Event]) -> bytes:
    """Return one record with these events; raise EventInvalid for what msgpack cannot say."""
    return encode_record(tuple[Event, ...], tuple(events))


def decode_events(raw: bytes) -> list[Event]:
    """Return the events of a record; raise EventInvalid for anything else."""
    return list(decode_record(tuple[Event, ...], raw))


def encode_record(kind: Any, value: object) -> bytes:
    """Return the bytes of one value of a type that `wire` knows, e.g. `tuple[Outcome, ...]`."""
    encode = encoder_for(kind)
    try:
        body: bytes = msgpack.packb(encode(value) if encode else value, default=_as_dict)
    except (TypeError, ValueError, OverflowError) as error:
        raise EventInvalid(f"cannot be encoded: {error}") from error
    if len(body) >= RECORD_SIZE_BYTES_MAX:
        raise EventInvalid(f"a record of {len(body)} bytes is larger than any topic takes")
    return bytes((WIRE_VERSION,)) + body


def decode_record(kind: Any, raw: bytes) -> Any:
    """Return the value that `encode_record` wrote for the same type."""
    if not raw or raw[0] != WIRE_VERSION:
        raise EventInvalid("not a record of a version we know")
    if len(raw) > RECORD_SIZE_BYTES_MAX:
        raise EventInvalid(f"a record of {len(raw)} bytes was never ours")
    return decoder_for(kind)(_unpack(memoryview(raw)[1:]))


def _unpack(body: memoryview) -> Any:
    items_max = min(_ITEMS_MAX, len(body))
    try:
        return msgpack.unpackb(
            body,
            use_list=False,
            max_array_len=items_max,
            max_map_len=items_max,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise EventInvalid("not msgpack, cut off, or too large") from error


def _as_dict(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form on the wire")
