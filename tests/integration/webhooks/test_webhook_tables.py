"""What is old goes, a little at a time, whatever there is of it."""

import time
from collections.abc import AsyncIterator

import pytest
from tests.model.webhook_world import WebhookWorld

from fileflux.core.errors import MetadataBusy
from fileflux.metadata.postgres import Connections
from fileflux.metadata.webhook_rows import Destination, ReplayRow

ATTEMPTS = 50_000
TABLES = ("webhook_subscriptions", "webhook_destinations", "webhook_attempts", "webhook_replays")
HOUR_US = 3_600_000_000


async def _fill(world: WebhookWorld, subscription_id: bytes, count: int = ATTEMPTS) -> None:
    connection = await world.store._connections.take()
    await connection.execute(
        """
        INSERT INTO webhook_attempts (subscription_id, at_us, attempt_id, message_id, status,
            latency_us, head, problem)
        SELECT $1, n, substring(int8send(n) || int8send(n), 1, 16), 'event',
            CASE WHEN n % 10 = 0 THEN 500 ELSE 204 END, 1, '', ''
        FROM generate_series(1, $2::INT8) AS n
        """,
        subscription_id,
        count,
    )
    await world.store._connections.give_back(connection)


@pytest.fixture
async def later_columns(connections: Connections) -> AsyncIterator[None]:
    """Tables as a later version's migration might leave them."""
    connection = await connections.take()
    for table in TABLES:
        await connection.execute(f"ALTER TABLE {table} ADD COLUMN colour TEXT DEFAULT ''")
    yield
    for table in TABLES:
        await connection.execute(f"ALTER TABLE {table} DROP COLUMN colour")
    await connections.give_back(connection)


async def test_columns_that_a_later_version_added_are_passed_over(
    world: WebhookWorld, later_columns: None
) -> None:
    """Its migration runs before this version's processes end."""
    one = await world.subscribe()
    await _fill(world, one.subscription_id, 1)
    destination = Destination(
        destination_id=one.bucket_id,
        owner_id=one.owner_id,
        name="hook",
        url=one.url,
        secret=b"s",
        created_us=5,
    )
    await world.store.put_destination(destination)
    replay = ReplayRow(
        subscription_id=one.subscription_id, run_id=b"r", next_position=1, end_position=2, rate=1
    )
    await world.store.put_replay(replay)
    assert [found.subscription_id for found in await world.store.subscriptions()] == [
        one.subscription_id
    ]
    assert await world.store.destinations_of([one.owner_id]) == [destination]
    assert await world.store.replays() == [replay]
    assert len(await world.store.attempts(one.subscription_id, 5)) == 1


async def test_old_attempts_go_in_bounded_steps_and_failures_stay_longer(
    world: WebhookWorld,
) -> None:
    one = await world.subscribe()
    await _fill(world, one.subscription_id)
    steps, longest_s, is_done = 0, 0.0, False
    while not is_done:
        started_s = time.monotonic()
        is_done = await world.store.forget(
            delivered_before_us=HOUR_US, failed_before_us=ATTEMPTS // 2, dead_before_us=0
        )
        longest_s = max(longest_s, time.monotonic() - started_s)
        steps += 1
    assert steps > 10
    assert longest_s < 2.0, "a step is far from its deadline"
    left = await world.store.attempts(one.subscription_id, ATTEMPTS)
    assert {row.status for row in left} == {500}
    assert len(left) == ATTEMPTS // 20 + 1


async def test_a_subscription_with_a_long_history_is_removed_in_bounded_steps(
    world: WebhookWorld,
) -> None:
    one = await world.subscribe()
    await _fill(world, one.subscription_id)
    await world.store.set_state(one.subscription_id, "deleted", "")
    steps = 1
    while not await _remove(world, one.subscription_id):
        steps += 1
    assert steps > 10
    assert await world.store.attempts(one.subscription_id, 1) == []
    assert await world.store.changed_since(0) == []


async def _remove(world: WebhookWorld, subscription_id: bytes) -> bool:
    """As the dispatcher does: a database that does not answer in time is asked again."""
    try:
        return await world.store.remove(subscription_id)
    except MetadataBusy:
        return False


async def test_who_asks_for_changes_gets_those_that_it_does_not_know(world: WebhookWorld) -> None:
    """It asks twice a second, with an overlap: thousands that came at once came again each time."""
    for n in range(5):
        await world.subscribe(f"https://{n}.example/")
    every = await world.store.changed_since(0)
    known = {one.subscription_id: one.changed_us for one in every}
    assert len(known) == 5
    assert await world.store.changed_since(0, known) == []

    first = every[0]
    await world.store.set_state(first.subscription_id, "paused", "")
    other = await world.subscribe("https://other.example/")
    changed = await world.store.changed_since(0, known)
    assert [(one.subscription_id, one.state) for one in changed] == [
        (first.subscription_id, "paused"),
        (other.subscription_id, "active"),
    ]
