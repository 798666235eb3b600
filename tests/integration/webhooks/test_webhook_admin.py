"""What `fileflux webhook` does, on a real database beside a running dispatcher."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.model.metadata_changes import Maker
from tests.model.webhook_rows import stamp_of
from tests.model.webhook_world import MASTER_KEY, WebhookWorld, until

from fileflux.core.changes import CreateBucket
from fileflux.core.errors import Invalid
from fileflux.metadata.direct import DirectWriter
from fileflux.webhooks.admin import NoSuchWebhook, Refused, Webhooks

URL = "https://a.example/hook"
EVENTS = ("s3:ObjectCreated:*",)


@pytest.fixture
async def bucket(world: WebhookWorld) -> CreateBucket:
    """The bucket `photos`, made as any other."""
    maker = Maker(random.randrange(1 << 30))
    direct = DirectWriter(world.database, rng=random.Random(5))
    change = maker.bucket()
    for one in (maker.user(), change):  # Another test may have made them.
        await direct.submit(one)
    await direct.close()
    return change


def hooks(world: WebhookWorld) -> Webhooks:
    return Webhooks(world.store, world.reader, MASTER_KEY)


async def made(world: WebhookWorld, **changed: Any) -> dict[str, Any]:
    """Create one, for the world's own bucket."""
    wanted: dict[str, Any] = {"form": "s3", "event_names": EVENTS, "prefix": "", "suffix": ""}
    return await hooks(world).create("photos", URL, **{**wanted, **changed})


async def test_a_secret_is_shown_once_and_stored_encrypted(
    world: WebhookWorld, bucket: CreateBucket
) -> None:
    answer = await made(world)
    secret = answer["secret"]
    assert secret.startswith("whsec_")
    for one in (await hooks(world).every(""), await hooks(world).show(answer["webhook"])):
        assert secret not in json.dumps(one)
        assert "secret" not in json.dumps(one)
    (stored,) = await world.store.subscriptions()
    assert secret.removeprefix("whsec_").encode() not in stored.secret


async def test_what_cannot_work_is_refused_when_it_is_created(
    world: WebhookWorld, bucket: CreateBucket
) -> None:
    with pytest.raises(Refused):
        await made(world, form="xml")
    with pytest.raises(Invalid):
        await made(world, event_names=("s3:Everything",))
    with pytest.raises(Invalid):
        await hooks(world).create(
            "photos", "https://u:p@x/", form="s3", event_names=EVENTS, prefix="", suffix=""
        )
    with pytest.raises(Refused):
        await hooks(world).create(
            "nowhere", URL, form="s3", event_names=EVENTS, prefix="", suffix=""
        )
    assert await world.store.subscriptions() == []


async def test_a_test_message_comes_back_with_the_receivers_answer(world: WebhookWorld) -> None:
    one = await world.subscribe(URL)
    async with world.dispatching():
        answer = await hooks(world).test(one.subscription_id.hex()[:6])
    assert answer["status"] == 204
    assert b"s3:TestEvent" in world.receivers.attempts[0][2]
    assert "fileflux-replay" not in world.receivers.attempts[0][1]


async def test_a_dry_run_counts_and_shows_and_sends_nothing(world: WebhookWorld) -> None:
    await world.happen(*[f"{n}.jpg" for n in range(8)], "x.txt")
    one = await world.subscribe(URL, suffix=b".jpg", next_position=10)
    name = one.subscription_id.hex()
    async with world.dispatching():
        found = await hooks(world).would_send(name, "beginning")
        assert found["would_send"] == 8
        assert found["by_event"] == {"s3:ObjectCreated:Put": 8}
        assert len(found["samples"]) == 5
        assert (await hooks(world).would_send(name, "5"))["would_send"] == 4
        assert world.receivers.attempts == []
        replay = await hooks(world).replay(name, "5", rate=100)
        assert (replay["from"], replay["to"]) == (5, 9)
        await until(lambda: len(world.receivers.taken) == 4)
    bodies = [body.decode() for _, _, body in world.receivers.attempts]
    assert found["samples"][4] in bodies, "a sample is what a replay sends"


async def test_a_replay_may_begin_at_a_time(world: WebhookWorld) -> None:
    for part in range(6):  # Several blocks: a time is looked up by halves.
        await world.happen(*[f"{part}-{n}" for n in range(5)])
    name = (await world.subscribe(URL, next_position=31)).subscription_id.hex()
    for position in (1, 2, 17, 30):
        moment = datetime.fromtimestamp(stamp_of(position) / 1_000_000, UTC)
        for text in (moment.isoformat(), moment.replace(tzinfo=None).isoformat()):
            found = await hooks(world).would_send(name, text)
            assert (found["from"], found["would_send"]) == (position, 31 - position)
    assert (await hooks(world).would_send(name, "1999-01-01"))["would_send"] == 30
    assert (await hooks(world).would_send(name, "2999-01-01"))["would_send"] == 0
    with pytest.raises(Refused):
        await hooks(world).would_send(name, "yesterday")


async def test_pause_resume_rotate_show_and_delete_by_the_beginning_of_an_id(
    world: WebhookWorld,
) -> None:
    one = await world.subscribe(URL)
    name = one.subscription_id.hex()[:8]
    assert (await hooks(world).set_state(name, "paused"))["state"] == "paused"
    assert (await hooks(world).show(name))["state"] == "paused"
    await hooks(world).set_state(name, "active")
    fresh = await hooks(world).rotate_secret(name)
    assert fresh["secret"] != world.secrets[one.subscription_id]
    await hooks(world).set_state(name, "deleted")
    with pytest.raises(NoSuchWebhook):
        await hooks(world).show(name)
    with pytest.raises(NoSuchWebhook):
        await hooks(world).show("ab")
