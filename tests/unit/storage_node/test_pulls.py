"""Whatever a source sends, only the bundle that was sealed gets in."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.model.recorded_spans import SAMPLED, recording

from fileflux.core.bundle_records import BUNDLE_SIZE_MAX
from fileflux.core.clock import SystemClock
from fileflux.core.errors import NodeUnreachable, NoSuchBundle
from fileflux.core.ids import NodeId
from fileflux.core.model import MIB, SizeClass
from fileflux.core.node_client import PullSink
from fileflux.core.tracing import parse_traceparent, tracer
from fileflux.storage_node.pulls import (
    LARGE_PULLS_MAX,
    SMALL_PULLS_MAX,
    ByteBudget,
    PullFailed,
    Pulls,
)
from fileflux.storage_node.samples import sample_assignment, sample_bundle

NODE = NodeId("node")
CLOCK = SystemClock()
BUNDLE = sample_bundle(1)
STAGING = "http://staging/bundle"
PEER = "http://peer"
PEER_BUNDLE = f"{PEER}/v1/bundles/{BUNDLE.bundle_id.hex()}"


class Sources:
    """URL → bytes, or the error that asking raises; in pieces of 1 KiB."""

    def __init__(self, answers: Mapping[str, bytes | Exception]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []
        self.running = self.most_running = 0
        self.gate: asyncio.Event | None = None

    async def pull(self, url: str, sink: PullSink) -> None:
        self.asked.append(url)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
            await self._send(self.answers[url], sink)
        finally:
            self.running -= 1

    async def _send(self, answer: bytes | Exception, sink: PullSink) -> None:
        if isinstance(answer, Exception):
            raise answer
        memory = sink.begin(len(answer))
        for at in range(0, len(answer), 1_024):
            piece = answer[at : at + 1_024]
            memory[at : at + len(piece)] = piece
            sink.arrived(len(piece))
            await asyncio.sleep(0)


async def pulled(sources: Sources, *, peers: tuple[str, ...] = (PEER,)) -> bytes:
    assignment = sample_assignment(BUNDLE, NODE, CLOCK, source_url=STAGING, peers=peers)
    async with Pulls(sources).pulled(assignment) as bundle:
        return bytes(bundle.data)


async def test_a_bundle_comes_from_the_staging() -> None:
    sources = Sources({STAGING: bytes(BUNDLE.data)})

    assert await pulled(sources) == BUNDLE.data
    assert sources.asked == [STAGING]


@pytest.mark.parametrize(
    "trouble",
    [
        NoSuchBundle("gone"),
        NodeUnreachable("away"),
        b"",
        b"x" * 200,
        bytes(BUNDLE.data[:-1]),
        bytes(BUNDLE.data) + b"!",
        bytes(sample_bundle(2).data),
    ],
    ids=["gone", "away", "empty", "noise", "cut", "longer", "another"],
)
async def test_a_peer_helps_out_when_the_staging_cannot(trouble: bytes | Exception) -> None:
    sources = Sources({STAGING: trouble, PEER_BUNDLE: bytes(BUNDLE.data)})

    assert await pulled(sources) == BUNDLE.data


@pytest.mark.parametrize("url", ["http://[half", "http://staging:99999/x", ""])
async def test_an_address_that_is_none_fails_no_pull_for_being_traced(url: str) -> None:
    sources = Sources({url: NodeUnreachable("not a URL"), PEER_BUNDLE: bytes(BUNDLE.data)})
    assignment = sample_assignment(BUNDLE, NODE, CLOCK, source_url=url, peers=(PEER,))
    with recording() as spans, tracer().span("x", parse_traceparent(SAMPLED)):
        async with Pulls(sources).pulled(assignment) as bundle:
            assert bundle.data == BUNDLE.data

        assert {span.name for span in spans.all()} == {"pull bundle"}


async def test_no_flipped_bit_gets_in() -> None:
    rng = random.Random(3)
    for _ in range(60):
        damaged = bytearray(BUNDLE.data)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        with pytest.raises(PullFailed) as caught:
            await pulled(Sources({STAGING: bytes(damaged), PEER_BUNDLE: bytes(damaged)}))
        assert caught.value.reason == "corrupt"


async def test_bytes_that_nobody_has_are_gone() -> None:
    sources = Sources({STAGING: NoSuchBundle(""), PEER_BUNDLE: NoSuchBundle("")})
    with pytest.raises(PullFailed) as caught:
        await pulled(sources)

    assert caught.value.reason == "gone"
    assert sources.asked == [STAGING, PEER_BUNDLE], "asked once: nobody was out of reach"


async def test_a_source_that_was_out_of_reach_is_asked_once_more() -> None:
    class Flaky(Sources):
        async def pull(self, url: str, sink: PullSink) -> None:
            if self.asked:
                self.answers[STAGING] = bytes(BUNDLE.data)
            await super().pull(url, sink)

    sources = Flaky({STAGING: NodeUnreachable("away")})

    assert await pulled(sources, peers=()) == BUNDLE.data
    assert sources.asked == [STAGING, STAGING]


async def test_so_many_pulls_run_at_once_and_no_more() -> None:
    sources = Sources({STAGING: bytes(BUNDLE.data)})
    sources.gate = asyncio.Event()
    pulls = Pulls(sources)

    async def pull() -> int:
        async with pulls.pulled(sample_assignment(BUNDLE, NODE, CLOCK, source_url=STAGING)) as one:
            return len(one.data)

    running = [asyncio.create_task(pull()) for _ in range(3 * SMALL_PULLS_MAX)]
    async with asyncio.timeout(5):
        while sources.running < SMALL_PULLS_MAX:
            await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    sources.gate.set()

    assert await asyncio.gather(*running) == [len(BUNDLE.data)] * len(running)
    assert sources.most_running == SMALL_PULLS_MAX


async def test_large_pulls_that_wait_for_their_turn_hold_no_room() -> None:
    """Room held by those who do not run yet would keep small bundles waiting for nothing."""
    large = sample_bundle(2, lengths=(8 * MIB,))
    sources = Sources({"http://large": bytes(large.data), STAGING: bytes(BUNDLE.data)})
    sources.gate = asyncio.Event()
    pulls = Pulls(sources)

    async def pull_large() -> int:
        assignment = sample_assignment(large, NODE, CLOCK, source_url="http://large")
        async with pulls.pulled(replace(assignment, size_class=SizeClass.LARGE)) as one:
            return len(one.data)

    waiting = [asyncio.create_task(pull_large()) for _ in range(3 * LARGE_PULLS_MAX)]
    async with asyncio.timeout(5):
        while sources.running < LARGE_PULLS_MAX:
            await asyncio.sleep(0)
        gate, sources.gate = sources.gate, None
        small = sample_assignment(BUNDLE, NODE, CLOCK, source_url=STAGING)
        async with pulls.pulled(small) as one:
            assert one.data == BUNDLE.data
        assert sources.running == LARGE_PULLS_MAX

    gate.set()
    assert await asyncio.gather(*waiting) == [len(large.data)] * len(waiting)


async def test_a_size_that_no_bundle_has_is_refused_before_anything_is_allocated() -> None:
    sources = Sources({})
    huge = replace(sample_assignment(BUNDLE, NODE, CLOCK), size=BUNDLE_SIZE_MAX + 1)
    with pytest.raises(PullFailed):
        async with Pulls(sources).pulled(huge):
            pytest.fail("nothing to see")
    assert sources.asked == []


@pytest.mark.parametrize("seed", range(15))
async def test_the_budget_is_never_exceeded_and_serves_everybody_in_turn(seed: int) -> None:
    """Also when those who wait are cancelled."""
    rng = random.Random(seed)
    budget = ByteBudget(100)
    held = 0
    served: list[int] = []

    async def worker(number: int, count: int) -> None:
        nonlocal held
        async with budget.take(count):
            held += count
            assert held <= 100
            served.append(number)
            try:
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                held -= count

    tasks = [asyncio.create_task(worker(n, rng.randrange(1, 101))) for n in range(40)]
    cancelled = set(rng.sample(range(40), 10))
    for _ in range(5):
        await asyncio.sleep(0)
    for number in cancelled:
        tasks[number].cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)

    assert {n for n in range(40) if n not in cancelled} <= set(served)
    assert served == sorted(served)
    assert not any(task.exception() for task in tasks if not task.cancelled())
    async with asyncio.timeout(1), budget.take(100):
        assert held == 0
