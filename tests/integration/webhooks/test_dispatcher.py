"""F26, and what subscribers are promised: at least once, one id, order per key, no delay."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest
from standardwebhooks import Webhook
from tests.model.webhook_world import DAY_S, MASTER_KEY, WebhookWorld, until

from fileflux.core.errors import LaneLost
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.identity import encrypt_secret
from fileflux.metadata.webhook_rows import LIVE_RUN, QueuedDelivery, ReplayRow, Subscription
from fileflux.webhooks import intake as intake_module
from fileflux.webhooks.history import History
from fileflux.webhooks.retry import RETRY_WINDOW_S
from fileflux.webhooks.signing import new_secret

HOURS: Final = 5_000.0
"""Of the clock: more than an hour in a second."""
A, B = "https://a.example/", "https://b.example/"


async def test_each_event_is_delivered_once_with_its_own_id(world: WebhookWorld) -> None:
    one = await world.subscribe(A, suffix=b".jpg")
    async with world.dispatching():
        await world.live(one)
        await world.happen(*[f"{n % 7}.jpg" for n in range(100)], "x.txt")
        await until(lambda: len(world.receivers.taken) == 100)
    assert len(set(world.receivers.ids())) == 100
    assert await world.waiting(one) == 0
    for key in {f"{n}.jpg" for n in range(7)}:
        sequence = [s for _, k, s in world.receivers.taken if k == key]
        assert sequence == sorted(sequence)


async def test_every_attempt_is_signed_and_recorded(world: WebhookWorld) -> None:
    one = await world.subscribe(A)
    async with world.dispatching():
        await world.happen("a.jpg")
        await until(lambda: len(world.receivers.taken) == 1)
    _, headers, body = world.receivers.attempts[0]
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    library = Webhook(world.secrets[one.subscription_id])
    expected = library.sign(headers["webhook-id"], at, body.decode())
    assert headers["webhook-signature"] == expected
    assert b"a.jpg" in body
    attempts = await world.store.attempts(one.subscription_id, 10)
    assert [(a.status, a.message_id) for a in attempts] == [(204, headers["webhook-id"])]


async def test_a_failing_delivery_holds_back_its_key_and_no_other(
    make_world: Callable[[float], WebhookWorld],
) -> None:
    world = make_world(20.0)
    one = await world.subscribe(A)
    is_broken = True

    async def answer(url: str, key: str) -> int:
        return 500 if key == "bad" and is_broken else 200

    world.receivers.answer = answer
    async with world.dispatching():
        await world.happen(*["bad", "good"] * 20, "other")
        await until(lambda: len(world.receivers.keys(A)) == 21)
        assert set(world.receivers.keys(A)) == {"good", "other"}
        is_broken = False
        await until(lambda: len(world.receivers.keys(A)) == 41)
    sequence = [s for _, key, s in world.receivers.taken if key == "bad"]
    assert sequence == sorted(sequence)
    assert len(sequence) == 20
    assert await world.waiting(one) == 0


async def test_a_receiver_that_was_down_for_a_day_is_told_everything_in_order(
    make_world: Callable[[float], WebhookWorld],
) -> None:
    world = make_world(HOURS)
    await world.subscribe(A)
    up_s = world.clock.monotonic_s() + DAY_S

    async def answer(url: str, key: str) -> int:
        return 200 if world.clock.monotonic_s() > up_s else 503

    world.receivers.answer = answer
    async with world.dispatching():
        await world.happen(*[f"k{n % 5}" for n in range(30)])
        await until(lambda: len(world.receivers.taken) == 30)
    assert world.clock.monotonic_s() >= up_s
    counts = Counter(world.receivers.ids())
    assert len(counts) == 30
    assert max(counts.values()) < 40, "back-off: a day is not thousands of attempts"
    for key in {f"k{n}" for n in range(5)}:
        sequence = [s for _, k, s in world.receivers.taken if k == key]
        assert sequence == sorted(sequence)


async def test_what_fails_for_days_is_set_aside_and_can_be_sent_again(
    make_world: Callable[[float], WebhookWorld],
) -> None:
    world = make_world(4 * HOURS)
    one = await world.subscribe(A)
    status = 500

    async def answer(url: str, key: str) -> int:
        return status

    world.receivers.answer = answer
    async with world.dispatching():
        await world.happen("a", "a", "b")

        async def all_dead() -> bool:
            return await world.store.dead_count(one.subscription_id) == 3

        await until(all_dead)
        assert world.clock.monotonic_s() >= RETRY_WINDOW_S
        letters = await world.store.dead_letters(one.subscription_id, 10)
        assert {letter.problem for letter in letters} == {"HTTP 500"}
        assert await world.waiting(one) == 0
        status = 200
        before = set(world.receivers.ids())
        assert await world.store.redrive(one.subscription_id, world.clock.now_us(), 100) == 3
        await until(lambda: len(world.receivers.taken) == 3)
        assert set(world.receivers.ids()) == before
        assert [k for _, k, _ in world.receivers.taken].count("a") == 2


async def test_what_a_pause_or_an_outage_kept_for_a_month_is_tried_again_when_it_fails(
    make_world: Callable[[float], WebhookWorld],
) -> None:
    world = make_world(20.0)
    one = await world.subscribe(A)
    await world.store.put_delivery(
        QueuedDelivery(
            subscription_id=one.subscription_id,
            run_id=LIVE_RUN,
            position=1,
            lane=bytes(16),
            message_id="msg_1",
            event_name="",
            headers="{}",
            body=b"{}",
            attempts=0,
            due_us=0,
            queued_us=world.clock.now_us() - 30 * DAY_S * 1_000_000,
        )
    )

    async def answer(url: str, key: str) -> int:
        return 500 if len(world.receivers.attempts) < 3 else 200

    world.receivers.answer = answer
    async with world.dispatching():
        await until(lambda: len(world.receivers.taken) == 1)
    assert await world.store.dead_count(one.subscription_id) == 0


async def test_410_disables_a_subscription_until_somebody_resumes_it(world: WebhookWorld) -> None:
    one = await world.subscribe(A)
    status = 410

    async def answer(url: str, key: str) -> int:
        return status

    world.receivers.answer = answer
    async with world.dispatching():
        await world.happen("a", "b")

        async def is_disabled() -> bool:
            found = await world.store.subscription(one.subscription_id)
            return found is not None and found.state == "disabled" and not found.is_live

        await until(is_disabled)
        tried = len(world.receivers.attempts)
        await world.happen("c")
        status = 200
        await world.store.set_state(one.subscription_id, "active", "")
        await world.store.retry_now(one.subscription_id, world.clock.now_us())
        await until(lambda: len(world.receivers.taken) == 3)
    assert tried <= 2
    assert sorted(world.receivers.keys(A)) == ["a", "b", "c"]


async def test_what_happens_during_a_pause_is_delivered_after_it(world: WebhookWorld) -> None:
    one = await world.subscribe(A)
    async with world.dispatching():
        await world.live(one)
        await world.store.set_state(one.subscription_id, "paused", "by hand")

        async def is_set_aside() -> bool:
            found = await world.store.subscription(one.subscription_id)
            return found is not None and not found.is_live

        await until(is_set_aside)
        await world.happen("a", "b", "c")
        other = await world.subscribe(B)
        await until(lambda: len(world.receivers.keys(B)) == 3)
        assert world.receivers.keys(A) == []
        await world.store.set_state(one.subscription_id, "active", "")
        await until(lambda: len(world.receivers.keys(A)) == 3)
        await world.live(one, other)
        await world.happen("d")
        await until(lambda: len(world.receivers.taken) == 8)
    assert sorted(world.receivers.keys(A)) == ["a", "b", "c", "d"]


async def test_a_replay_is_marked_and_rate_limited_and_delays_no_new_event(
    make_world: Callable[[float], WebhookWorld],
) -> None:
    world = make_world(5.0)
    await world.happen(*[f"old{n}" for n in range(60)])
    one = await world.subscribe(A, next_position=61)
    async with world.dispatching():
        await world.live(one)
        started_s = world.clock.monotonic_s()
        await world.store.put_replay(_replay(one, first=11, end=61, rate=10))
        await world.happen("new")
        await until(lambda: len(world.receivers.taken) == 51)
        took_s = world.clock.monotonic_s() - started_s
    assert took_s >= 4.0, "50 events at 10 a second"
    marked = [h.get("fileflux-replay") for _, h, b in world.receivers.attempts if b"old" in b]
    assert marked == [(b"r" * 16).hex()] * 50
    new = [h for _, h, b in world.receivers.attempts if b"new" in b]
    assert "fileflux-replay" not in new[0]
    assert await world.store.replays() == []


async def test_many_replays_at_once_do_not_hold_up_what_happens(
    world: WebhookWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may begin some over HTTP; the reader is one for all."""
    await world.happen(*[f"old{n}" for n in range(300)])
    one = await world.subscribe(A, next_position=301)
    reads, past = 0, History.past

    async def slow(self: History, position: int) -> list[NumberedRecord]:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.03)
        return (await past(self, position))[:1]

    async with world.dispatching():
        await world.live(one)
        monkeypatch.setattr(History, "past", slow)
        for number in range(40):
            replay = _replay(one, first=1, end=301, rate=10)
            await world.store.put_replay(replace(replay, run_id=bytes([number]) * 16))
        await until(lambda: reads > intake_module.READS_PER_REPLAY_TURN)
        before = reads
        await world.happen("new")
        await until(lambda: "new" in world.receivers.keys(A))
        assert reads - before <= 4 * intake_module.READS_PER_REPLAY_TURN


def _replay(one: Subscription, *, first: int, end: int, rate: int) -> ReplayRow:
    return ReplayRow(
        subscription_id=one.subscription_id,
        run_id=b"r" * 16,
        next_position=first,
        end_position=end,
        rate=rate,
    )


async def test_a_full_queue_leaves_the_rest_in_the_stream_and_nothing_is_lost(
    world: WebhookWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "QUEUE_MAX", 20)
    # A queue is looked at before each read of the stream: on a busy machine one read has them all.
    monkeypatch.setattr("fileflux.webhooks.history.RECORDS_MAX", 10)
    gate = asyncio.Event()
    one, other = await world.subscribe(A), await world.subscribe(B)

    async def answer(url: str, key: str) -> int:
        if url == A:
            await gate.wait()
        return 200

    world.receivers.answer = answer
    async with world.dispatching():
        await world.live(one, other)
        for part in range(10):
            await world.happen(*[f"{part}-{n}" for n in range(10)])
        await until(lambda: len(world.receivers.keys(B)) == 100)
        assert await world.waiting(one) < 60
        gate.set()
        await until(lambda: len(world.receivers.keys(A)) == 100)
        await world.live(one, other)
    assert len(set(world.receivers.keys(A))) == 100


async def test_a_receiver_that_hangs_delays_nobody_else(world: WebhookWorld) -> None:
    never = asyncio.Event()
    dead = [await world.subscribe(f"https://dead{n}.example/") for n in range(50)]
    well = await world.subscribe(A)

    async def answer(url: str, key: str) -> int:
        if "dead" in url:
            await never.wait()
        return 200

    world.receivers.answer = answer
    async with world.dispatching():
        await world.live(well, *dead)
        for n in range(5):
            await world.happen(*[f"{n}-{m}" for m in range(20)])
        await until(lambda: len(world.receivers.keys(A)) == 100)
        hanging = Counter(url for url, _, _ in world.receivers.attempts if "dead" in url)
        assert max(hanging.values()) == 1, "one connection until it answers"
        never.set()


@pytest.mark.parametrize("how", ["wiped", "gap", "away"])
async def test_without_the_topic_the_database_is_read(world: WebhookWorld, how: str) -> None:
    one = await world.subscribe(A)
    async with world.dispatching():
        await world.happen("a")
        await until(lambda: len(world.receivers.taken) == 1)
        await world.live(one)
        if how == "wiped":
            world.memory.wipe()
        elif how == "away":
            world.memory.stop()
        lost = await world.happen("b", "c", publish=False)
        if how == "gap":
            await world.publish(lost[1:])
        await until(lambda: len(world.receivers.taken) == 3)
        world.memory.start()
        if how == "wiped":
            await world.publish(lost)
        await world.happen("d")
        await until(lambda: len(world.receivers.taken) == 4)
    assert world.receivers.keys(A)[-1] == "d"
    assert sorted(world.receivers.keys(A)) == ["a", "b", "c", "d"]


async def test_without_subscriptions_nothing_is_read_and_the_first_one_misses_nothing(
    world: WebhookWorld,
) -> None:
    world.memory.stop()
    async with world.dispatching():
        await world.happen(*[str(n) for n in range(10)], publish=False)

        async def has_passed() -> bool:
            cursor = await world.store.cursor()
            return cursor is not None and cursor.next_position == 11

        await until(has_passed)
        one = await world.subscribe(A, next_position=5)
        await world.live(one)
        await world.happen("new", publish=False)
        await until(lambda: len(world.receivers.taken) == 7)
    assert world.receivers.keys(A)[-1] == "new"
    assert sorted(world.receivers.keys(A)) == ["4", "5", "6", "7", "8", "9", "new"]


async def test_a_second_dispatcher_stands_by_and_goes_on_where_the_first_one_ended(
    world: WebhookWorld,
) -> None:
    one = await world.subscribe(A)
    async with world.dispatching():
        await world.happen("a")
        await until(lambda: len(world.receivers.taken) == 1)
        stopping = asyncio.Event()
        second = asyncio.create_task(world.dispatcher().run(stopping))
        await world.live(one)
        await world.happen("b")
        await until(lambda: len(world.receivers.taken) == 2)
    await world.happen("c")
    await until(lambda: len(world.receivers.taken) == 3)
    stopping.set()
    await second
    assert world.receivers.keys(A) == ["a", "b", "c"]


async def test_a_dispatcher_that_was_overtaken_moves_nothing_and_ends(world: WebhookWorld) -> None:
    await world.subscribe(A)
    dispatcher, stopping = world.dispatcher(), asyncio.Event()
    task = asyncio.create_task(dispatcher.run(stopping))
    await world.happen("a")
    await until(lambda: len(world.receivers.taken) == 1)
    taken = await world.store.take_turn(1)
    await world.happen("b")
    with pytest.raises(LaneLost):
        await asyncio.wait_for(task, 10)
    assert await world.store.cursor() == taken


async def test_a_dispatcher_that_is_stopped_waits_for_what_is_on_its_way(
    world: WebhookWorld,
) -> None:
    await world.subscribe(A)
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def answer(url: str, key: str) -> int:
        arrived.set()
        await go_on.wait()
        return 200

    world.receivers.answer = answer
    stopping = asyncio.Event()
    task = asyncio.create_task(world.dispatcher().run(stopping))
    await world.happen("a", "b")
    await arrived.wait()
    stopping.set()
    asyncio.get_running_loop().call_later(0.3, go_on.set)
    await task
    assert len(world.receivers.taken) == len(world.receivers.attempts) == 1
    async with world.dispatching():
        await until(lambda: len(world.receivers.taken) == 2)
    assert len(set(world.receivers.ids())) == 2


async def test_a_removed_subscription_leaves_nothing_behind(world: WebhookWorld) -> None:
    one = await world.subscribe(A)

    async def answer(url: str, key: str) -> int:
        return 500

    world.receivers.answer = answer
    async with world.dispatching():
        await world.happen("a", "b")
        await until(lambda: len(world.receivers.attempts) >= 2)
        await world.store.set_state(one.subscription_id, "deleted", "")

        async def is_gone() -> bool:
            attempts = await world.store.attempts(one.subscription_id, 10)
            return not attempts and not await world.waiting(one)

        await until(is_gone)
    assert await world.store.subscription(one.subscription_id) is None


async def test_while_a_secret_is_replaced_two_signatures_are_sent(world: WebhookWorld) -> None:
    one = await world.subscribe(A)
    fresh = encrypt_secret(MASTER_KEY, one.subscription_id.hex(), new_secret())
    async with world.dispatching():
        await world.happen("a")
        await until(lambda: len(world.receivers.taken) == 1)
        until_us = world.clock.now_us() + 3_600_000_000
        assert await world.store.rotate_secret(one.subscription_id, fresh, until_us)

        async def signs_twice() -> bool:
            await world.happen("b")
            await until(lambda: len(world.receivers.taken) == len(world.receivers.attempts))
            return world.receivers.attempts[-1][1]["webhook-signature"].count("v1,") == 2

        await until(signs_twice)
    assert world.receivers.attempts[0][1]["webhook-signature"].count("v1,") == 1
