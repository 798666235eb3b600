"""Random storms: whatever is paused, killed, wiped, full or broken, events arrive, in order."""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Callable

import pytest
from tests.model.webhook_world import WebhookWorld, until

from fileflux.metadata.webhook_rows import Subscription
from fileflux.webhooks import intake as intake_module
from fileflux.webhooks.dispatcher import Dispatcher

STEPS = 60
SEEDS = [int(os.environ["FILEFLUX_STORM_SEED"])] if "FILEFLUX_STORM_SEED" in os.environ else [1, 2]
PREFIXES = (b"", b"a", b"b", b"c", b"d")


class Storm:
    """Six subscriptions, a dispatcher that dies, receivers that are broken half of the time."""

    def __init__(self, world: WebhookWorld, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.broken: set[str] = set()
        self.is_calm = False
        self.subscriptions: list[Subscription] = []
        self.happened: list[tuple[str, int]] = []
        self.dispatcher: Dispatcher | None = None
        self.task: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()
        world.receivers.answer = self._answer

    async def _answer(self, url: str, key: str) -> int:
        await asyncio.sleep(self.rng.random() / 200)
        is_unlucky = not self.is_calm and self.rng.random() < 0.1
        return 500 if url in self.broken or is_unlucky else 200

    async def start(self) -> None:
        for n, prefix in enumerate([*PREFIXES, b""]):
            one = await self.world.subscribe(f"https://r{n}.example/", prefix=prefix)
            self.subscriptions.append(one)
        self._dispatch()

    def _dispatch(self) -> None:
        self.dispatcher = self.world.dispatcher()
        self.task = asyncio.create_task(self.dispatcher.run(self.stopping))

    async def happens(self) -> None:
        keys = [self.rng.choice("abcd") + str(self.rng.randrange(3)) for _ in range(12)]
        is_published = self.rng.random() < 0.8
        records = await self.world.happen(*keys, publish=is_published)
        numbers = [record.sequence for record in records]
        self.happened += zip(keys, numbers, strict=True)

    async def is_killed(self) -> None:
        """Nothing of what is in memory is stored; the lease would run out after 10 s."""
        assert self.task is not None
        assert self.dispatcher is not None
        self.task.cancel()
        await asyncio.wait({self.task})
        await self.world.store.give_lease_back(self.dispatcher._owner)
        self._dispatch()

    async def is_paused_or_resumed(self) -> None:
        one = self.rng.choice(self.subscriptions)
        state = self.rng.choice(["paused", "active"])
        await self.world.store.set_state(one.subscription_id, state, "")  # type: ignore[arg-type]

    async def breaks_or_mends(self) -> None:
        url = self.rng.choice(self.subscriptions).url
        self.broken.symmetric_difference_update({url})

    async def is_wiped(self) -> None:
        self.world.memory.wipe()

    async def rests(self) -> None:
        await asyncio.sleep(self.rng.random() / 5)

    async def calms_down(self) -> None:
        """Everybody is well and active: wait for the rest, without the back-offs of the storm."""
        self.broken.clear()
        self.is_calm = True
        for one in self.subscriptions:
            await self.world.store.set_state(one.subscription_id, "active", "")
        await until(self._everything_has_arrived)
        self.stopping.set()
        assert self.task is not None
        await self.task

    async def _everything_has_arrived(self) -> bool:
        missing = [one for one in self.subscriptions if self._missing(one)]
        for one in missing:
            # Again: an attempt that began in the storm may be put off behind the first asking.
            await self.world.store.retry_now(one.subscription_id, self.world.clock.now_us())
        return not missing

    def _wanted(self, one: Subscription) -> set[tuple[str, int]]:
        return {(k, s) for k, s in self.happened if k.encode().startswith(one.prefix)}

    def taken(self, one: Subscription) -> list[tuple[str, int]]:
        return [(key, s) for url, key, s in self.world.receivers.taken if url == one.url]

    def _missing(self, one: Subscription) -> set[tuple[str, int]]:
        return self._wanted(one) - set(self.taken(one))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_after_any_storm_each_event_has_arrived_in_order_per_key(
    make_world: Callable[[float], WebhookWorld], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(intake_module, "QUEUE_MAX", 40)
    storm = Storm(make_world(30.0), seed)
    await storm.start()
    actions = [storm.happens] * 5 + [storm.is_paused_or_resumed] * 3 + [storm.breaks_or_mends] * 2
    actions += [storm.is_killed, storm.is_wiped, storm.rests, storm.rests]
    for _ in range(STEPS):
        await storm.rng.choice(actions)()
    await storm.calms_down()
    for one in storm.subscriptions:
        by_key = defaultdict(list)
        for key, sequence in dict.fromkeys(storm.taken(one)):
            by_key[key].append(sequence)
        assert all(found == sorted(found) for found in by_key.values()), f"seed {seed}"
    ids = {headers["webhook-id"] for _, headers, _ in storm.world.receivers.attempts}
    assert len(ids) <= len(storm.happened)
