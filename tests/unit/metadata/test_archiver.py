"""Ranges go to the archive once they are published, and leave the database after that alone."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.model.archive_world import (
    AFTER_S,
    KEEP_S,
    ArchiveWorld,
    all_steps,
    open_archive_world,
)
from tests.model.audit_world import turns
from tests.model.metadata_changes import ACTOR

from fileflux.core.changes import CreateHold
from fileflux.core.clock import ManualClock
from fileflux.core.failpoints import FailpointError
from fileflux.events.topics import AUDIT
from fileflux.metadata.archive import (
    SEGMENTS,
    ArchiveInvalid,
    ArchiveUnavailable,
    Probe,
    Span,
)
from fileflux.metadata.archive_format import decode_segment, encode_segment, segment_of
from fileflux.metadata.archive_memory import MemoryArchive
from fileflux.metadata.archive_s3 import CALL_DEADLINE_S
from fileflux.metadata.archiver import POLL_S, Archiver
from fileflux.metadata.audit_log import read_database, verify
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.workers import STILL_S_MAX


@pytest.fixture
async def world() -> ArchiveWorld:
    return await open_archive_world()


async def kept(world: ArchiveWorld) -> list[int]:
    """Return the first positions of the blocks that the database has."""
    blocks = await MemoryReader(world.audit.database).audit_blocks(STREAM, 1, limit=1_000)
    return [block.first_position for block in blocks]


async def newest(world: ArchiveWorld) -> list[int]:
    """Return what is left when all that may leave has left: where the last block begins."""
    last = (await world.reader.audit_head(STREAM)).next_position - 1
    return [(await world.reader.audit_blocks(STREAM, last, limit=1))[0].first_position]


async def is_whole(world: ArchiveWorld) -> bool:
    """Tell whether the archive and the database together have every record, in order."""
    head = await world.reader.audit_head(STREAM)
    found = await verify(read_database(world.reader), head=head)
    return found.faults == () and found.record_count == head.next_position - 1


async def test_a_published_range_is_archived_when_it_has_waited(world: ArchiveWorld) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    await all_steps(archiver)
    assert world.segments() == [], "it waits for enough to fill a segment"

    world.wait(AFTER_S)
    await all_steps(archiver)
    (name,) = world.segments()
    assert name == Span(7, 1).name(STREAM, SEGMENTS)
    assert list(decode_segment(world.archive.objects[name]).records) == world.published()


async def test_enough_records_do_not_wait(
    world: ArchiveWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fileflux.metadata.archiver.SEGMENT_BYTES", 2_000)
    sequencer, archiver = await world.sequencer(), await world.archiver()
    for _ in range(6):
        await world.write(2, sequencer)
    await all_steps(archiver)

    assert len(world.segments()) >= 2


async def test_what_is_not_published_is_not_archived(world: ArchiveWorld) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    world.wait(AFTER_S)
    world.audit.broker.wipe(AUDIT)
    await all_steps(archiver)

    assert world.segments() == []


async def test_what_a_hold_names_stays_in_the_database_until_it_has_run_out(
    world: ArchiveWorld,
) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    until_us = await world.reader.clock_us() + int(3 * KEEP_S * 1_000_000)
    maker = world.audit.world.maker
    hold = CreateHold(
        upload_id=maker.id(), actor=ACTOR, at_us=0, hold_id=maker.id(), kind="operator",
        reason="an audit", from_position=3, from_us=0, until_us=until_us,
    )  # fmt: skip
    assert (await world.audit.writer.submit(hold)).ok
    await world.write(5, sequencer)
    world.wait(2 * KEEP_S)
    await all_steps(archiver)
    assert (await kept(world))[0] == 1, "archived and old, and a hold names position 3"

    world.wait(2 * KEEP_S)
    await all_steps(archiver)
    assert await kept(world) == await newest(world)


async def test_only_what_is_archived_and_old_leaves_the_database(world: ArchiveWorld) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    world.wait(AFTER_S)
    await all_steps(archiver)
    await world.write(5, sequencer)
    assert (await kept(world))[0] == 1, "archived, and young"

    world.wait(KEEP_S - AFTER_S)
    world.archive.is_down = True
    await archiver.turn()
    assert (await kept(world))[0] == 1, "old, and the archive does not give it back"

    world.archive.is_down = False
    await all_steps(archiver)
    assert (await kept(world))[0] == 8
    assert await is_whole(world)


async def test_nothing_leaves_the_database_unless_it_is_set(world: ArchiveWorld) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver(keep_s=0)
    await world.write(5, sequencer)
    world.wait(100 * KEEP_S)
    await all_steps(archiver)

    assert len(world.segments()) == 1
    assert (await kept(world))[0] == 1


async def test_what_the_topic_lost_does_not_leave_the_database(world: ArchiveWorld) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    world.wait(AFTER_S)
    await all_steps(archiver)
    world.wait(KEEP_S)
    world.audit.broker.wipe(AUDIT)
    await all_steps(archiver)
    assert (await kept(world))[0] == 1

    await turns(sequencer)
    await all_steps(archiver)
    assert await kept(world) == await newest(world)


async def test_a_segment_that_was_changed_keeps_its_range_in_the_database(
    world: ArchiveWorld,
) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    world.wait(AFTER_S)
    await all_steps(archiver)
    (name,) = world.segments()
    world.archive.objects[name] = world.archive.objects[name][:-9]
    world.wait(KEEP_S)
    await world.write(1, sequencer)

    with pytest.raises(ArchiveInvalid, match="was changed in the archive"):
        await archiver.step()
    assert (await kept(world))[0] == 1


@pytest.mark.parametrize("age_s", [0.0, KEEP_S], ids=["before writing", "before letting go"])
async def test_an_archive_that_lost_what_it_was_given_gets_nothing_more_until_it_is_told(
    world: ArchiveWorld, age_s: float
) -> None:
    """It may be a disk that is not mounted: what is written beside it would be hidden later."""
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    world.wait(AFTER_S)
    await all_steps(archiver)
    world.archive.objects.clear()
    world.wait(age_s)
    await world.write(1, sequencer)
    world.wait(AFTER_S - age_s if age_s < AFTER_S else 0)
    with pytest.raises(ArchiveInvalid, match="archive run --once --again"):
        await all_steps(archiver)
    assert (world.archive.objects, (await kept(world))[0]) == ({}, 1)

    await archiver.begin_again()
    world.wait(AFTER_S + KEEP_S)
    await all_steps(archiver)
    checkpoints = [name for name in world.archive.objects if "/checkpoints/" in name]
    assert min(checkpoints).endswith("from-00000000000000000001.jsonl")
    assert len(world.segments()) == 1
    assert await kept(world) == await newest(world)
    assert await is_whole(world)


class SlowArchive(MemoryArchive):
    """Every call takes almost its deadline. `still_s`: how long the loop seemed to stand still."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.archiver: Archiver | None = None
        self.still_s: list[float] = []

    async def _check(self) -> None:
        self.clock.advance(CALL_DEADLINE_S - 1)
        assert self.archiver is not None, "it is at work"
        self.still_s.append(self.clock.monotonic_s() - self.archiver.turned_s)
        await super()._check()


@pytest.mark.parametrize("is_down", [False, True])
async def test_a_slow_archive_does_not_restart_the_sequencer_beside_it(
    world: ArchiveWorld, *, is_down: bool
) -> None:
    sequencer = await world.sequencer()
    world.archive = slow = SlowArchive(world.audit.clock)
    slow.archiver = archiver = await world.archiver()
    for _ in range(3):
        await world.write(5, sequencer)
        world.wait(AFTER_S + KEEP_S)
        for _ in range(4):
            world.wait(await archiver.turn())
    slow.is_down = is_down
    await world.write(5, sequencer)
    world.wait(AFTER_S + KEEP_S)
    for _ in range(4):
        world.wait(await archiver.turn())

    assert slow.objects
    assert max(slow.still_s) < STILL_S_MAX


async def test_an_archive_lost_for_ever_gets_what_the_database_still_has(
    world: ArchiveWorld,
) -> None:
    """Its beginning had left the database: whoever says so goes on without."""
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    world.wait(AFTER_S + KEEP_S)
    await all_steps(archiver)
    await world.write(5, sequencer)
    await all_steps(archiver)
    (first,) = await kept(world)
    assert first > 1
    world.archive.objects.clear()

    await archiver.begin_again()
    world.wait(AFTER_S)
    await all_steps(archiver)
    last = (await world.reader.audit_head(STREAM)).next_position - 1
    assert world.segments() == [Span(last, first).name(STREAM, SEGMENTS)]
    world.archive.objects.clear()
    await world.write(1, sequencer)
    world.wait(AFTER_S)
    with pytest.raises(ArchiveInvalid, match="archive run --once --again"):
        await all_steps(archiver)


async def test_a_wiped_topic_is_filled_from_the_archive_and_the_database(
    world: ArchiveWorld,
) -> None:
    """I9: without a gap or a changed byte, though half of it left the database."""
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    world.wait(AFTER_S + KEEP_S)
    await all_steps(archiver)
    await world.write(5, sequencer)
    await all_steps(archiver)
    before = world.published()
    assert (await kept(world))[0] == 8
    world.audit.broker.wipe(AUDIT)
    world.wait(6)
    await turns(sequencer)

    assert world.published() == before
    assert await world.audit.faults() == []


async def test_without_the_archive_a_wiped_topic_gets_no_gap_but_a_problem_is_told(
    world: ArchiveWorld,
) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    world.wait(AFTER_S + KEEP_S)
    await all_steps(archiver)
    await world.write(5, sequencer)
    await all_steps(archiver)
    world.audit.broker.wipe(AUDIT)
    blind = await world.audit.sequencer()

    await turns(blind)
    assert blind.problem is not None
    assert "FILEFLUX_ARCHIVE_URL" in blind.problem
    assert world.published() == []


async def test_a_broker_or_a_database_that_was_away_is_asked_again_soon(
    world: ArchiveWorld,
) -> None:
    """Else the sequencer beside it is not ready for half a minute after a short outage."""
    archiver = await world.archiver()
    world.audit.broker.stop()
    rests = [await archiver.turn()]
    world.audit.broker.start()
    world.audit.database.faults.is_down = True
    rests.append(await archiver.turn())
    world.audit.database.faults.is_down = False
    await archiver.turn()

    assert rests == [POLL_S, POLL_S]
    assert archiver.problem is None


async def test_a_block_that_was_put_back_is_archived_without_a_restart(
    world: ArchiveWorld,
) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    for _ in range(3):
        await world.write(2, sequencer)
    world.wait(AFTER_S)
    tables = world.audit.database.tables
    key, block = list(tables.rows("audit_blocks").items())[-2]
    tables.commit({("audit_blocks", key): None})
    await archiver.turn()
    problem = archiver.problem
    tables.commit({("audit_blocks", key): block})
    await archiver.turn()

    assert problem is not None
    assert archiver.problem is None
    assert await is_whole(world)
    assert len(world.segments()) == 1


POINTS = (
    "archiver.before_put",
    "archiver.after_put",
    "archiver.after_move",
    "archiver.before_put_checkpoints",
    "archiver.after_put_checkpoints",
    "archiver.before_drop",
)


def killed_at(point: str, nth: int) -> Callable[[str], None]:
    """Return a failpoint that ends whoever comes to it for the n-th time."""
    left = [nth]

    def hit(name: str) -> None:
        left[0] -= name == point
        if name == point and left[0] == 0:
            raise FailpointError(name)

    return hit


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_any_step_nothing_is_lost_or_archived_twice(
    world: ArchiveWorld, monkeypatch: pytest.MonkeyPatch, point: str, nth: int
) -> None:
    sequencer = await world.sequencer()
    with monkeypatch.context() as patched:
        for module in ("archiver", "retention"):
            patched.setattr(f"fileflux.metadata.{module}.failpoint", killed_at(point, nth))
        deaths = 0
        for _ in range(3):
            archiver = await world.archiver()  # It knows nothing of the one before.
            await world.write(5, sequencer)
            world.wait(KEEP_S + AFTER_S)
            await turns(sequencer)
            try:
                await all_steps(archiver)
            except FailpointError:
                deaths += 1
            assert await is_whole(world)
    await all_steps(await world.archiver())

    assert deaths == 1
    assert await is_whole(world)
    assert await kept(world) == await newest(world)
    spans = [decode_segment(world.archive.objects[name]).span for name in world.segments()]
    assert [span.first for span in spans] == [1, *(span.last + 1 for span in spans[:-1])]


async def test_two_archivers_at_once_write_one_history(world: ArchiveWorld) -> None:
    sequencer = await world.sequencer()
    one, other = await world.archiver(), await world.archiver()
    for _ in range(4):
        await world.write(3, sequencer)
        world.wait(AFTER_S + KEEP_S)
        await turns(sequencer)
        for archiver in (one, other, one, other):
            await archiver.turn()

    await all_steps(one)
    assert await is_whole(world)
    assert await kept(world) == await newest(world)


async def test_segments_that_overlap_are_read_as_one_history(world: ArchiveWorld) -> None:
    """Two that wrote at once with different ends, and one of them lost the head."""
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(8, sequencer)
    records = world.published()
    for end in (4, 7):
        segment = segment_of(STREAM, records[:end])
        await world.archive.put(segment.span.name(STREAM, SEGMENTS), encode_segment(segment))
    world.wait(AFTER_S + KEEP_S)
    await all_steps(archiver)

    assert await is_whole(world)


async def test_an_archive_of_another_fileflux_is_refused(world: ArchiveWorld) -> None:
    other = await open_archive_world()
    sequencer = await other.sequencer()
    await other.write(5, sequencer)
    other.wait(AFTER_S)
    await all_steps(await other.archiver())
    world.archive = other.archive
    await world.write(9, await world.sequencer())
    world.wait(AFTER_S)

    with pytest.raises(ArchiveInvalid, match="another FileFlux"):
        await (await world.archiver()).step()


async def test_the_newest_block_stays_so_that_an_archive_that_is_away_stops_no_publishing(
    world: ArchiveWorld,
) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    await world.write(5, sequencer)
    world.wait(AFTER_S + KEEP_S)
    await all_steps(archiver)
    world.archive.is_down = True
    for _ in range(3):
        world.wait(6)
        await world.write(2, sequencer)

    assert sequencer.problem is None
    assert world.published()[-1].position == 13


async def test_an_archive_that_is_away_stops_nobody(world: ArchiveWorld) -> None:
    sequencer, archiver = await world.sequencer(), await world.archiver()
    world.archive.is_down = True
    await world.write(5, sequencer)
    world.wait(AFTER_S)
    await archiver.turn()
    assert archiver.problem == "the archive does not answer"
    assert await world.audit.faults() == []

    world.archive.is_down = False
    await archiver.turn()
    assert archiver.problem is None
    assert len(world.segments()) == 1


class OurOwnProbe:
    bucket = "archive"
    key = "probes/x"

    async def remove(self) -> None:
        """Who may not delete in the archive is no worse an archiver."""
        raise ArchiveUnavailable("AccessDenied")


async def test_an_archive_inside_of_fileflux_is_refused(
    world: ArchiveWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its address is called: our database knows the object that was left there."""
    seal = await world.audit.world.upload(b"probes/x")
    bucket = world.audit.world.bucket.bucket
    materializer = await world.audit.world.materializer(fetch_wait_s=0.0)
    await world.audit.world.emit(seal)
    await world.audit.world.confirm(seal, seal.bundles[0].nodes[0])
    for _ in range(5):
        await materializer.turn()
    probe: Any = OurOwnProbe()
    probe.bucket = bucket

    async def leave_probe() -> Probe:
        return probe  # type: ignore[no-any-return]

    monkeypatch.setattr(world.archive, "leave_probe", leave_probe)
    archiver: Archiver = await world.archiver()
    with pytest.raises(ArchiveInvalid, match="FileFlux itself"):
        await archiver.step()

    probe.key = "probes/other"
    await archiver.step()
