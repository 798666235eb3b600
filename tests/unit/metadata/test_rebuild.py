"""A rebuild ends where the original stood, or says why it cannot."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.change_storm import Storm, batches
from tests.model.metadata_changes import NODES, Maker
from tests.model.rebuild_world import (
    GivenRecords,
    audited,
    export,
    number,
    put_sealed,
    rebuild,
    records_of,
    storm,
    write,
)

from fileflux.core.clock import ManualClock
from fileflux.core.errors import AuditGap, EventInvalid, NodeUnreachable
from fileflux.core.ids import BucketId, BundleId, NodeId
from fileflux.core.node_messages import InventoryItem
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import EventSource
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.chain import ChainState, NumberedRecord, verify_chain
from fileflux.metadata.memory import MemoryDatabase, MemoryFaults
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.rebuild import Progress, Rebuild, StreamBroken, Until, parse_until
from fileflux.metadata.rebuild_target import RebuildRefused, RebuildTarget, refuse_unfinished
from fileflux.metadata.record_lines import NUMBERS, line_of
from fileflux.metadata.record_sources import (
    DatabaseRecords,
    FileRecords,
    TopicRecords,
)
from fileflux.metadata.refill import Refilled, refill
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.seals import SEAL_LIFE_US
from fileflux.metadata.sequencer import STREAM


async def history(seed: int = 1, *, count: int = 40) -> tuple[MemoryDatabase, list[NumberedRecord]]:
    database = MemoryDatabase()
    await storm(database, MemoryReader(database), seed=seed, count=count)
    return database, await records_of(MemoryReader(database))


async def topic_of(reader: MemoryReader) -> tuple[MemoryBroker, EventSource]:
    """Publish what a database has numbered; return the broker and a source of the topic."""
    clock = ManualClock()
    broker = MemoryBroker(clock=clock)
    await broker.ensure_topics()
    source = await broker.source([(AUDIT, 0)])
    publisher = AuditPublisher(
        reader=reader,
        broker=broker,
        publisher=await broker.safe_publisher(),
        source=source,
        clock=clock,
        stream=STREAM,
    )
    await publisher.publish(await reader.audit_head(STREAM))
    return broker, source


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), batch=st.integers(1, 40), run=st.integers(1, 40))
async def test_any_sequence_of_operations_rebuilds_to_the_same_state(
    seed: int, batch: int, run: int
) -> None:
    """I9. Rows, floors, usage and sequences, wherever the batches end."""
    original, records = await history(seed)
    made = MemoryDatabase()
    done = await rebuild(GivenRecords(records, run=run), made, records_per_batch=batch)

    assert audited(made) == audited(original)
    assert (done.records, done.position) == (len(records), len(records))
    assert await records_of(MemoryReader(made)) == records
    ours, theirs = [await MemoryReader(d).audit_head(STREAM) for d in (made, original)]
    assert replace(ours, turn=0) == replace(theirs, turn=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32))
async def test_a_rebuild_until_a_position_is_the_past_to_the_row(seed: int) -> None:
    _, records = await history(seed)
    position = random.Random(seed).randrange(1, len(records) + 1)
    replayed, until = MemoryDatabase(), MemoryDatabase()
    await rebuild(GivenRecords(records[:position]), replayed)
    await rebuild(GivenRecords(records), until, until=Until(position=position))

    assert audited(until) == audited(replayed)


async def test_a_rebuild_until_a_time_stops_before_the_first_later_change() -> None:
    _, records = await history()
    stamps = [data_of(record)["stamp"] for record in records]
    middle = stamps[len(stamps) // 2]
    made = MemoryDatabase()
    done = await rebuild(GivenRecords(records), made, until=Until(at_us=middle))

    assert stamps[done.position - 1] <= middle < stamps[done.position]


async def test_the_topic_the_database_and_a_file_rebuild_the_same(tmp_path: Path) -> None:
    original, records = await history()
    reader = MemoryReader(original)
    _, source = await topic_of(reader)
    sources = (
        TopicRecords(source),
        DatabaseRecords(reader),
        FileRecords(export(tmp_path / "audit.jsonl", records)),
    )
    for one in sources:
        made = MemoryDatabase()
        await rebuild(one, made)
        assert audited(made) == audited(original), one


async def test_a_stopped_rebuild_goes_on_where_it_was() -> None:
    original, records = await history()
    made = MemoryDatabase()
    with pytest.raises(ConnectionError):
        await rebuild(GivenRecords(records, breaks_after=3), made, records_per_batch=7)
    seen: list[Progress] = []
    done = await rebuild(GivenRecords(records), made, report=seen.append)

    assert audited(made) == audited(original)
    assert 0 < done.records < len(records)
    assert seen[-1] == Progress(len(records), len(records))


async def test_commits_that_fail_or_whose_answer_is_lost_apply_once() -> None:
    original, records = await history()
    made = MemoryDatabase(
        faults=MemoryFaults(
            rng=random.Random(3), serialization_failures=0.05, ambiguous_commits=0.4
        )
    )
    await rebuild(GivenRecords(records), made, records_per_batch=5)

    assert audited(made) == audited(original)


async def test_a_database_that_is_in_use_is_refused() -> None:
    used, records = await history()
    with pytest.raises(RebuildRefused, match="not empty"):
        await rebuild(GivenRecords(records), used)
    started = MemoryDatabase()
    await write(started, Maker(1).user())
    with pytest.raises(RebuildRefused, match="not empty"):
        await rebuild(GivenRecords(records), started)


async def test_a_database_that_is_rebuilt_already_is_refused() -> None:
    _, records = await history()
    made = MemoryDatabase()
    await rebuild(GivenRecords(records), made)
    with pytest.raises(RebuildRefused, match="rebuilt already"):
        await rebuild(GivenRecords(records), made)


def _damage(records: list[NumberedRecord], kind: str, at: int) -> list[NumberedRecord]:
    damaged = list(records)
    if kind == "missing":
        del damaged[at]
    elif kind == "changed":
        payload = damaged[at].payload.replace(b'"ada"', b'"eve"')
        damaged[at] = replace(damaged[at], payload=payload)
    elif kind == "swapped":
        damaged[at], damaged[at + 1] = damaged[at + 1], damaged[at]
    elif kind == "resequenced":
        damaged[at] = replace(damaged[at], sequence=damaged[at].sequence + 1)
    elif kind == "moved":
        # To a bucket of which it is the first record: no sequence contradicts.
        damaged[at] = replace(damaged[at], stream=BucketId(bytes(range(16))), sequence=1)
    return damaged


@pytest.mark.parametrize("kind", ["missing", "changed", "swapped", "resequenced", "moved"])
async def test_a_broken_chain_stops_the_rebuild_at_its_position(kind: str) -> None:
    _, records = await history()
    for at in range(1, len(records) - 2, 5):
        made = MemoryDatabase()
        damaged = GivenRecords(_damage(records, kind, at))
        with pytest.raises(StreamBroken, match=rf"position ({at + 1}|{at + 2})\D"):
            await rebuild(damaged, made, records_per_batch=4)
        head = await MemoryReader(made).audit_head(STREAM)
        assert head.turn == 0, "nobody starts on what is unfinished"


async def test_another_stream_cannot_continue_a_rebuild() -> None:
    _, ours = await history(1)
    _, theirs = await history(2)
    made = MemoryDatabase()
    with pytest.raises(ConnectionError):
        await rebuild(GivenRecords(ours, breaks_after=2), made, records_per_batch=7)
    with pytest.raises(StreamBroken):
        await rebuild(GivenRecords(theirs), made)


@pytest.mark.parametrize(
    ("until", "why"),
    [
        (Until(position=100_000), "ends at position"),
        (Until(at_us=1), "nothing to rebuild.*before --until"),
        (Until(at_us=9_999_999_999_999_999), "in the future"),
    ],
)
async def test_an_until_that_cannot_be_reached_is_refused(until: Until, why: str) -> None:
    _, records = await history()
    with pytest.raises(RebuildRefused, match=why):
        await rebuild(GivenRecords(records), MemoryDatabase(), until=until)


async def test_an_until_that_an_earlier_run_has_passed_is_refused() -> None:
    _, records = await history()
    made = MemoryDatabase()
    with pytest.raises(ConnectionError):
        await rebuild(GivenRecords(records, breaks_after=4), made, records_per_batch=7)
    early = data_of(records[2])["stamp"]
    for until in (Until(position=3), Until(at_us=early)):
        with pytest.raises(RebuildRefused, match="already"):
            await rebuild(GivenRecords(records), made, until=until)


@pytest.mark.parametrize("text", ["0", "yesterday", "2026-03-01T12:00:00", "-4", "", "12:00Z"])
def test_what_is_no_position_and_no_time_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"position|positions"):
        parse_until(text)


def test_an_until_is_a_position_or_a_time() -> None:
    assert parse_until("1200") == Until(position=1200)
    assert parse_until("2026-03-01T12:00:00Z") == Until(at_us=1_772_366_400_000_000)
    assert parse_until("2026-03-01T13:00:00.25+01:00") == Until(at_us=1_772_366_400_250_000)


async def test_an_empty_stream_is_nothing_to_rebuild() -> None:
    with pytest.raises(RebuildRefused, match="nothing to rebuild"):
        await rebuild(GivenRecords([]), MemoryDatabase())


async def test_a_run_published_again_and_not_to_its_end_hides_nothing() -> None:
    """The topic's last record is then not the highest; everything behind it was published too."""
    original, records = await history()
    broker, source = await topic_of(MemoryReader(original))
    publisher = await broker.safe_publisher()
    again = [(r.key, r.value, r.headers) for r in broker.records(AUDIT)[-9:-4]]
    await publisher.publish_all(AUDIT, again, partition=0)
    made = MemoryDatabase()
    done = await rebuild(TopicRecords(source), made)

    assert done.position == await TopicRecords(source).end() - 1 == len(records)
    assert audited(made) == audited(original)


async def test_a_rebuild_does_not_end_with_a_source_that_ends_before_it(tmp_path: Path) -> None:
    """Else the rest would be forgotten: everything that a longer one still has."""
    _, records = await history()
    made = MemoryDatabase()
    with pytest.raises(ConnectionError):
        await rebuild(GivenRecords(records, breaks_after=6), made, records_per_batch=7)
    short = FileRecords(export(tmp_path / "short.jsonl", records[:5]))
    with pytest.raises(RebuildRefused, match="it is another stream"):
        await rebuild(short, made)


async def test_the_end_of_a_file_is_known_before_it_is_read(tmp_path: Path) -> None:
    _, records = await history()
    path = export(tmp_path / "audit.jsonl", records)
    assert await FileRecords(path).end() == len(records) + 1
    path.write_bytes(path.read_bytes().rstrip())
    assert await FileRecords(path).end() == len(records) + 1
    path.write_bytes(b"")
    assert await FileRecords(path).end() is None


async def test_a_file_that_was_reformatted_rebuilds_the_same(tmp_path: Path) -> None:
    """Other programs put spaces and escapes into JSON, and the numbers behind the rest."""
    original, records = await history()
    lines = []
    for line in map(line_of, records):
        event = json.loads(line)
        numbers = {name: event.pop(name) for name in NUMBERS}
        lines.append(json.dumps({**event, **numbers}))
    path = tmp_path / "audit.jsonl"
    path.write_text("\n".join(lines) + "\n")
    made = MemoryDatabase()
    await rebuild(FileRecords(path), made)

    assert audited(made) == audited(original)


async def test_a_file_of_something_else_is_named_by_its_line(tmp_path: Path) -> None:
    _, records = await history()
    path = export(tmp_path / "audit.jsonl", records)
    path.write_bytes(path.read_bytes() + b'{"position": 1}\n')
    with pytest.raises(EventInvalid, match=f"line {len(records) + 1} "):
        await rebuild(FileRecords(path), MemoryDatabase())


async def test_a_name_that_is_removed_twice_in_a_batch_leaves_its_last_floor_once() -> None:
    """The first of both is stored, the second lives within the batch; no upsert takes both."""
    original, maker = MemoryDatabase(), Maker()
    first, second = maker.bucket(), maker.bucket()
    await write(original, maker.user())
    await write(original, maker.user("ben", maker.id()))
    for change in (first, maker.delete_bucket(first), second, maker.delete_bucket(second)):
        await write(original, change)
    await number(original, MemoryReader(original))
    records = await records_of(MemoryReader(original))
    assert [data_of(record)["operation"] for record in records[3:]] == [
        "DeleteBucket",
        "CreateBucket",
        "DeleteBucket",
    ]
    made = MemoryDatabase()
    await rebuild(GivenRecords(records), made, records_per_batch=3)
    assert audited(made) == audited(original)


async def test_what_comes_again_in_a_file_is_replayed_once(tmp_path: Path) -> None:
    """Exports that overlap, one behind the other: an old row must not come back."""
    original, records = await history()
    middle = len(records) // 2
    path = export(tmp_path / "audit.jsonl", [*records[:middle], *records[3:], *records[:9]])
    for batch in (5, 4_000):
        made = MemoryDatabase()
        await rebuild(FileRecords(path), made, records_per_batch=batch)
        assert audited(made) == audited(original)
        assert await records_of(MemoryReader(made)) == records


async def test_an_unproven_record_behind_a_later_one_is_not_replayed(tmp_path: Path) -> None:
    """Nothing names its hash: whoever adds a line could add any row."""
    original, records = await history()
    forged = replace(records[2], payload=records[-1].payload)
    path = export(tmp_path / "audit.jsonl", [*records[:20], forged, *records[20:]])
    made = MemoryDatabase()
    await rebuild(FileRecords(path), made, records_per_batch=20)

    assert audited(made) == audited(original)
    assert await records_of(MemoryReader(made)) == records


async def test_of_two_rebuilds_into_one_database_one_stops() -> None:
    original, records = await history()
    made = MemoryDatabase()
    both = [rebuild(GivenRecords(records), made, records_per_batch=size) for size in (3, 5)]
    ends = await asyncio.gather(*both, return_exceptions=True)

    assert sorted(type(end).__name__ for end in ends) == ["RebuildRefused", "Rebuilt"]
    assert audited(made) == audited(original)


async def test_the_replicas_and_bundles_that_records_name_come_along() -> None:
    original = MemoryDatabase()
    maker = Maker(5)
    bucket = maker.bucket()
    await write(original, maker.user(), bucket)
    await put_sealed(original, maker, bucket, b"a", b"b")
    await number(original, MemoryReader(original))
    made = MemoryDatabase()
    await rebuild(GivenRecords(await records_of(MemoryReader(original))), made)

    bundles = made.tables.rows("bundles")
    assert {key: replace(row, at_us=0) for key, row in bundles.items()} == {
        key: replace(row, at_us=0) for key, row in original.tables.rows("bundles").items()
    }
    assert {node for _, node in made.tables.rows("replicas")} == set(NODES)
    for row in made.tables.rows("replicas").values():
        assert (row.size, row.crc) == (bundles[(row.bundle_id,)].size, 7)


async def test_a_topic_without_its_beginning_is_a_gap() -> None:
    original, _ = await history()
    broker, source = await topic_of(MemoryReader(original))
    await broker.drop_records(AUDIT, 0, 3)
    with pytest.raises(AuditGap, match="position 1"):
        await rebuild(TopicRecords(source), MemoryDatabase())


async def test_a_rebuild_outlives_the_seals_of_the_last_change() -> None:
    """A seal that is read again before its deadline would bring back what was deleted since."""
    clock = ManualClock()
    original = MemoryDatabase(clock)
    await storm(original, MemoryReader(original), seed=1, count=5)
    records = await records_of(MemoryReader(original))
    made = MemoryDatabase(clock)
    target = RebuildTarget(made, MemoryReader(made))
    await Rebuild(GivenRecords(records), target, clock=clock).run()
    await target.outlive_seals(clock)

    assert clock.now_us() > data_of(records[-1])["stamp"] + SEAL_LIFE_US


async def test_services_refuse_a_database_whose_rebuild_has_not_ended() -> None:
    _, records = await history()
    made, clock = MemoryDatabase(), ManualClock(now_us=9_000_000_000_000_000)
    await refuse_unfinished(MemoryReader(made))
    target = RebuildTarget(made, MemoryReader(made))
    await Rebuild(GivenRecords(records), target, clock=clock).run()
    with pytest.raises(RebuildRefused, match="being rebuilt"):
        await refuse_unfinished(MemoryReader(made))
    await target.finish()
    await refuse_unfinished(MemoryReader(made))


class Inventory:
    """A node's answer, in pages; or none."""

    def __init__(self, items: dict[str, list[InventoryItem]]) -> None:
        self._items = items

    async def inventory(
        self, node_url: str, after: BundleId | None, limit: int
    ) -> list[InventoryItem]:
        if node_url not in self._items:
            raise NodeUnreachable("nobody answers")
        items = self._items[node_url]
        return [item for item in items if after is None or item.bundle_id > after][:limit]


async def test_replicas_are_refilled_from_the_nodes_and_a_silent_node_is_named() -> None:
    made = MemoryDatabase()
    target = RebuildTarget(made, MemoryReader(made))
    items = [InventoryItem(BundleId(bytes([n]) * 16), n, 2 * n) for n in range(1, 9)]
    asked = Inventory({"http://a": items, "http://b": items[:3]})
    nodes = {NodeId(name): f"http://{name}" for name in "abc"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fileflux.metadata.refill.ITEMS_PER_PAGE", 3)
        said = await refill(asked, nodes, target)

    assert said == [
        Refilled(NodeId("a"), 8),
        Refilled(NodeId("b"), 3),
        Refilled(NodeId("c"), 0, "nobody answers"),
    ]
    assert len(made.tables.rows("replicas")) == 11
    row = made.tables.get("replicas", (items[4].bundle_id, NodeId("a")))
    assert (row.size, row.crc) == (5, 10)


@pytest.mark.parametrize("numbers", [True, False])
async def test_a_clock_that_was_set_back_by_a_day_changes_no_number_and_rebuilds_the_same(
    numbers: bool,
) -> None:
    """Also where what was written before waits for its number beside what was written after."""
    clock, rng, maker = ManualClock(), random.Random(3), Maker(4)
    database, drawn = MemoryDatabase(clock), Storm(rng)
    reader = MemoryReader(database)
    await write(database, maker.user())
    await write(database, maker.user("ben", maker.id()), maker.user("eve", maker.id()))
    counts = []
    for _ in range(2):
        for size in batches(rng, 60):
            await write(database, *(drawn.change()[0] for _ in range(size)))
        waiting = len(await reader.pending_audit(limit=1_000))
        counts.append(waiting)
        if numbers:
            await number(database, reader)
        before = await records_of(reader)
        clock._now_us -= 24 * 3_600 * 1_000_000
    await number(database, reader)
    records = await records_of(reader)
    made = MemoryDatabase()
    await rebuild(GivenRecords(records), made)

    assert records[: len(before)] == before
    assert 0 < counts[0] < sum(counts), "something was written before and after"
    assert verify_chain(records, after=ChainState(), head=await reader.audit_head(STREAM))[0] == []
    assert audited(made) == audited(database)
