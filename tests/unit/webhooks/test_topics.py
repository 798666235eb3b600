"""A process that finds no Kafka at its start waits for it, and says so."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fileflux.core.clock import ManualClock
from fileflux.core.errors import BrokerUnavailable, TopicsInvalid
from fileflux.events.memory import MemoryBroker
from fileflux.webhooks import topics
from fileflux.webhooks.topics import Topics


def failing(times: int, error: Exception) -> tuple[Callable[[], Awaitable[None]], list[int]]:
    """Return an `ensure_topics` that raises so often, and what counts its calls."""
    calls = list[int]()

    async def ensure() -> None:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error

    return ensure, calls


async def test_it_asks_until_kafka_answers_and_is_not_ready_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(topics, "TURN_S", 0.001)
    broker, stopping = MemoryBroker(clock=ManualClock(), lanes=1), asyncio.Event()
    one = Topics(broker, ManualClock())
    said = set[str | None]()
    ensure, calls = failing(3, BrokerUnavailable("no broker at 127.0.0.1:1"))

    async def watched() -> None:
        said.add(one.problem)
        await ensure()

    monkeypatch.setattr(broker, "ensure_topics", watched)
    async with asyncio.timeout(30):
        running = asyncio.create_task(one.run(stopping))
        while one.problem is not None:
            await asyncio.sleep(0.001)
        stopping.set()
        await running

    assert len(calls) == 4, "and not again"
    assert None not in said
    assert any("no broker at 127.0.0.1:1" in str(text) for text in said)


async def test_topics_that_are_set_wrongly_end_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = MemoryBroker(clock=ManualClock(), lanes=1)
    ensure, _ = failing(1, TopicsInvalid("retention"))
    monkeypatch.setattr(broker, "ensure_topics", ensure)

    with pytest.raises(TopicsInvalid):
        await Topics(broker, ManualClock()).run(asyncio.Event())
