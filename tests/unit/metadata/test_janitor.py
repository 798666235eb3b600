"""What is forgotten, and what is not yet."""

import asyncio
import random

from tests.model.metadata_changes import Maker

from fileflux.core.clock import ManualClock
from fileflux.core.errors import MetadataBusy
from fileflux.core.ids import SealId
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.janitor import KEEP_US, SLICES, STEP_S, Janitor, slice_bounds
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.settle import abort_seal, find_settlement

DAY_S = 24 * 3600


async def _round(janitor: Janitor) -> None:
    for _ in range(SLICES):
        await janitor.step()


async def test_a_settlement_is_kept_seven_days() -> None:
    clock = ManualClock()
    database = MemoryDatabase(clock)
    janitor = Janitor(database, MemoryReader(database), clock=clock, rng=random.Random(1))
    maker = Maker(1)
    old, young = ([SealId(maker.id()) for _ in range(20)] for _ in range(2))
    for seal_id in old:
        await abort_seal(database, seal_id, [])
    clock.advance(6 * DAY_S)
    for seal_id in young:
        await abort_seal(database, seal_id, [])
    await _round(janitor)
    kept = [await find_settlement(database, seal_id) for seal_id in old]
    clock.advance(2 * DAY_S)
    await _round(janitor)

    assert None not in kept
    assert {await find_settlement(database, seal_id) for seal_id in old} == {None}
    assert None not in [await find_settlement(database, seal_id) for seal_id in young]


async def test_a_floor_is_kept_until_its_record_is_numbered() -> None:
    """A sequencer that was down for a week must not cost a successor's stamp."""
    clock = ManualClock()
    database = MemoryDatabase(clock)
    janitor = Janitor(database, MemoryReader(database), clock=clock, rng=random.Random(1))
    writer, maker = DirectWriter(database, rng=random.Random(2)), Maker(1)
    bucket = maker.bucket()
    for change in (maker.user(), bucket, maker.delete_bucket(bucket)):
        assert (await writer.submit(change)).ok
    clock.advance(9 * DAY_S)
    await _round(janitor)
    kept = len(database.tables.rows("floors"))
    view = database.tables.open()
    for key in list(database.tables.rows("audit_pending")):
        view.remove("audit_pending", key)
    view.commit()
    view.close()
    await _round(janitor)

    assert kept == 1
    assert len(database.tables.rows("floors")) == 0


async def test_after_a_passing_fault_it_is_well_again_within_seconds() -> None:
    """It shares a readiness with the sequencer, which must not look ill for twenty seconds."""
    clock = ManualClock()
    database = MemoryDatabase(clock)
    reader = _AwayOnce(database)
    janitor = Janitor(database, reader, clock=clock, rng=random.Random(1))
    stopping = asyncio.Event()
    running = asyncio.create_task(janitor.run(stopping))

    async with asyncio.timeout(STEP_S / 2):
        while not reader.was_away or janitor.problem:
            await asyncio.sleep(0.01)

    stopping.set()
    await running


class _AwayOnce(MemoryReader):
    was_away = False

    async def clock_us(self) -> int:
        if not self.was_away:
            self.was_away = True
            raise MetadataBusy("away")
        return await super().clock_us()


def test_slices_are_everything_once() -> None:
    bounds = [slice_bounds(number) for number in range(SLICES)]

    assert bounds[0][0] == b""
    assert bounds[-1][1] > b"\xff" * 1_040
    assert [first for first, _ in bounds[1:]] == [end for _, end in bounds[:-1]]
    assert all(first < end for first, end in bounds)
    assert KEEP_US == 7 * DAY_S * 1_000_000
