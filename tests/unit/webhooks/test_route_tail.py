"""The end of the audit stream in memory, and the past for who is behind it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from tests.model.webhook_rows import audit_record

from fileflux.core.clock import SystemClock
from fileflux.core.errors import AuditGap
from fileflux.metadata.chain import NumberedRecord
from fileflux.webhooks.history import RECORDS_MAX
from fileflux.webhooks.routes import tail as tail_module
from fileflux.webhooks.routes.tail import Tail


class Stream:
    """The part of `History` that a tail asks. `past_reads`: positions that were asked for."""

    def __init__(self, count: int) -> None:
        self.records = [audit_record(n) for n in range(1, count + 1)]
        self.past_reads: list[int] = []

    async def next(self, position: int, *, wait_s: float) -> Sequence[NumberedRecord]:
        await asyncio.sleep(0)
        return self.records[position - 1 : position - 1 + RECORDS_MAX]

    async def past(self, position: int) -> Sequence[NumberedRecord]:
        self.past_reads.append(position)
        return self.records[position - 1 :]

    async def end(self) -> int:
        return len(self.records) + 1


@asynccontextmanager
async def reading(stream: Stream) -> AsyncIterator[Tail]:
    tail = Tail(cast("Any", stream), SystemClock(), lambda: True)
    await tail.start()
    task = asyncio.create_task(tail.run())
    yield tail
    task.cancel()
    await asyncio.wait({task})


async def everything(tail: Tail, start: int, end: int) -> list[int]:
    """Read as a route does, and return the positions."""
    found: list[int] = []
    position = start
    async with asyncio.timeout(20):
        while position < end:
            run = await tail.read(position, wait_s=0.1)
            found += [record.position for record in run]
            position = found[-1] + 1 if found else start
    return found


async def test_what_is_new_is_given_to_all_from_memory_and_the_past_is_read_once() -> None:
    stream = Stream(1_700)
    async with reading(stream) as tail:
        behind = await everything(tail, 1, 1_701)
        assert behind == [*range(1, 1_701)]
        assert stream.past_reads == [1], "what was read for one step is there for the next"
        stream.records += [audit_record(n) for n in range(1_701, 1_801)]
        assert await everything(tail, 1_701, 1_801) == [*range(1_701, 1_801)]
        assert await everything(tail, 1_750, 1_801) == [*range(1_750, 1_801)]
        assert stream.past_reads == [1]


async def test_who_falls_behind_what_is_kept_misses_nothing(monkeypatch: Any) -> None:
    """Memory is bounded by records and by bytes."""
    size = len(audit_record(1).payload)
    monkeypatch.setattr(tail_module, "KEPT_BYTES", 600 * size)
    stream = Stream(0)
    async with reading(stream) as tail:
        stream.records += [audit_record(n) for n in range(1, 3_001)]
        async with asyncio.timeout(20):
            while tail.next_position < 3_001:
                await asyncio.sleep(0)
        kept = tail._kept
        assert len(kept) * size <= 600 * size + size
        assert await everything(tail, 1, 3_001) == [*range(1, 3_001)]


async def test_nothing_new_is_waited_for_and_no_position_comes_twice() -> None:
    stream = Stream(3)
    async with reading(stream) as tail:
        assert await tail.read(4, wait_s=0.01) == ()
        waiting = asyncio.create_task(tail.read(4, wait_s=20.0))
        await asyncio.sleep(0)
        stream.records.append(audit_record(4))
        async with asyncio.timeout(20):
            assert [record.position for record in await waiting] == [4]


async def test_a_hole_in_the_past_is_waited_for_and_never_skipped() -> None:
    """Damage of a block in the middle: the topic may have it whole."""
    stream = Stream(20)
    whole = list(stream.records)
    async with reading(stream) as tail:
        del stream.records[9]
        assert [record.position for record in await tail.read(1, wait_s=0.1)] == [*range(1, 10)]
        with pytest.raises(AuditGap):
            await tail.read(10, wait_s=0.1)
        stream.records = whole
        assert (await tail.read(10, wait_s=0.1))[0].position == 10


async def test_who_waits_is_not_woken_by_a_poll_that_found_nothing() -> None:
    """Two hundred routes, ten polls a second: an idle process would never rest."""
    async with reading(Stream(3)) as tail:
        waiting = asyncio.create_task(tail.read(4, wait_s=20.0))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_a_past_that_is_nowhere_is_a_problem_and_no_silence() -> None:
    """Neither the database nor the topic has it: `show` must say so."""
    stream = Stream(20)
    async with reading(stream) as tail:
        stream.records.clear()
        with pytest.raises(AuditGap, match="position 7"):
            await tail.read(7, wait_s=0.1)
