"""What a bucket's notification configuration leads to, on a real database beside a dispatcher."""

import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.model.metadata_changes import ACTOR, AT_US, Maker
from tests.model.webhook_rows import BUCKET_ID
from tests.model.webhook_world import MASTER_KEY, WebhookWorld, until

from fileflux.core.changes import ConfigureBucket, DeleteBucket
from fileflux.core.ids import UploadId, UserId, new_id
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.notification import ENTRY, Notification, to_entry
from fileflux.webhooks.destinations import Destinations
from fileflux.webhooks.notifications import Notifications

URL = "https://a.example/hook"
RNG = random.Random(7)


@dataclass
class Bucket:
    """The bucket `photos`, its owner's destinations, and who configures it."""

    world: WebhookWorld
    direct: DirectWriter
    owner_id: UserId
    destinations: Destinations
    maker: Maker

    async def configure(self, *parts: Notification, announced: bool = True) -> None:
        """As ingest does it: the mark first, then the transaction."""
        position = await self.announce() if announced else 0
        parts = tuple(replace(one, first_position=position) for one in parts)
        await self.direct.submit(
            ConfigureBucket(
                upload_id=UploadId(self.maker.id()),
                actor=ACTOR,
                at_us=AT_US,
                bucket_id=BUCKET_ID,
                bucket="photos",
                entries={ENTRY: to_entry(parts)},
            )
        )

    async def announce(self) -> int:
        position = await self.world.end()
        await self.world.store.mark_bucket(BUCKET_ID, new_id(RNG), position)
        return position

    async def remove(self) -> None:
        await self.announce()
        await self.direct.submit(
            DeleteBucket(
                upload_id=UploadId(self.maker.id()),
                actor=ACTOR,
                at_us=AT_US,
                bucket_id=BUCKET_ID,
                bucket="photos",
            )
        )

    async def states(self) -> dict[str, str]:
        """Of the subscriptions, by the configuration's id."""
        every = await self.world.store.subscriptions()
        return {one.configuration_id: one.state for one in every}


@pytest.fixture
async def bucket(world: WebhookWorld) -> AsyncIterator[Bucket]:
    maker = Maker(RNG.randrange(1 << 30))
    direct = DirectWriter(world.database, rng=RNG)
    user = maker.user(f"owner-{RNG.random()}", UserId(RNG.randbytes(16)))
    made = replace(maker.bucket("photos"), bucket_id=BUCKET_ID, owner_id=user.user_id)
    for one in (user, made):
        assert (await direct.submit(one)).ok
    destinations = Destinations(world.store, world.reader, MASTER_KEY, world.clock)
    found = Bucket(world, direct, user.user_id, destinations, maker)
    yield found
    await found.remove()
    await direct.close()


def part(name: str = "one", **changed: Any) -> Notification:
    fields: dict[str, Any] = {
        "kind": "queue",
        "configuration_id": name,
        "arn": "arn:fileflux:webhook:::hook",
        "destination": "hook",
        "event_names": ("s3:ObjectCreated:*",),
        "subscription_id": new_id(RNG),
    }
    return Notification(**{**fields, **changed})


async def turn(world: WebhookWorld) -> Notifications:
    """What a dispatcher that starts derives subscriptions with."""
    cursor = await world.store.take_turn(1)
    return Notifications(world.store, world.clock, RNG, turn=cursor.turn)


def bodies(world: WebhookWorld) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body in world.receivers.attempts]


async def test_a_configuration_begins_with_a_test_event_and_tells_what_follows(
    bucket: Bucket,
) -> None:
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    await world.happen("before.jpg")
    async with world.dispatching():
        await bucket.configure(part("images", suffix=".jpg"), part("texts", suffix=".txt"))
        await world.happen("a.jpg", "b.txt", "c.png")
        await until(lambda: len(world.receivers.attempts) == 4)
    found = [body["Records"][0]["s3"] for body in bodies(world) if "Records" in body]
    assert sorted((one["configurationId"], one["object"]["key"]) for one in found) == [
        ("images", "a.jpg"),
        ("texts", "b.txt"),
    ]
    tests = [body for body in bodies(world) if body.get("Event") == "s3:TestEvent"]
    assert [one["Bucket"] for one in tests] == ["photos", "photos"]


async def test_a_part_that_stays_keeps_its_queue_and_one_that_goes_ends(bucket: Bucket) -> None:
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    kept, gone = part("kept", suffix=".jpg", is_tested=False), part("gone", suffix=".txt")
    async with world.dispatching():
        await bucket.configure(kept, gone)

        async def both() -> bool:
            return await bucket.states() == {"kept": "active", "gone": "active"}

        await until(both)
        before = await world.store.subscription(kept.subscription_id)
        await bucket.configure(kept)

        async def one() -> bool:
            return await bucket.states() == {"kept": "active"}

        await until(one)
        after = await world.store.subscription(kept.subscription_id)
        await bucket.configure()

        async def none() -> bool:
            return await bucket.states() == {}

        await until(none)
    assert before is not None
    assert after is not None
    assert before.created_us == after.created_us


async def test_a_change_that_is_committed_long_after_its_mark_was_read_is_noticed(
    bucket: Bucket,
) -> None:
    """A kill may fall between the mark and the transaction: the mark stays for a minute."""
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    await bucket.announce()
    async with world.dispatching():
        await world.happen("a.jpg")
        other = await world.subscribe("https://b.example/")
        await until(lambda: "a.jpg" in world.receivers.keys("https://b.example/"))
        await bucket.configure(part(is_tested=False), announced=False)
        await until(lambda: world.receivers.keys(URL) == ["a.jpg"])
        await world.live(other)


async def test_a_rebuilt_database_tells_again_when_its_destinations_are_back(
    bucket: Bucket,
) -> None:
    """The configuration came back with the bucket; subscriptions and destinations did not."""
    world = bucket.world
    await bucket.configure(part(is_tested=False), announced=False)
    await world.happen("of-before.jpg")
    async with world.dispatching():
        await bucket.destinations.create(bucket.owner_id, "hook", URL)

        async def is_there() -> bool:
            return await bucket.states() == {"one": "active"}

        await until(is_there)
        await world.happen("now.jpg")
        await until(lambda: len(world.receivers.attempts) == 1)
    assert world.receivers.keys(URL) == ["now.jpg"]


async def test_a_dispatcher_that_starts_finds_configurations_that_nobody_announced(
    bucket: Bucket,
) -> None:
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    await bucket.configure(part(is_tested=False), announced=False)
    async with world.dispatching():

        async def is_there() -> bool:
            return await bucket.states() == {"one": "active"}

        await until(is_there)


@pytest.mark.parametrize("what", ["configuration", "bucket"])
async def test_a_dispatcher_that_starts_ends_what_nobody_asks_for_any_more(
    what: str, bucket: Bucket
) -> None:
    """Also when the mark of the change is gone: whoever made it slept for longer than a minute."""
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    await bucket.configure(part(is_tested=False))
    notifications = await turn(world)
    await notifications.step(world.end)
    assert await bucket.states() == {"one": "active"}
    await (bucket.remove() if what == "bucket" else bucket.configure())
    await world.store.unmark([BUCKET_ID], 1 << 60)
    await notifications.step(world.end)
    assert await bucket.states() == {"one": "active"}, "there is no mark"
    await (await turn(world)).step(world.end)
    assert await bucket.states() == {}


async def test_a_part_is_told_nothing_of_the_time_before_it_was_put(bucket: Bucket) -> None:
    """Though the mark of a change before it is still there: it was put within the same minute."""
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    await bucket.configure(part("first", is_tested=False))
    await world.happen("before.jpg")
    await bucket.configure(part("second", is_tested=False))
    async with world.dispatching():
        await world.happen("after.jpg")
        await until(lambda: "after.jpg" in world.receivers.keys(URL))
    assert world.receivers.keys(URL) == ["after.jpg"]


async def test_many_new_parts_are_begun_a_few_at_a_time(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deliveries to others, and the lease, wait for a turn; a mark stays until all have begun."""
    monkeypatch.setattr("fileflux.webhooks.notifications.DERIVING_S", 0.0)
    monkeypatch.setattr("fileflux.webhooks.notifications.MARK_KEPT_US", -60_000_000)
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    await bucket.configure(*(part(f"{n}", prefix=f"{n}/") for n in range(5)))
    notifications = await turn(world)
    counts: list[int] = []
    while len(counts) < 6 and await world.store.marked_buckets(b"", 1):
        await notifications.step(world.end)
        counts.append(len(await bucket.states()))
    assert counts[0] < 5
    assert counts[-1] == 5
    assert counts == sorted(counts)


async def test_a_part_begins_again_when_what_was_there_is_removed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its destination was removed and made again; the row of before goes later than the mark."""
    monkeypatch.setattr("fileflux.webhooks.notifications.MARK_KEPT_US", -60_000_000)
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    one = part(is_tested=False)
    await bucket.configure(one)
    notifications = await turn(world)
    await notifications.step(world.end)
    (destination,) = await world.store.destinations_of([bucket.owner_id])
    await world.store.remove_destination(destination)
    await bucket.destinations.create(bucket.owner_id, "hook", "https://b.example/")
    await notifications.step(world.end)
    assert await bucket.states() == {}
    await world.store.remove(one.subscription_id)
    await notifications.step(world.end)
    assert await bucket.states() == {"one": "active"}


async def test_a_rotated_secret_signs_what_leads_to_its_destination(bucket: Bucket) -> None:
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    async with world.dispatching():
        await bucket.configure(part(is_tested=False))

        async def is_there() -> bool:
            return await bucket.states() == {"one": "active"}

        await until(is_there)
    await bucket.destinations.rotate_secret(bucket.owner_id, "hook")
    (one,) = await world.store.subscriptions()
    assert one.old_secret is not None
    async with world.dispatching():
        await world.happen("a.jpg")
        await until(lambda: len(world.receivers.attempts) == 1)
    signatures = world.receivers.attempts[0][1]["webhook-signature"].split(" ")
    assert len(signatures) == 2


async def test_a_dispatcher_that_was_overtaken_adds_and_ends_nothing(bucket: Bucket) -> None:
    world = bucket.world
    await bucket.destinations.create(bucket.owner_id, "hook", URL)
    (destination,) = await world.store.destinations_of([bucket.owner_id])
    cursor = await world.store.take_turn(1)
    one = await world.subscribe()
    derived = replace(one, subscription_id=new_id(RNG), destination_id=destination.destination_id)
    await world.store.put_derived(cursor.turn - 1, derived, None)
    assert await world.store.derived([BUCKET_ID]) == []
    await world.store.put_derived(cursor.turn, derived, None)
    assert len(await world.store.derived([BUCKET_ID])) == 1
    await world.store.end_derived(cursor.turn - 1, [derived.subscription_id])
    assert len(await world.store.derived([BUCKET_ID])) == 1
    await world.store.remove_destination(destination)
    assert await world.store.derived([BUCKET_ID]) == []
