"""Routes on a real database: nothing is left out, in order, and nobody waits for anybody else."""

import asyncio

import pytest
from prometheus_client import REGISTRY
from tests.model.route_world import RouteWorld, refuse_key
from tests.model.webhook_world import until

from fileflux.metadata.postgres import Connections

KEYS = [f"k{n % 3}" for n in range(30)]


@pytest.fixture
async def routes(connections: Connections) -> RouteWorld:
    """Hours pass in seconds where a route waits for its next attempt."""
    made = RouteWorld(connections, scale=4.0)
    await made.reset()
    return made


async def test_a_route_has_every_event_from_its_position_on_and_a_stopped_router_goes_on(
    routes: RouteWorld,
) -> None:
    """The past from the database, what happens from the topic, and no position twice."""
    await routes.events.happen(*KEYS)
    one = await routes.add("all")
    late = await routes.add("late", next_position=21)
    async with routes.routing():
        await routes.until_taken("all", 30)
        await routes.events.happen(*KEYS)
        await routes.until_taken("all", 60)
        await routes.until_taken("late", 40)
    await routes.events.happen("k0", "k1")
    async with routes.routing():
        await routes.until_taken("all", 62)
        await routes.until_stored(one, 63)
    assert [m.position for m in routes.at("all").taken] == [*range(1, 63)]
    assert [m.position for m in routes.at("late").taken][:40] == [*range(21, 61)]
    assert late.name == "late"


async def test_a_destination_that_fails_delays_no_other_and_loses_nothing(
    routes: RouteWorld,
) -> None:
    dead, well = await routes.add("dead"), await routes.add("well")
    routes.at("dead").judge = lambda one: "AccessDenied: who are you"
    async with routes.routing():
        await routes.events.happen(*KEYS)
        await routes.until_taken("well", 30)
        await routes.until_stored(well, 31)

        async def is_noted() -> bool:
            found = await routes.store.route(dead.route_id)
            return found is not None and found.problem == "AccessDenied: who are you"

        await until(is_noted)
        assert routes.keys("dead") == []
        routes.at("dead").judge = lambda one: ""
        await routes.store.set_state(dead.route_id, "active")  # At once.
        await routes.until_taken("dead", 30)
        await routes.until_stored(dead, 31)
    assert routes.keys("dead") == KEYS
    found = await routes.store.route(dead.route_id)
    assert found is not None
    assert (found.problem, found.problem_us) == ("", 0)


async def test_a_message_that_is_refused_holds_back_its_key_and_the_position(
    routes: RouteWorld,
) -> None:
    one = await routes.add("some")
    routes.at("some").judge = refuse_key("k1")
    async with routes.routing():
        await routes.events.happen(*KEYS)
        await until(lambda: routes.keys("some").count("k0") == 10)
        assert "k1" not in routes.keys("some")
        found = await routes.store.route(one.route_id)
        assert found is not None
        assert found.next_position == 1
        routes.at("some").judge = lambda message: ""
        await until(lambda: routes.keys("some").count("k1") == 10)
        await routes.until_stored(one, 31)
    for key in set(KEYS):
        taken = [m.position for m in routes.at("some").taken if m.key.endswith(key.encode())]
        assert list(dict.fromkeys(taken)) == sorted(set(taken))


async def test_a_paused_route_catches_up_and_a_removed_one_ends(routes: RouteWorld) -> None:
    one = await routes.add("some")
    gone = await routes.add("gone")
    async with routes.routing():
        await routes.events.happen("a")
        await routes.until_taken("some", 1)
        await routes.until_taken("gone", 1)
        await routes.store.set_state(one.route_id, "paused")
        await routes.store.remove_route(gone.route_id)
        await routes.add("after")
        await routes.until_taken("after", 1)  # So the others were looked at, too.
        await routes.events.happen("b", "c")
        await routes.until_taken("after", 3)
        assert routes.keys("some") == ["a"]
        await routes.store.set_state(one.route_id, "active")
        await routes.until_taken("some", 3)
    assert routes.keys("some") == ["a", "b", "c"]
    assert routes.keys("gone") == ["a"]


async def test_a_replay_sends_the_past_again_marked_and_then_what_is_new(
    routes: RouteWorld,
) -> None:
    one = await routes.add("some")
    async with routes.routing():
        await routes.events.happen("a", "b", "c")
        await routes.until_stored(one, 4)
        assert not await routes.store.replay(one.route_id, 9, b"\x01" * 16), "was never sent"
        assert await routes.store.replay(one.route_id, 2, b"\x01" * 16)
        await routes.until_taken("some", 5)
        await routes.events.happen("d")
        await routes.until_taken("some", 6)
    taken = routes.at("some").taken
    assert routes.keys("some") == ["a", "b", "c", "b", "c", "d"]
    marks = [dict(m.headers).get("fileflux-replay") for m in taken]
    assert marks == [None, None, None, "01" * 16, "01" * 16, None]
    assert [m.event_id for m in taken[1:3]] == [m.event_id for m in taken[3:5]]


async def test_who_was_overtaken_moves_no_position(routes: RouteWorld) -> None:
    """A router that slept moves nothing that another one, or a replay, has moved meanwhile."""
    one = await routes.add("some")
    assert await routes.store.move(one, 5)
    assert not await routes.store.move(one, 9)
    now = await routes.store.route(one.route_id)
    assert now is not None
    await routes.store.replay(one.route_id, 5, b"\x02" * 16)
    assert not await routes.store.move(now, 9), "a replay from where it stood counts, too"
    assert await routes.store.move(one, 5) is False


def lag_of(name: str) -> float | None:
    return REGISTRY.get_sample_value("fileflux_route_lag_records", {"route": name})


async def test_two_routers_send_once_and_the_second_takes_over(routes: RouteWorld) -> None:
    """Who stands by tells no lag: it would be that of long ago, beside the true one."""
    one = await routes.add("some")
    async with asyncio.timeout(30), routes.routing():
        await routes.events.happen("a")
        await routes.until_stored(one, 2)
        async with routes.routing():
            await routes.events.happen("b")
            await routes.until_stored(one, 3)
            assert lag_of("some") is not None
    assert lag_of("some") is None
    async with routes.routing():
        await routes.events.happen("c")
        await routes.until_stored(one, 4)
    assert routes.keys("some") == ["a", "b", "c"]
