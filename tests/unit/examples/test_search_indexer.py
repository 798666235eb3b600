"""The search index that people copy: resumed where it was cut, and never over a hole."""

import json
import runpy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.model.metadata_changes import Maker
from tests.model.metadata_store import Store

from fileflux.events.audit import to_cloudevent
from fileflux.metadata.audit_record import SYSTEM_STREAM, encode_record

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Record:
    """As aiokafka gives one."""

    offset: int
    headers: Sequence[tuple[str, bytes]]
    value: bytes


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples/search_indexer.py"))


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """A bucket with three objects, of which one is removed and one replaced; 8 events."""
    maker, store = Maker(), Store()
    bucket = maker.bucket()
    changes = [maker.user(), bucket]
    changes += [maker.put(bucket, key) for key in (b"beach/red.jpg", b"snow.jpg", b"\xff\x00.jpg")]
    changes += [maker.delete(bucket, b"snow.jpg"), maker.put(bucket, b"beach/red.jpg")]
    made: list[Record] = []
    sequences: dict[bytes, int] = {}
    for change in changes:
        store.run(change)
        (record,) = store.writes.audit
        stream = record.bucket_id or SYSTEM_STREAM
        sequences[stream] = sequences.get(stream, 0) + 1
        message = to_cloudevent(
            encode_record(record),
            position=len(made) + 1,
            stream=stream,
            sequence=sequences[stream],
            previous_hash=bytes(32),
        )
        made.append(Record(len(made), message.headers, message.value))
    return made


def test_what_is_there_is_found_and_what_was_removed_is_not(
    example: dict[str, Any], records: list[Record]
) -> None:
    index = example["Index"](":memory:")
    index.take(records)

    assert index.search("beach jpg") == [("photos", "beach/red.jpg", 100)]
    assert index.search("snow") == []
    assert len(index.search("photos")) == 2, "replaced, not doubled; the other is no UTF-8"
    assert index.search('") OR 1') == []
    assert index.search(" ") == []
    assert index.place() == (7, 7)


def test_a_run_that_fails_in_its_middle_changes_nothing_and_the_next_one_goes_on(
    example: dict[str, Any], records: list[Record], tmp_path: Path
) -> None:
    """However it is cut: the index and its place are stored together."""
    path = str(tmp_path / "index.db")
    for cut in range(len(records)):
        index = example["Index"](path)
        broken = Record(cut + 1, records[cut].headers, b"{")
        rest = [records[cut + 1]] if cut + 1 < len(records) else []
        with pytest.raises(json.JSONDecodeError):
            index.take([*records[:cut], broken, *rest])
        assert index.place()[0] == cut, "only what was taken before"
        index.take(records[: cut + 1])
        index.db.close()

    whole = example["Index"](":memory:")
    whole.take(records)
    resumed = example["Index"](path)
    assert resumed.search("photos") == whole.search("photos")


def test_a_hole_is_told_and_repeated_records_are_not(
    example: dict[str, Any], records: list[Record]
) -> None:
    index = example["Index"](":memory:")
    index.take([*records[:3], *records[1:3]])
    with pytest.raises(example["Gap"], match="position 5 follows 3"):
        index.take(records[4:])
    assert index.place()[0] == 3


def test_a_buckets_sequence_alone_shows_a_hole(
    example: dict[str, Any], records: list[Record]
) -> None:
    """A tenant has no positions: its bucket's sequence tells as much."""
    index = example["Index"](":memory:")
    index.take(records[:3])
    headers = [
        (name, b"%020d" % 4) if name == "ce_position" else (name, value)
        for name, value in records[4].headers
    ]
    with pytest.raises(example["Gap"], match="4 follows 2"):
        index.take([Record(3, headers, records[4].value)])


def test_what_overtook_the_first_records_of_a_refilled_topic_is_passed_over(
    example: dict[str, Any], records: list[Record]
) -> None:
    index = example["Index"](":memory:")
    index.late_left = 10
    index.take([records[6], *records])
    assert index.place()[0] == 7
    with pytest.raises(example["Gap"]):
        index.take([Record(9, [("ce_position", b"9"), ("ce_sequence", b"9")], b"")])


class NothingMore(Exception):
    """The topic's end: a real one would wait."""


class Consumer:
    """A topic of these records, by the calls of aiokafka's consumer that the example makes."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.held = list(records)
        self.refills: list[list[Record]] = []
        self._at = 0

    def assign(self, _: Sequence[Any]) -> None: ...

    def seek(self, _: Any, at: int) -> None:
        self._at = at

    async def beginning_offsets(self, topics: Sequence[Any]) -> dict[Any, int]:
        return {topics[0]: self.held[0].offset if self.held else 0}

    async def end_offsets(self, topics: Sequence[Any]) -> dict[Any, int]:
        return {topics[0]: self.held[-1].offset + 1 if self.held else 0}

    async def getmany(self, topic: Any, **_: Any) -> dict[Any, list[Record]]:
        found = [one for one in self.held if one.offset >= self._at][:2]
        if not found and self.refills:
            self.held = self.refills.pop(0)
            return {}
        if not found:
            raise NothingMore
        self._at = found[-1].offset + 1
        return {topic: found}


def at_offsets(records: Sequence[Record], first: int = 0) -> list[Record]:
    return [replace(one, offset=first + at) for at, one in enumerate(records)]


async def test_a_gap_is_read_again_from_the_start_once_and_then_it_is_an_error(
    example: dict[str, Any], records: list[Record]
) -> None:
    """Also where the records before the gap are known: they are no late ones."""
    index = example["Index"](":memory:")
    index.take(records[:3])
    lost = Consumer([*records[:3], *records[4:]])
    with pytest.raises(example["Gap"], match="position 5 follows 3"):
        await example["follow"](index, lost)
    assert index.place()[0] == 3

    with pytest.raises(NothingMore):
        await example["follow"](index, Consumer(at_offsets([*records[4:], *records])))
    assert index.place()[0] == 7


async def test_a_topic_that_is_wiped_and_filled_again_meanwhile_is_followed(
    example: dict[str, Any], records: list[Record]
) -> None:
    """Whoever began at its start begins there again; that is no second gap."""
    index = example["Index"](":memory:")
    consumer = Consumer(at_offsets([records[0], *records[:3]]))
    consumer.refills = [at_offsets(records)]
    with pytest.raises(NothingMore):
        await example["follow"](index, consumer)
    assert index.place()[0] == 7


async def test_a_topic_without_its_first_record_is_told(
    example: dict[str, Any], records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be on its way to a topic that was wiped; if not, somebody has to know."""
    index = example["Index"](":memory:")
    consumer = Consumer(at_offsets(records[2:]))
    consumer.refills = [consumer.held]
    with pytest.raises(NothingMore):
        await example["follow"](index, consumer)
    assert capsys.readouterr().err.count("waiting for position 1") == 1
