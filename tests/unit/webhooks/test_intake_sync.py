"""What others changed is noticed, also when the database's clock was set back in between."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tests.model.webhook_rows import subscription

from fileflux.core.clock import ManualClock
from fileflux.metadata.webhook_rows import Cursor, Subscription
from fileflux.webhooks.intake import LOOK_AT_ALL_S, SYNC_OVERLAP_US, Intake

NOW_US = 1_800_000_000_000_000


class Store:
    """One subscription, and who asked for how much of the past."""

    def __init__(self, one: Subscription) -> None:
        self.one = one
        self.asked_us = list[int]()

    async def changed_since(self, changed_us: int, known: Mapping[bytes, int]) -> list[Any]:
        self.asked_us.append(changed_us)
        one = self.one
        is_new = known.get(one.subscription_id) != one.changed_us
        return [one] if one.changed_us >= changed_us and is_new else []

    async def replays(self) -> list[Any]:
        return []


class States:
    """In the place of the queues."""

    def __init__(self) -> None:
        self.told = list[str]()

    def update(self, one: Subscription) -> None:
        self.told.append(one.state)


async def test_a_pause_is_noticed_although_the_database_s_clock_was_set_back() -> None:
    store, states, clock = Store(subscription(changed_us=NOW_US)), States(), ManualClock()
    intake = Intake(cast("Any", store), cast("Any", None), cast("Any", states), clock, Cursor(1, 1))
    await intake.sync()
    store.one = replace(store.one, state="paused", changed_us=NOW_US - 3_600_000_000)
    await intake.sync()
    assert states.told == ["active"]
    clock.advance(LOOK_AT_ALL_S)
    for _ in range(3):
        await intake.sync()

    assert states.told == ["active", "paused"]
    since_us = NOW_US - SYNC_OVERLAP_US
    assert store.asked_us == [0, since_us, 0, since_us, since_us], "all of them now and then only"
