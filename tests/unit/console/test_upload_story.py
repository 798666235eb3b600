"""Names that tenants chose, shown to operators."""

import base64
import io
import os
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from tests.model.metadata_changes import Maker
from typer.testing import CliRunner

from fileflux.console.audit_lines import line_of
from fileflux.console.cli import app
from fileflux.console.commands_audit import _Asked
from fileflux.console.upload_deliveries import DeliveryStory
from fileflux.console.upload_story import as_json, show_deliveries, show_places, show_request
from fileflux.core.clock import ManualClock
from fileflux.metadata.apply import apply
from fileflux.metadata.audit_filter import OpenedRecord
from fileflux.metadata.audit_log import Trace
from fileflux.metadata.audit_record import SYSTEM_STREAM, encode_record
from fileflux.metadata.chain import FIRST_HASH, NumberedRecord
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.rows import AuditRecord, Rows

KEY = "[id]/x[/b]\x1b]0;owned\x07\nend"


def _record() -> AuditRecord:
    maker = Maker(1)
    bucket = maker.bucket()
    writes, _ = apply(Rows(clock_us=1), [maker.user(), bucket])
    return replace(writes.audit[-1], key=KEY.encode())


def test_a_key_is_shown_as_it_is_and_no_terminal_obeys_it() -> None:
    shown = io.StringIO()

    show_places(Console(file=shown), _record(), {})

    assert r"[id]/x[/b]\x1b]0;owned\x07\nend" in shown.getvalue()


def test_who_asked_and_who_was_told_are_shown_and_no_terminal_obeys_them() -> None:
    shown = io.StringIO()
    out = Console(file=shown, width=200)
    record = replace(_record(), actor={"user_name": "[b]eve\x1b[2J", "trace_id": "4bf9"})
    told = DeliveryStory(webhook="e1af0149", url=f"http://x/{KEY}", state="waiting", attempts=())

    show_request(out, Trace(record, 7))
    show_deliveries(out, [told])

    assert r"[b]eve\x1b[2J" in shown.getvalue()
    assert "trace 4bf9 · audit position 7" in shown.getvalue()
    assert "webhook e1af0149: waiting" in shown.getvalue()
    assert "\x1b" not in shown.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a/b", "--position", "1"],
        ["--request-id", 'x" OR 1'],
        ["--position", "-1"],
        ["--trace-id", "4BF9"],
    ],
)
def test_a_change_is_named_in_one_way_or_the_command_says_how(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["trace", *arguments])

    assert done.exit_code == 2
    assert any(word in done.output for word in ("request", "position", "trace id"))


async def test_a_key_that_is_no_text_is_found_and_told_whole() -> None:
    """A shell gives its bytes as Python's surrogates."""
    asked: list[list[tuple[str, bytes]]] = []

    class Reader(MemoryReader):
        async def find_objects(self, names: Any) -> Any:
            asked.append(list(names))
            return await super().find_objects(names)

    name = os.fsdecode(b"photos/\xff\xfe/cat")
    assert await _Asked(name, 0, "", "").find(Reader(MemoryDatabase(ManualClock()))) is None
    assert asked == [[("photos", b"\xff\xfe/cat")]]
    told = as_json(Trace(replace(_record(), key=b"\xff\xfe/cat"), 7), {})
    assert base64.b64decode(told["key_base64"]) == b"\xff\xfe/cat"


def test_a_change_of_no_bucket_and_of_no_key_is_not_said_to_have_one() -> None:
    shown = io.StringIO()
    out = Console(file=shown, width=200)
    record = replace(_record(), bucket_id=None, bucket="", key=None, operation="CreateUser")
    numbered = NumberedRecord(7, SYSTEM_STREAM, 3, FIRST_HASH, encode_record(record))

    show_places(out, record, {})
    show_request(out, Trace(record, 7, (), numbered))

    assert shown.getvalue().startswith("the system\n")
    assert "3 of the system" in shown.getvalue()
    assert "bytes" not in shown.getvalue()


def test_a_record_of_the_audit_stream_is_one_line() -> None:
    record = _record()
    assert record.bucket_id is not None
    numbered = NumberedRecord(1, record.bucket_id, 1, FIRST_HASH, encode_record(record))

    assert line_of(OpenedRecord(numbered), as_json=False).isprintable()
