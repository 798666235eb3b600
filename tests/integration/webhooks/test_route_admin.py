"""What `fileflux route` does, on a real database."""

import json
import random
from typing import Any

import pytest
from tests.model.metadata_changes import Maker
from tests.model.route_world import RouteWorld

from fileflux.console.admin import AdminRefused
from fileflux.console.route_admin import ROUTES_MAX, Routes, Wanted
from fileflux.core.changes import CreateBucket, CreateUser
from fileflux.core.errors import Invalid
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.postgres import Connections

EVENTS = ("s3:ObjectCreated:*",)


@pytest.fixture
async def routes(connections: Connections) -> RouteWorld:
    made = RouteWorld(connections)
    await made.reset()
    return made


@pytest.fixture
async def owner(routes: RouteWorld) -> tuple[CreateUser, CreateBucket]:
    """A user and the bucket `photos`, made as any other."""
    maker = Maker(random.randrange(1 << 30))
    direct = DirectWriter(routes.events.database, rng=random.Random(5))
    user, bucket = maker.user(), maker.bucket()
    for one in (user, bucket):  # Another test may have made them.
        await direct.submit(one)
    await direct.close()
    return user, bucket


def admin(routes: RouteWorld) -> Routes:
    return Routes(routes.store, routes.events.reader)


async def made(routes: RouteWorld, name: str = "alices", **changed: Any) -> dict[str, Any]:
    destination = changed.pop("destination", "kafka:alice.photos")
    form, start = changed.pop("form", ""), changed.pop("start", "now")
    wanted = Wanted(**{"bucket": "photos", "event_names": EVENTS, **changed})
    return await admin(routes).create(name, destination, wanted, form=form, start=start)


async def test_a_route_is_made_shown_paused_replayed_and_removed_by_its_name(
    routes: RouteWorld, owner: tuple[CreateUser, CreateBucket]
) -> None:
    await routes.events.happen("a", "b")
    shown = await made(routes, prefix="in/", start="beginning")
    assert (shown["format"], shown["order"], shown["prefix"]) == ("cloudevents", "per key", "in/")
    assert [one["route"] for one in await admin(routes).every()] == ["alices"]
    end = (await routes.events.reader.audit_head("main")).next_position
    found = await admin(routes).show("alices")
    assert (found["acknowledged_to"], found["behind"]) == (0, end - 1)
    assert (await admin(routes).set_state("alices", "paused"))["state"] == "paused"
    assert (await admin(routes).show("alices"))["state"] == "paused"
    with pytest.raises(AdminRefused, match="not sent yet"):
        await admin(routes).replay("alices", str(end))
    assert (await admin(routes).replay("alices", "beginning"))["from"] == 1
    await admin(routes).remove("alices")
    with pytest.raises(AdminRefused, match="no route"):
        await admin(routes).show("alices")
    json.dumps(found)


async def test_what_cannot_work_is_refused_when_it_is_made(
    routes: RouteWorld, owner: tuple[CreateUser, CreateBucket]
) -> None:
    wrong: list[dict[str, Any]] = [
        {"destination": "kafka:fileflux.audit"},
        {
            "destination": "https://sqs.eu-west-1.amazonaws.com/123456789012/q",
            "form": "cloudevents",
        },
        {"event_names": ("s3:Everything",)},
        {"bucket": "nowhere"},
        {"bucket": "", "user": "nobody"},
        {"bucket": "photos", "user": "ada"},
        {"bucket": ""},
        {"name": "No name"},
        {"start": "yesterday"},
    ]
    for one in wrong:
        with pytest.raises((AdminRefused, Invalid)):
            await made(routes, **one)
    assert await routes.store.routes() == []
    await made(routes)
    with pytest.raises(AdminRefused, match="already"):
        await made(routes)


async def test_routes_of_a_user_and_to_queues_say_what_they_are(
    routes: RouteWorld, owner: tuple[CreateUser, CreateBucket]
) -> None:
    user, _ = owner
    every = await made(routes, bucket="", user=user.name)
    assert every["bucket"] == "all of the owner"
    (stored,) = await routes.store.routes()
    assert (stored.bucket_id, len(stored.owner_id)) == (b"", 16)
    queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/q"
    assert "not kept" in (await made(routes, "queue", destination=queue))["order"]
    assert (await made(routes, "fifo", destination=f"{queue}.fifo"))["order"] == "per key"


async def test_there_are_so_many_routes_and_no_more(
    routes: RouteWorld, owner: tuple[CreateUser, CreateBucket]
) -> None:
    for n in range(ROUTES_MAX):
        await routes.add(f"t{n}")
    with pytest.raises(AdminRefused, match="remove one first"):
        await made(routes)


async def test_a_dry_run_counts_and_shows_and_sends_nothing(routes: RouteWorld) -> None:
    await routes.events.happen(*[f"{n}.jpg" for n in range(8)], "x.txt")
    one = await routes.add("some", suffix=b".jpg", next_position=10)
    found = await admin(routes).would_send("some", "3")
    assert (found["would_send"], found["by_event"]) == (6, {"s3:ObjectCreated:Put": 6})
    assert json.loads(found["samples"][0])["key"] == "2.jpg"
    now = await routes.store.route(one.route_id)
    assert now is not None
    assert (now.next_position, now.replay_id) == (10, b"")
