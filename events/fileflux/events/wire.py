"""Typed records ⇄ plain values (tuples, dicts, numbers, text, bytes). Pure; no format in here.

A record becomes the tuple of its fields in their order, so a field may only be added at the end of
a concrete class, with a default: an old reader ignores what follows, a new reader fills in what an
old writer did not send. Encoders and decoders are compiled once per type, because a seal carries
hundreds of records. What is decoded came from outside: every type is checked.
"""

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Final, Literal, NewType

from fileflux.core.changes import (
    AbortMultipart,
    AcceptAsync,
    Change,
    CompleteMultipart,
    ConfigureBucket,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateHold,
    CreateKey,
    CreateMultipart,
    CreateUser,
    DeleteBucket,
    DeleteKey,
    DeleteNewer,
    DeleteObject,
    DeleteUser,
    DropContent,
    PutObject,
    PutPart,
    ReleaseHold,
    RestoreVersion,
    SetKeyActive,
    SetNodeIntent,
    SetPassword,
)
from fileflux.core.errors import EventInvalid
from fileflux.core.ids import ID_SIZE_BYTES
from fileflux.events.schema import (
    BundleAssigned,
    BundleCommitted,
    BundleRefused,
    Event,
    NodeHeartbeat,
    PlacementDecided,
    StreamEchoed,
    UploadsCompleted,
    UploadsSealed,
)

Plain = Any
"""None, bool, int, float, str, bytes, tuples of them, dicts from str to them."""
Encoder = Callable[[Any], Plain]
Decoder = Callable[[Plain], Any]

EVENT_KINDS: Final[Mapping[int, type]] = {
    1: BundleAssigned,
    2: BundleCommitted,
    3: BundleRefused,
    4: UploadsSealed,
    5: UploadsCompleted,
    6: NodeHeartbeat,
    7: PlacementDecided,
    8: StreamEchoed,
}
"""Kind numbers are for ever: a number of a removed class is not given again."""

CHANGE_KINDS: Final[Mapping[int, type]] = {
    1: PutObject,
    2: PutPart,
    3: DeleteObject,
    4: CopyObject,
    5: CreateMultipart,
    6: CopyPart,
    7: CompleteMultipart,
    8: AbortMultipart,
    9: CreateBucket,
    10: DeleteBucket,
    11: ConfigureBucket,
    12: CreateUser,
    13: SetPassword,
    14: DeleteUser,
    15: CreateKey,
    16: SetKeyActive,
    17: DeleteKey,
    18: SetNodeIntent,
    19: AcceptAsync,
    20: DropContent,
    21: RestoreVersion,
    22: DeleteNewer,
    23: CreateHold,
    24: ReleaseHold,
}

_FAMILIES: Final[Mapping[type, Mapping[int, type]]] = {Event: EVENT_KINDS, Change: CHANGE_KINDS}
_FREE_DEPTH_MAX: Final = 32
"""Of values that the schema leaves open (a bucket's configuration)."""


@cache
def encoder_for(kind: Any) -> Encoder | None:
    """Return what turns a value of this type into a plain one; None: it is plain already."""
    if kind in _FAMILIES:
        return _family_encoder(_FAMILIES[kind])
    if dataclasses.is_dataclass(kind):
        return _record_encoder(kind)
    if isinstance(kind, NewType):
        return encoder_for(kind.__supertype__)
    if _is_union(kind):
        return _union_encoder(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return _tuple_encoder(typing.get_args(kind))
    return None


@cache
def decoder_for(kind: Any) -> Decoder:
    """Return what turns a plain value into one of this type, or raises EventInvalid."""
    if kind in _FAMILIES:
        return _family_decoder(_FAMILIES[kind])
    if dataclasses.is_dataclass(kind):
        return _record_decoder(kind)
    if isinstance(kind, NewType):
        return _id_decoder if kind.__supertype__ is bytes else decoder_for(kind.__supertype__)
    if _is_union(kind):
        return _union_decoder(typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enum_decoder(kind)
    if kind is object:
        return _free_decoder
    if kind is float:
        return _float_decoder
    return _container_decoder(kind) or _exact_decoder(kind)


def _container_decoder(kind: Any) -> Decoder | None:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return _tuple_decoder(args)
    if origin is Mapping:
        return _mapping_decoder(*args)
    if origin is Literal:
        return _literal_decoder(frozenset(args))
    return None


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def fields_of(record: Any) -> tuple[list[str], list[Any]]:
    """Return a record's fields in their order on the wire, and their types."""
    hints = typing.get_type_hints(record)
    names = [field.name for field in dataclasses.fields(record)]
    return names, [hints[name] for name in names]


# Encoding: our own objects, checked by the type checker, so no checks here.


def _record_encoder(record: Any) -> Encoder:
    names, kinds = fields_of(record)
    if len(names) < 2:
        return lambda value: tuple(getattr(value, name) for name in names)
    read = attrgetter(*names)
    nested = [(at, encode) for at, kind in enumerate(kinds) if (encode := encoder_for(kind))]
    if not nested:
        return read

    def encode_record(value: Any) -> Plain:
        plain = list(read(value))
        for at, encode in nested:
            plain[at] = encode(plain[at])
        return plain

    return encode_record


def _family_encoder(kinds: Mapping[Any, type]) -> Encoder:
    by_type = {kind: (tag, _record_encoder(kind)) for tag, kind in kinds.items()}

    def encode_member(value: Any) -> Plain:
        try:
            tag, encode = by_type[type(value)]
        except KeyError:
            raise EventInvalid(f"{type(value).__name__} has no kind on the wire") from None
        return (tag, *encode(value))

    return encode_member


def _union_encoder(members: tuple[Any, ...]) -> Encoder | None:
    encode = _some_encoder(tuple(member for member in members if member is not type(None)))
    if encode is None:
        return None
    return lambda value: None if value is None else encode(value)


def _some_encoder(members: tuple[Any, ...]) -> Encoder | None:
    if len(members) == 1:
        return encoder_for(members[0])
    return _family_encoder({member.__name__: member for member in members})


def _tuple_encoder(items: tuple[Any, ...]) -> Encoder | None:
    if len(items) != 2 or items[1] is not ...:
        encoders = [encoder_for(item) for item in items]
        if not any(encoders):
            return None
        return lambda value: [e(v) if e else v for e, v in zip(encoders, value, strict=True)]
    encode = encoder_for(items[0])
    if encode is None:
        return None
    return lambda value: [encode(item) for item in value]


# Decoding: anybody's bytes, so everything is checked.


def _record_decoder(record: Any) -> Decoder:
    """Check and fill all at once what was seen in this shape before; else go field by field.

    Slots are filled directly: the frozen `__init__` takes 2.5 times as long.
    """
    assert not hasattr(record, "__post_init__"), record
    names, kinds = fields_of(record)
    count, required = len(names), _required_count(record)
    decoders = [decoder_for(kind) for kind in kinds]
    deep = [(at, decoders[at]) for at, kind in enumerate(kinds) if not _is_told_by_type(kind)]
    fill = [getattr(record, name).__set__ for name in names]
    proven: set[tuple[type, ...]] = set()
    new = object.__new__

    def decode_known(plain: Plain) -> Any:
        if type(plain) is not tuple or tuple(map(type, plain)) not in proven:
            return decode_any(plain)
        values = list(plain)
        for at, decode in deep:
            values[at] = decode(values[at])
        made = new(record)
        for set_field, value in zip(fill, values):  # noqa: B905 - one shape, one length
            set_field(made, value)
        return made

    def decode_any(plain: Plain) -> Any:
        if type(plain) is not tuple or len(plain) < required:
            raise EventInvalid(f"{record.__name__} has at least {required} fields")
        values = [decode(value) for decode, value in zip(decoders, plain, strict=False)]
        if len(plain) == count:
            proven.add(tuple(map(type, plain)))
        return record(**dict(zip(names, values, strict=False)))

    return decode_known


def _is_told_by_type(kind: Any) -> bool:
    """Return whether a plain value is right as it is as soon as its Python type is.

    So one comparison of all types at once replaces a check per field: half the time of a seal.
    """
    if _is_union(kind):
        return all(_is_told_by_type(member) for member in typing.get_args(kind))
    if isinstance(kind, NewType):
        return kind.__supertype__ is str
    return kind in (bool, int, str, bytes, type(None))


def _required_count(record: Any) -> int:
    missing = dataclasses.MISSING
    needed = [
        at
        for at, field in enumerate(dataclasses.fields(record), start=1)
        if field.default is missing and field.default_factory is missing
    ]
    return max(needed, default=0)


def _family_decoder(kinds: Mapping[Any, type]) -> Decoder:
    by_tag = {tag: _record_decoder(kind) for tag, kind in kinds.items()}

    def decode_member(plain: Plain) -> Any:
        if type(plain) is not tuple or not plain or type(plain[0]) not in (int, str):
            raise EventInvalid("a record starts with its kind")
        decode = by_tag.get(plain[0])
        if decode is None:
            raise EventInvalid(f"kind {str(plain[0])[:40]} is not known here")
        return decode(plain[1:])

    return decode_member


def _union_decoder(members: tuple[Any, ...]) -> Decoder:
    some = tuple(member for member in members if member is not type(None))
    if len(some) == 1:
        decode = decoder_for(some[0])
    else:
        decode = _family_decoder({member.__name__: member for member in some})
    if len(some) == len(members):
        return decode
    return lambda plain: None if plain is None else decode(plain)


def _tuple_decoder(items: tuple[Any, ...]) -> Decoder:
    if len(items) == 2 and items[1] is ...:
        return _repeated_decoder(decoder_for(items[0]))
    decoders = [decoder_for(item) for item in items]

    def decode_fixed(plain: Plain) -> Any:
        if type(plain) is not tuple or len(plain) != len(decoders):
            raise EventInvalid(f"a tuple of {len(decoders)} was expected")
        return tuple(decode(value) for decode, value in zip(decoders, plain, strict=True))

    return decode_fixed


def _repeated_decoder(decode: Decoder) -> Decoder:
    def decode_repeated(plain: Plain) -> Any:
        if type(plain) is not tuple:
            raise EventInvalid("a list was expected")
        return tuple([decode(value) for value in plain])

    return decode_repeated


def _mapping_decoder(key: Any, value: Any) -> Decoder:
    decode_key, decode_value = decoder_for(key), decoder_for(value)

    def decode_mapping(plain: Plain) -> Any:
        if type(plain) is not dict:
            raise EventInvalid("a mapping was expected")
        if not plain:
            return plain
        return {decode_key(k): decode_value(v) for k, v in plain.items()}

    return decode_mapping


def _enum_decoder(kind: type[enum.Enum]) -> Decoder:
    by_value = {(type(member.value), member.value): member for member in kind}

    def decode_enum(plain: Plain) -> Any:
        if type(plain) not in (int, str) or (type(plain), plain) not in by_value:
            raise EventInvalid(f"not a {kind.__name__}")
        return by_value[type(plain), plain]

    return decode_enum


def _literal_decoder(allowed: frozenset[Any]) -> Decoder:
    def decode_literal(plain: Plain) -> Any:
        if type(plain) not in (int, str) or plain not in allowed:
            raise EventInvalid("not one of the known words")
        return plain

    return decode_literal


def _exact_decoder(kind: Any) -> Decoder:
    def decode_exact(plain: Plain) -> Any:
        if type(plain) is kind:
            return plain
        raise EventInvalid(f"{kind.__name__} expected, {type(plain).__name__} found")

    return decode_exact


def _id_decoder(plain: Plain) -> bytes:
    if type(plain) is bytes and len(plain) == ID_SIZE_BYTES:
        return plain
    raise EventInvalid("an id has 16 bytes")


def _float_decoder(plain: Plain) -> float:
    if type(plain) in (float, int) and math.isfinite(plain):
        return float(plain)
    raise EventInvalid("a finite number was expected")


def _free_decoder(plain: Plain, depth: int = 0) -> Any:
    """What JSON can say, and bytes; lists come back as lists."""
    if depth > _FREE_DEPTH_MAX:
        raise EventInvalid("values are nested too deep")
    if plain is None or type(plain) in (bool, int, float, str, bytes):
        return plain
    if type(plain) is tuple:
        return [_free_decoder(value, depth + 1) for value in plain]
    if type(plain) is dict and all(type(key) is str for key in plain):
        return {key: _free_decoder(value, depth + 1) for key, value in plain.items()}
    raise EventInvalid(f"{type(plain).__name__} is not a plain value")
