"""An export is whole or not there, and what was stopped goes on without a line twice or lost."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer

from fileflux.console import audit_export
from fileflux.console.audit_export import (
    ExportRefused,
    LinesFile,
    clear,
    export,
    partial_of,
    question_as_json,
    saved_of,
)
from fileflux.console.audit_lines import line_of
from fileflux.console.audit_parquet import ParquetFile, load_pyarrow, row_of
from fileflux.console.audit_question import Range, question, range_of
from fileflux.core.errors import MetadataBusy
from fileflux.core.ids import BucketId
from fileflux.metadata.audit_filter import AuditFilter, OpenedRecord
from fileflux.metadata.audit_reader import AuditReader
from fileflux.metadata.chain import NumberedRecord

COUNT = 40
SECOND_US = 1_000_000
NO_FILTERS: dict[str, Any] = {"bucket": "", "prefix": "", "principal": "", "operation": None}


def record(position: int, previous_hash: bytes) -> NumberedRecord:
    data = {
        "operation": "PutObject",
        "bucket": f"bucket-{position % 2}",
        "key": f"key {position}",
        "stamp": position * 60 * SECOND_US,
        "actor": {"user_name": "ada", "user_id": "a" * 32, "key_id": "FF"},
        "facts": {"outcome": "ok", "size": position, "owner": "a" * 32},
        "effects": [],
    }
    event = {"specversion": "1.0", "id": f"{position}", "source": "/b", "type": "t", "time": "now"}
    payload = orjson.dumps({**event, "data": data})
    return NumberedRecord(position, BucketId(bytes(16)), position, previous_hash, payload)


class Place:
    """A few records at a time; away from `fails_at` on, once."""

    name = "list"

    def __init__(self) -> None:
        self.records: list[NumberedRecord] = []
        last_hash = bytes(32)
        for position in range(1, COUNT + 1):
            self.records.append(record(position, last_hash))
            last_hash = hashlib.sha256(last_hash + self.records[-1].payload).digest()
        self.fails_at = COUNT * 2

    async def read(self, position: int, *, bytes_max: int) -> Sequence[NumberedRecord]:
        if position >= self.fails_at:
            raise MetadataBusy("away")
        return self.records[position - 1 : position + 2]

    async def end(self) -> int:
        return COUNT + 1


@pytest.fixture
def place() -> Place:
    return Place()


async def run(place: Place, path: Path, wanted: AuditFilter | None = None) -> int:
    """Export all to `path` as the command does; return the position that it began at."""
    asked = Range(1, COUNT + 1, wanted or AuditFilter())
    saved = saved_of(path)
    sink = LinesFile(path, {"all": True}, start=1, until=COUNT + 1, saved=saved)
    first = sink.position
    try:
        await export(AuditReader([place]), asked, sink, lambda position: None)
    finally:
        sink.close()
    return first


def names(directory: Path) -> list[str]:
    return [one.name for one in directory.iterdir()]


def positions(path: Path) -> list[int]:
    return [int(json.loads(line)["position"]) for line in path.read_bytes().splitlines()]


async def test_a_whole_export_is_one_cloudevent_a_line(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    await run(place, path)

    assert positions(path) == list(range(1, COUNT + 1))
    assert names(tmp_path) == ["events.jsonl"]
    assert path.stat().st_mode & 0o077 == 0, "everybody's keys are in it"


async def test_what_failed_goes_on_where_it_was(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    place.fails_at = 22
    with pytest.raises(Exception, match="away"):
        await run(place, path)
    assert not path.exists(), "a part is not the whole"
    place.fails_at = COUNT * 2

    assert await run(place, path) == 22
    assert positions(path) == list(range(1, COUNT + 1))


async def test_a_kill_at_any_byte_costs_no_line_and_doubles_none(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written after the last save is cut off and read again."""
    monkeypatch.setattr(audit_export, "SAVE_EVERY_POSITIONS", 10)
    path = tmp_path / "events.jsonl"
    place.fails_at = 31
    with pytest.raises(Exception, match="away"):
        await run(place, path)
    whole = partial_of(path).read_bytes()
    saved = saved_of(path)
    assert saved is not None
    for lost in (0, 1, 57):
        partial_of(path).write_bytes(whole[: saved.size] + b'{"position":"000' + b"x" * lost)
        place.fails_at = COUNT * 2
        assert await run(place, path) == saved.position
        assert positions(path) == list(range(1, COUNT + 1))
        path.unlink()
        audit_export._state_path(path).write_text(
            json.dumps({name: getattr(saved, name) for name in saved.__slots__})
        )


async def test_a_shorter_file_than_was_saved_is_begun_anew(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    place.fails_at = 22
    with pytest.raises(Exception, match="away"):
        await run(place, path)
    partial_of(path).write_bytes(b"")
    place.fails_at = COUNT * 2

    assert await run(place, path) == 1
    assert positions(path) == list(range(1, COUNT + 1))


def test_nothing_is_overwritten_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("mine")
    with pytest.raises(ExportRefused, match="--force"):
        clear(path, force=False)
    clear(path, force=True)

    first = LinesFile(path, {}, start=1, until=2, saved=None)
    with pytest.raises(ExportRefused, match="another export"):
        LinesFile(path, {}, start=1, until=2, saved=None)
    first.close()
    assert path.read_text() == "mine"


async def test_filters_and_ranges_take_what_they_name(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    await run(place, path, AuditFilter(bucket="bucket-1", prefix=b"key 1"))

    assert positions(path) == [1, *range(11, 20, 2)]
    reader = AuditReader([place])
    asked = question("1970-01-01T00:10:00Z", "1970-01-01T00:20Z", **NO_FILTERS)
    where = await range_of(asked, reader)
    found = [
        one.position
        async for page in reader.pages(where.start, until=where.until)
        for one in page
        if where.wanted.open(one)
    ]
    assert found == list(range(10, 20))
    assert await range_of(question("7", "9", **NO_FILTERS), reader) == Range(7, 9, AuditFilter())
    now = await range_of(question("now", "now", **NO_FILTERS), reader)
    assert (now.start, now.until) == (COUNT + 1, COUNT + 1)


def test_a_question_that_cannot_be_is_a_wrong_argument() -> None:
    for start, more in (("tomorrow", {}), ("-1", {}), ("1", {"operation": ["Put"]})):
        with pytest.raises(typer.BadParameter):
            question(start, "", **{**NO_FILTERS, **more})


def test_equal_questions_are_equal_as_json_and_others_are_not() -> None:
    def said(**changes: Any) -> str:
        return json.dumps(question_as_json(question("1", "now", **{**NO_FILTERS, **changes})))

    assert said() == said()
    assert len({said(), said(bucket="b"), said(prefix="b"), said(operation=["PutObject"])}) == 4


def test_a_line_for_people_shows_no_controls() -> None:
    one = record(3, bytes(32))
    data = orjson.loads(one.payload)
    data["data"]["key"] = "\x1b[2Jgone"
    evil = NumberedRecord(3, one.stream, 3, bytes(32), orjson.dumps(data))

    assert "\x1b" not in line_of(OpenedRecord(evil), as_json=False)
    assert "\x1b" not in line_of(OpenedRecord(evil), as_json=True)


def test_without_pyarrow_parquet_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)

    with pytest.raises(ExportRefused, match=r"fileflux\[parquet\]"):
        load_pyarrow()


def test_a_row_has_the_bytes_that_the_chain_covers() -> None:
    one = record(3, b"h" * 32)
    row = row_of(OpenedRecord(one))

    assert (row["position"], row["prevhash"], row["record"]) == (3, b"h" * 32, one.payload)
    assert (row["key"], row["size"], row["user_name"]) == (b"key 3", 3, "ada")


async def test_a_parquet_file_has_every_event_as_a_row(place: Place, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "events.parquet"
    sink = ParquetFile(path, start=1)
    await export(AuditReader([place]), Range(1, COUNT + 1, AuditFilter()), sink, lambda _: None)

    table = parquet.read_table(path)
    assert table.column("position").to_pylist() == list(range(1, COUNT + 1))
    last_hash = bytes(32)
    for before, raw in zip(
        table.column("prevhash").to_pylist(), table.column("record").to_pylist(), strict=True
    ):
        assert before == last_hash
        last_hash = hashlib.sha256(last_hash + raw).digest()
    broken = ParquetFile(tmp_path / "other.parquet", start=1)
    broken.close()
    assert names(tmp_path) == ["events.parquet"], "half a Parquet file cannot be read"
