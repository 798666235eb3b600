"""The tail that all followers share: it starts, ends and starts again, whatever comes together."""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from fileflux.core.clock import SystemClock
from fileflux.core.errors import MetadataBusy, Unavailable
from fileflux.core.ids import BucketId
from fileflux.ingest import event_tail
from fileflux.ingest.event_places import SharedPlace
from fileflux.ingest.event_tail import EventTail
from fileflux.metadata.audit_reader import AuditReader
from fileflux.metadata.chain import NumberedRecord

WAIT_S = 5.0


class GrowingPlace:
    """Records of 100 bytes. `problem`: raised instead of the next answer."""

    name = "list"

    def __init__(self) -> None:
        self.records: list[NumberedRecord] = []
        self.problem: Exception | None = None
        self.reads = 0

    def grow(self, count: int = 1) -> None:
        for _ in range(count):
            last_hash = self.records[-1].chain_hash if self.records else bytes(32)
            number = len(self.records) + 1
            payload = hashlib.sha256(b"%d" % number).digest() + bytes(68)
            self.records.append(
                NumberedRecord(number, BucketId(bytes(16)), number, last_hash, payload)
            )

    async def read(self, position: int, *, bytes_max: int) -> Sequence[NumberedRecord]:
        self.reads += 1
        problem, self.problem = self.problem, None
        if problem is not None:
            raise problem
        return self.records[position - 1 :]

    async def end(self) -> int:
        return len(self.records) + 1


@pytest.fixture
def place() -> GrowingPlace:
    made = GrowingPlace()
    made.grow(5)
    return made


def tail_of(place: GrowingPlace, *, bytes_max: int = 1_000) -> EventTail:
    async def rest() -> None:
        pass

    return EventTail(AuditReader([place]), SystemClock(), rest=rest, bytes_max=bytes_max)


async def has(tail: EventTail, position: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await tail.read(position, bytes_max=1):
            await tail.wait(position, timeout_s=0.1)
            await asyncio.sleep(0)


async def test_it_reads_while_somebody_follows_and_then_no_more(place: GrowingPlace) -> None:
    tail = tail_of(place)
    with pytest.raises(Unavailable):
        await tail.end()
    async with tail.followed(), tail.followed():
        async with asyncio.timeout(WAIT_S):
            while not tail.ends_before(6):
                await tail.wait(6, timeout_s=0.1)
        place.grow()
        await has(tail, 6)
        assert await tail.end() == 7
    reads = place.reads
    for _ in range(20):
        await asyncio.sleep(0)

    assert place.reads == reads
    assert await tail.read(6, bytes_max=1) == []


async def test_it_holds_no_more_than_its_bytes(place: GrowingPlace) -> None:
    tail = tail_of(place)
    async with tail.followed():
        async with asyncio.timeout(WAIT_S):
            while not tail.ends_before(6):
                await tail.wait(6, timeout_s=0.1)
        place.grow(50)
        await has(tail, 55)

        assert await tail.read(45, bytes_max=1 << 20) == []
        kept = await tail.read(46, bytes_max=1 << 20)
        assert [one.position for one in kept] == list(range(46, 56))
        assert len(await tail.read(46, bytes_max=250)) == 3


async def test_who_comes_while_the_last_one_is_being_put_away_is_served(
    place: GrowingPlace,
) -> None:
    """What the former tail closes late must not be what the next one opened."""
    may_rest = asyncio.Event()
    rested = 0

    async def rest() -> None:
        nonlocal rested
        await may_rest.wait()
        rested += 1

    tail = EventTail(AuditReader([place]), SystemClock(), rest=rest)
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(WAIT_S):
            first = asyncio.create_task(_follow_for_a_moment(tail))
            while not place.reads:
                await asyncio.sleep(0)
            reads = place.reads
            first.cancel()
            await asyncio.sleep(0)
            await stack.enter_async_context(tail.followed())
            for _ in range(20):
                await asyncio.sleep(0)
            assert (rested, place.reads) == (0, reads), "nothing is opened before"
            may_rest.set()
            await asyncio.gather(first, return_exceptions=True)
            while place.reads <= reads + 1:
                await asyncio.sleep(0.01)
        place.grow()
        await has(tail, 6)


async def _follow_for_a_moment(tail: EventTail) -> None:
    async with tail.followed():
        await asyncio.Event().wait()


@pytest.mark.parametrize("problem", [MetadataBusy("away"), RuntimeError("a bug of ours")])
async def test_no_failure_ends_it(
    problem: Exception, place: GrowingPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_tail, "AGAIN_S", 0.01)
    tail = tail_of(place)
    async with tail.followed():
        async with asyncio.timeout(WAIT_S):
            while not tail.ends_before(6):
                await tail.wait(6, timeout_s=0.1)
        place.problem = problem
        place.grow()
        await has(tail, 6)


async def test_what_is_left_of_a_page_is_not_read_twice_and_not_kept_for_ever(
    place: GrowingPlace,
) -> None:
    place.grow(45)
    shared = SharedPlace(place)
    seen: list[int] = []
    while len(seen) < 50:
        run = await shared.read(len(seen) + 1, bytes_max=500)
        assert len(run) == 5
        seen += [one.position for one in run]

    assert seen == list(range(1, 51))
    assert place.reads == 1
    for start in range(1, 31):
        await shared.read(start, bytes_max=500)
    assert len(shared._kept) <= 8
