"""Ten thousand subscriptions, some of them dead: the others do not notice. Counted and timed."""

import asyncio
import statistics
import time
from collections import Counter

import pytest
from tests.model.webhook_rows import RNG
from tests.model.webhook_world import WebhookWorld, until

pytestmark = [pytest.mark.slow]
SUBSCRIPTIONS = 10_000
DEAD = 200
EVENTS = 200
DELAY_S_MAX = 5.0
"""Far below the 10 s that a dead receiver takes; usual is a tenth of a second."""


async def _crowd(world: WebhookWorld) -> None:
    """Copies of one subscription, each for a prefix of its own; every 50th receiver is dead."""
    model = await world.subscribe("https://model.example/", prefix=b"nothing/")
    connection = await world.store._connections.take()
    await connection.execute(
        """
        INSERT INTO webhook_subscriptions
        SELECT n.id, s.owner_id, s.bucket_id, s.bucket, n.url, s.format, s.event_names, n.prefix,
            s.suffix, s.secret, NULL, 0, s.state, s.reason, false, 1, s.created_us, s.changed_us
        FROM webhook_subscriptions AS s
        CROSS JOIN unnest($1::BYTEA[], $2::TEXT[], $3::BYTEA[]) AS n (id, url, prefix)
        WHERE s.subscription_id = $4
        """,
        [RNG.randbytes(16) for _ in range(SUBSCRIPTIONS)],
        [_url(n) for n in range(SUBSCRIPTIONS)],
        [b"%05d/" % n for n in range(SUBSCRIPTIONS)],
        model.subscription_id,
    )
    await world.store._connections.give_back(connection)


def _url(n: int) -> str:
    return f"https://dead{n}.example/" if n % (SUBSCRIPTIONS // DEAD) == 0 else "https://a.example/"


async def test_ten_thousand_subscriptions_and_dead_receivers_delay_nobody(
    world: WebhookWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fileflux.webhooks.messages.Signer._secrets", lambda *_: ("whsec_" + "YWJj" * 10,)
    )
    await _crowd(world)
    never = asyncio.Event()
    sent_s: dict[str, float] = {}
    delays: list[float] = []

    async def answer(url: str, key: str) -> int:
        if "dead" in url:
            await never.wait()
        elif key in sent_s:
            delays.append(time.monotonic() - sent_s[key])
        return 200

    world.receivers.answer = answer
    async with world.dispatching():
        await world.happen("00001/first")
        await until(lambda: len(world.receivers.taken) == 1)
        dead = [n for n in range(SUBSCRIPTIONS) if "dead" in _url(n)]
        await world.happen(*[f"{n:05}/x" for n in dead])
        await until(lambda: len(world.receivers.attempts) == 1 + DEAD)
        for n in range(EVENTS):
            key = f"{n * 37 + 1:05}/{n}"
            if n * 37 + 1 not in dead:
                sent_s[key] = time.monotonic()
            await world.happen(key)
        await until(lambda: len(delays) == len(sent_s))
        never.set()
    tries = Counter(url for url, _, _ in world.receivers.attempts if "dead" in url)
    assert max(tries.values()) <= 2
    assert max(delays) < DELAY_S_MAX
    print(f"delays: median {statistics.median(delays):.3f} s, largest {max(delays):.3f} s")
