"""What was released is promised: nothing published now breaks it, and old records are read."""

import copy
import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.model.golden_events import FIXTURE, TABLE, golden_events
from tests.model.schema_check import problems
from tools.release_schemas import broken_promises, released_schemas

from fileflux.console.event_schemas import PIPELINE, SCHEMAS, published
from fileflux.core.changes import Change
from fileflux.events.codec import decode_events
from fileflux.events.schema import Event
from fileflux.events.wire import CHANGE_KINDS, EVENT_KINDS
from fileflux.events.wire_table import wire_table
from fileflux.metadata.audit_record import unpack_pending

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"


def test_nothing_that_is_published_breaks_a_released_promise() -> None:
    """The sentences say what to do."""
    assert broken_promises(released_schemas()) == []


def test_everything_that_is_published_was_released_once() -> None:
    """Otherwise: make release-schemas. A new schema is a promise from its first day."""
    assert set(published()) == set(released_schemas())


def test_a_broken_promise_of_any_schema_is_found() -> None:
    """The check above can fail: each released schema is given one more member to miss."""
    for name, schema in released_schemas().items():
        asked = copy.deepcopy(schema)
        if name in SCHEMAS:
            asked.setdefault("properties", {})["promised"] = {"type": "string"}
        elif name == PIPELINE:
            asked["events"]["Promised"] = {"kind": 99, "fields": []}
        else:
            asked["promised"] = {"address": None, "messages": {}}
        assert len(broken_promises({name: asked})) == 1
        assert broken_promises({name: schema}) == []
    assert "removed" in broken_promises({"of-old": {}})[0]


def test_events_of_version_1_are_read_as_they_were_written() -> None:
    """One of every kind; a field that came later has its default."""
    events = decode_events(FIXTURE.read_bytes())
    assert events == golden_events()
    assert {type(event).__name__ for event in events} == set(TABLE["events"])
    (seal,) = (event for event in events if hasattr(event, "changes"))
    assert {type(change).__name__ for change in seal.changes} == set(TABLE["changes"])


def test_audit_records_of_version_1_are_as_todays_schema_says() -> None:
    """They stay on the topic for ever: whoever reads by today's schema meets them."""
    records = unpack_pending((FIXTURES / "audit_v1_pending.bin").read_bytes())
    assert [problems("audit-record", one.payload) for one in records] == [[]] * 5


def test_checkpoints_of_version_1_are_as_todays_schema_says() -> None:
    lines = (FIXTURES / "archive_v1_checkpoints.jsonl").read_bytes().splitlines()
    assert [problems("checkpoint", line) for line in lines] == [[]] * len(lines)
    assert lines


def test_the_table_says_what_an_enumeration_is_on_the_wire() -> None:
    """Otherwise a number could be given to another member, unseen."""
    assert wire_table()["enums"] == {"SizeClass": {"SMALL": 0, "LARGE": 1}}
    assert released_schemas()["pipeline"]["enums"] == wire_table()["enums"]


def _records_in(kind: Any) -> Iterator[Any]:
    if dataclasses.is_dataclass(kind):
        yield kind
        for hint in typing.get_type_hints(kind).values():
            yield from _records_in(hint)
    for argument in typing.get_args(kind):
        yield from _records_in(argument)


@pytest.mark.parametrize("family", [Event, Change])
def test_every_record_in_an_event_is_in_the_table(family: type) -> None:
    """A part that the table lacks could change unseen."""
    kinds = EVENT_KINDS if family is Event else CHANGE_KINDS
    found = {one.__name__ for kind in kinds.values() for one in _records_in(kind)}
    table = wire_table()
    known = {*table["events"], *table["changes"], *table["parts"]}
    assert found - known - {"Change"} == set()
