"""One suite for every store of webhooks: what those who administer them see."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.model.webhook_rows import BUCKET_ID, OWNER_ID, subscription

from fileflux.core.ids import UserId
from fileflux.metadata.memory_webhooks import MemoryWebhooks
from fileflux.metadata.migrate import migrate
from fileflux.metadata.postgres import open_connections
from fileflux.metadata.postgres_webhooks import PostgresWebhooks
from fileflux.metadata.webhook_ports import WebhookAdmin
from fileflux.metadata.webhook_rows import Destination, ReplayRow
from fileflux.webhooks.messages import to_queue
from fileflux.webhooks.rendering import render_test

RNG = random.Random(31)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[WebhookAdmin]:
    if request.param == "memory":
        yield MemoryWebhooks()
        return
    dsn = request.getfixturevalue("postgres_dsn")
    await migrate(dsn, rng=random.Random(1))
    connections = await open_connections(dsn, size_max=2)
    yield PostgresWebhooks(connections)
    await connections.close()


def owner() -> UserId:
    return UserId(RNG.randbytes(16))


def destination(owner_id: UserId, name: str = "hook") -> Destination:
    return Destination(
        destination_id=RNG.randbytes(16),
        owner_id=owner_id,
        name=name,
        url="https://example.com/",
        secret=b"one",
        created_us=5,
    )


async def test_a_name_of_a_destination_is_taken_once_per_owner(store: WebhookAdmin) -> None:
    one, other = owner(), owner()
    first = destination(one)
    assert await store.put_destination(first)
    assert await store.put_destination(first), "the answer to the first try got lost"
    assert not await store.put_destination(destination(one))
    assert await store.put_destination(destination(other))
    assert await store.destinations_of([one]) == [first]
    assert len(await store.destinations_of([one, other])) == 2
    assert await store.destinations_of([owner()]) == []


async def test_a_rotated_destination_gives_its_secrets_to_all_that_leads_there(
    store: WebhookAdmin,
) -> None:
    one = destination(owner())
    await store.put_destination(one)
    alone = subscription(owner_id=one.owner_id, secret=b"alone")
    await store.put_subscription(alone)
    assert await store.rotate_destination(one, b"two", 99)
    assert await store.rotate_destination(one, b"two", 99), "once more, after a lost answer"
    (found,) = await store.destinations_of([one.owner_id])
    assert (found.secret, found.old_secret, found.old_secret_until_us) == (b"two", b"one", 99)
    unchanged = await store.subscription(alone.subscription_id)
    assert unchanged is not None
    assert unchanged.secret == b"alone"
    assert not await store.rotate_destination(destination(one.owner_id, "other"), b"x", 1)


async def test_a_rotation_whose_answer_got_lost_keeps_the_old_secret(store: WebhookAdmin) -> None:
    """The statement is run once more: the secret before it must not be lost to itself."""
    one = subscription(owner_id=owner(), secret=b"one")
    await store.put_subscription(one)
    for _ in range(2):
        assert await store.rotate_secret(one.subscription_id, b"two", 99)
    found = await store.subscription(one.subscription_id)
    assert found is not None
    assert (found.secret, found.old_secret) == (b"two", b"one")


async def test_a_removed_destination_is_gone_and_its_name_is_free(store: WebhookAdmin) -> None:
    one = destination(owner())
    await store.put_destination(one)
    await store.remove_destination(one)
    await store.remove_destination(one)
    assert await store.destinations_of([one.owner_id]) == []
    assert await store.put_destination(destination(one.owner_id))


async def test_an_owners_subscriptions_come_page_by_page_and_by_bucket(
    store: WebhookAdmin,
) -> None:
    who, bucket = owner(), RNG.randbytes(16)
    mine = [subscription(owner_id=who) for _ in range(4)]
    mine.append(subscription(owner_id=who, bucket_id=bucket))
    for one in (*mine, subscription(owner_id=OWNER_ID)):
        await store.put_subscription(one)
    await store.set_state(mine[0].subscription_id, "deleted", "")
    names = sorted(one.subscription_id for one in mine[1:])
    first = await store.subscriptions_of(who, after=b"", limit=3)
    rest = await store.subscriptions_of(who, after=first[-1].subscription_id, limit=3)
    assert [one.subscription_id for one in (*first, *rest)] == names
    only = await store.subscriptions_of(who, bucket_id=bucket, after=b"", limit=9)
    assert [one.subscription_id for one in only] == [mine[4].subscription_id]
    assert await store.bucket_count(bucket) == 1
    assert await store.bucket_count(RNG.randbytes(16)) == 0


async def test_replays_tests_and_marks_are_taken(store: WebhookAdmin) -> None:
    one = subscription(owner_id=owner())
    other = subscription(owner_id=one.owner_id)
    for each in (one, other):
        await store.put_subscription(each)
    replay = ReplayRow(
        subscription_id=one.subscription_id,
        run_id=RNG.randbytes(16),
        next_position=1,
        end_position=5,
        rate=1,
    )
    await store.put_replay(replay)
    assert await store.replay_count(one.owner_id) == 1
    assert await store.replay_count(owner()) == 0
    test = to_queue(
        one,
        render_test(one, event_id="t", time="now"),
        run_id=RNG.randbytes(16),
        position=0,
        key=b"t",
        message_id="t",
        event_name="test",
        now_us=7,
    )
    await store.put_delivery(replace(test, due_us=7))
    waiting = await store.waiting(one.subscription_id)
    assert (waiting.count, waiting.oldest_us) == (1, 7)
    await store.mark_bucket(BUCKET_ID, b"m", 3)
    await store.mark_bucket(BUCKET_ID, b"m", 3)
