"""The codec of private topics: whole, strict, tolerant of newer and older writers, bounded."""

import dataclasses
import enum
import tracemalloc
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileflux.core import changes
from fileflux.core.changes import Actor, Change, ConfigureBucket, DeleteObject, Outcome, PutObject
from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId, BundleId, NodeId, SealId, UploadId, UserId
from fileflux.events import schema
from fileflux.events.codec import decode_events, decode_record, encode_events, encode_record
from fileflux.events.schema import BundleRefused, Event, NodeHeartbeat
from fileflux.events.wire import CHANGE_KINDS, EVENT_KINDS

REFUSED = BundleRefused(
    bundle_id=BundleId(b"b" * 16), seal_id=SealId(b"s" * 16), node_id=NodeId("n1"), reason="full"
)
_INT64 = st.integers(-(2**63), 2**64 - 1)
_TEXT = st.text(max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | _INT64 | _TEXT | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_PRIMITIVE: Mapping[Any, st.SearchStrategy[Any]] = {
    int: _INT64,
    str: _TEXT,
    bytes: st.binary(max_size=24),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    type(None): st.none(),
    object: _JSON,
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that may stand in an event."""
    if kind in _PRIMITIVE:
        return _PRIMITIVE[kind]
    if kind in (Event, Change):
        return st.one_of([values_of(member) for member in kinds_of(kind)])
    if isinstance(kind, typing.NewType):
        is_id = kind.__supertype__ is bytes
        return st.binary(min_size=16, max_size=16) if is_id else values_of(kind.__supertype__)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {f.name: values_of(hints[f.name]) for f in dataclasses.fields(kind)}
        return st.builds(typing.cast(Any, kind), **fields)
    return _values_of_generic(typing.get_origin(kind), typing.get_args(kind))


def _values_of_generic(origin: Any, args: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values_of(arg) for arg in args])
    if origin is tuple and args[-1] is ...:
        return st.lists(values_of(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*[values_of(arg) for arg in args])
    assert origin is Mapping, origin
    return st.dictionaries(values_of(args[0]), values_of(args[1]), max_size=3)


def kinds_of(family: type) -> list[type]:
    return list(EVENT_KINDS.values() if family is Event else CHANGE_KINDS.values())


def concrete_subclasses(family: type, module: types.ModuleType) -> Iterator[type]:
    for value in vars(module).values():
        is_member = isinstance(value, type) and issubclass(value, family) and value is not family
        if is_member and not value.__name__.startswith("_"):
            yield value


@pytest.mark.parametrize("kind", [*EVENT_KINDS.values()], ids=lambda kind: kind.__name__)
def test_every_event_comes_back_as_it_was(kind: type) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(values_of(kind), max_size=3))
    def round_trip(events: list[Event]) -> None:
        assert decode_events(encode_events(events)) == events

    round_trip()


@pytest.mark.parametrize("kind", [*CHANGE_KINDS.values(), Outcome], ids=lambda kind: kind.__name__)
def test_every_change_and_outcome_comes_back_as_it_was(kind: type) -> None:
    wire_kind = Outcome if kind is Outcome else Change

    @settings(max_examples=60, deadline=None)
    @given(values_of(kind))
    def round_trip(value: object) -> None:
        back = decode_record(wire_kind, encode_record(wire_kind, value))
        assert back == value
        assert type(back) is type(value)

    round_trip()


def test_every_event_and_change_class_has_a_kind_number() -> None:
    assert set(concrete_subclasses(Event, schema)) == set(EVENT_KINDS.values())
    assert set(concrete_subclasses(Change, changes)) == set(CHANGE_KINDS.values())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_and_nothing_else(raw: bytes) -> None:
    for prefix in (b"", b"\x01"):
        try:
            decode_events(prefix + raw)
        except EventInvalid:
            continue


@settings(max_examples=200, deadline=None)
@given(values_of(Event), st.data())
def test_bytes_cut_off_anywhere_are_refused(event: Event, data: st.DataObject) -> None:
    raw = encode_events([event])
    cut = data.draw(st.integers(0, len(raw) - 1))

    with pytest.raises(EventInvalid):
        decode_events(raw[:cut])


@settings(max_examples=300, deadline=None)
@given(values_of(Event), st.data())
def test_a_damaged_record_is_refused_or_is_still_whole_events(
    event: Event, data: st.DataObject
) -> None:
    """A flipped byte may give another legal text, never half an event or another exception."""
    raw = bytearray(encode_events([event]))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))

    try:
        events = decode_events(bytes(raw))
    except EventInvalid:
        return

    assert decode_events(encode_events(events)) == events


def _wire(*events: object, version: int = 1) -> bytes:
    packed: bytes = msgpack.packb(list(events))
    return bytes((version,)) + packed


_REFUSED_FIELDS = [b"b" * 16, b"s" * 16, "n1", "full"]


def test_what_a_newer_writer_appended_is_ignored() -> None:
    raw = _wire([3, *_REFUSED_FIELDS, {"new": 1}, b"newer"])

    assert decode_events(raw) == [REFUSED]


def test_who_asked_may_grow_inside_of_a_change_while_old_and_new_processes_run() -> None:
    """`traceparent` was appended: seals carry it into processes of the release before."""
    actor = (b"u" * 16, "alice", "K", "::1", "curl", "R1", "T1")

    assert decode_record(Actor, b"\x01" + msgpack.packb(actor)).traceparent == ""
    newer = b"\x01" + msgpack.packb((*actor, "00-1", {"newer": 1}))
    assert decode_record(Actor, newer).traceparent == "00-1"


def test_what_an_older_writer_did_not_send_is_filled_in() -> None:
    outcome = Outcome(upload_id=UploadId(b"u" * 16), status="Aborted")
    raw = b"\x01" + msgpack.packb([b"u" * 16, "Aborted"])

    assert decode_record(Outcome, raw) == outcome


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\x01",
        _wire([3, *_REFUSED_FIELDS], version=2),
        _wire([99, *_REFUSED_FIELDS]),
        _wire(["BundleRefused", *_REFUSED_FIELDS]),
        _wire([3, *_REFUSED_FIELDS[:3]]),
        _wire([3, b"short", *_REFUSED_FIELDS[1:]]),
        _wire([3, *_REFUSED_FIELDS[:3], 7]),
        _wire([3, *_REFUSED_FIELDS[:3], None]),
        _wire([True, *_REFUSED_FIELDS]),
        _wire([[3], *_REFUSED_FIELDS]),
        _wire([]),
        _wire(3),
        b"\x01" + msgpack.packb({"3": 1}),
        b"\x01" + msgpack.packb(msgpack.Timestamp(1)),
        _wire([3, *_REFUSED_FIELDS]) + b"\x00",
    ],
)
def test_what_is_not_exactly_an_event_is_refused(raw: bytes) -> None:
    with pytest.raises(EventInvalid):
        decode_events(raw)


def test_a_wrong_type_is_refused_also_after_right_ones_were_seen() -> None:
    """The shape that was proven is that of all fields, so another type is another shape."""
    assert decode_events(_wire([3, *_REFUSED_FIELDS])) == [REFUSED]

    with pytest.raises(EventInvalid):
        decode_events(_wire([3, *_REFUSED_FIELDS[:3], True]))


def test_hostile_lengths_do_not_take_memory() -> None:
    """Thousands of nested lists that each claim thousands of items, in 5 KB."""
    bombs = [b"\x01" + b"\xdd\xff\xff\xff\xff" * 1_000, b"\x01" + b"\xdd\x00\x00\x10\x00" * 1_000]
    tracemalloc.start()
    for bomb in bombs:
        with pytest.raises(EventInvalid):
            decode_events(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 48 * 1024 * 1024


def test_deep_nesting_in_open_values_is_refused() -> None:
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    change = ConfigureBucket(
        upload_id=UploadId(b"u" * 16),
        actor=ACTOR,
        at_us=1,
        bucket_id=BucketId(b"b" * 16),
        bucket="b",
        entries={"x": deep},
    )
    raw = encode_record(Change, change)

    with pytest.raises(EventInvalid):
        decode_record(Change, raw)


@pytest.mark.parametrize("text", ["\ud800", "x" * (17 << 20)], ids=["surrogate", "too large"])
def test_what_cannot_travel_is_refused_when_it_is_encoded(text: str) -> None:
    with pytest.raises(EventInvalid):
        encode_events([dataclasses.replace(REFUSED, reason=text)])


ACTOR = Actor(UserId(b"a" * 16), "alice", "AKIA", "127.0.0.1", "agent", "req", "trace")


def test_the_order_of_fields_on_the_wire_is_fixed() -> None:
    """A field added to a base class would move those of every subclass: readers would mix them."""
    delete = DeleteObject(
        upload_id=UploadId(b"u" * 16),
        actor=ACTOR,
        at_us=5,
        bucket_id=BucketId(b"b" * 16),
        bucket="bucket",
        key=b"k",
    )
    assert msgpack.unpackb(encode_record(Change, delete)[1:], use_list=False) == (
        3,
        b"u" * 16,
        (b"a" * 16, "alice", "AKIA", "127.0.0.1", "agent", "req", "trace", ""),
        5,
        b"b" * 16,
        "bucket",
        b"k",
        (None, None),
    )
    assert [field.name for field in dataclasses.fields(PutObject)][:5] == [
        "upload_id",
        "actor",
        "at_us",
        "bucket_id",
        "bucket",
    ]
    assert [field.name for field in dataclasses.fields(NodeHeartbeat)] == [
        *("node_id", "epoch", "at_us", "url", "domain", "total_bytes", "free_bytes"),
        *("reserve_bytes", "health", "read_only", "load", "software"),
    ]
