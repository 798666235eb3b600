"""Put and GetBucketNotificationConfiguration: what is taken, what is refused, what is kept."""

from typing import Any

import pytest
from tests.model.asgi_client import Response
from tests.model.rebuild_world import GivenRecords, number, rebuild, records_of
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, MASTER_KEY, S3World

from fileflux.ingest.notification_rules import EVENT_NAMES
from fileflux.ingest.notification_xml import PARTS_MAX
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.memory_webhooks import MemoryWebhooks
from fileflux.metadata.notification import ENTRY, Notification, from_config
from fileflux.metadata.webhook_rows import Destination
from fileflux.webhooks.destinations import Destinations

ARN = "arn:fileflux:webhook:us-east-1::hook"
URL = "https://example.com/hook"
CREATED = "s3:ObjectCreated:*"


def rule(name: str, value: str) -> str:
    return f"<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>"


def queue(
    name: str = "",
    *rules: str,
    events: tuple[str, ...] = (CREATED,),
    arn: str = ARN,
    kind: str = "Queue",
) -> str:
    given = f"<Id>{name}</Id>" if name else ""
    told = "".join(f"<Event>{event}</Event>" for event in events)
    filters = f"<Filter><S3Key>{''.join(rules)}</S3Key></Filter>" if rules else ""
    return (
        f"<{kind}Configuration>{given}<{kind}>{arn}</{kind}>{told}{filters}</{kind}Configuration>"
    )


async def put(caller: Caller, *parts: str, bucket: str = "photos", **headers: str) -> Response:
    body = (
        '<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{''.join(parts)}</NotificationConfiguration>"
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await caller("PUT", f"/{bucket}?notification", named, body.encode())


async def get(caller: Caller, bucket: str = "photos") -> Response:
    return await caller("GET", f"/{bucket}?notification")


async def stored(world: S3World) -> tuple[Notification, ...]:
    return from_config((await world.reader.find_buckets(["photos"]))["photos"].config)


@pytest.fixture
def store(s3_world: S3World) -> MemoryWebhooks:
    found = s3_world.deps.webhooks
    assert isinstance(found, MemoryWebhooks)
    return found


@pytest.fixture
async def hook(s3_world: S3World, store: MemoryWebhooks) -> dict[str, Any]:
    """Alice's destination `hook`."""
    some = Destinations(store, s3_world.reader, MASTER_KEY, s3_world.clock)
    return await some.create(ALICE.user_id, "hook", URL)


async def test_a_bucket_without_a_configuration_has_an_empty_one(alice: Caller) -> None:
    answer = await get(alice)
    assert answer.status == 200
    assert answer.xml().tag == "NotificationConfiguration"
    assert list(answer.xml()) == []


async def test_what_was_put_is_answered_again_by_kind_with_its_filter(
    alice: Caller, hook: dict[str, Any]
) -> None:
    answer = await put(
        alice,
        queue("jpg", rule("prefix", "in/"), rule("Suffix", ".jpg")),
        queue("txt", rule("suffix", ".txt"), kind="Topic"),
        queue("gone", events=("s3:ObjectRemoved:*",), kind="CloudFunction"),
    )
    assert answer.status == 200
    found = await get(alice)
    assert found.texts("QueueConfiguration/Id") == ["jpg"]
    assert found.texts("QueueConfiguration/Queue") == [ARN]
    assert found.texts("QueueConfiguration/Filter/S3Key/FilterRule/Value") == ["in/", ".jpg"]
    assert found.texts("TopicConfiguration/Topic") == [ARN]
    assert found.texts("CloudFunctionConfiguration/Event") == ["s3:ObjectRemoved:*"]
    assert found.texts("CloudFunctionConfiguration/Filter") == []


async def test_a_configuration_is_a_change_of_the_bucket_with_an_audit_record(
    alice: Caller, hook: dict[str, Any], s3_world: S3World, store: MemoryWebhooks
) -> None:
    """So a rebuild brings it back; the dispatcher is told before it is made."""
    before = await s3_world.reader.pending_audit(limit=100)
    await put(alice, queue("one"))
    assert len(await s3_world.reader.pending_audit(limit=100)) == len(before) + 1
    bucket = (await s3_world.reader.find_buckets(["photos"]))["photos"]
    ((name, position),) = store.marks
    assert name == bucket.bucket_id
    assert [one.first_position for one in await stored(s3_world)] == [position]
    assert ENTRY in bucket.config


async def test_a_rebuilt_database_has_the_configuration(
    alice: Caller, hook: dict[str, Any], s3_world: S3World
) -> None:
    await put(alice, queue("one", rule("prefix", "ä/")), queue("two", rule("prefix", "b")))
    await number(s3_world.database, s3_world.reader)
    records = await records_of(s3_world.reader)
    made = MemoryDatabase()
    await rebuild(GivenRecords(records), made)
    found = (await MemoryReader(made).find_buckets(["photos"]))["photos"]
    assert from_config(found.config) == await stored(s3_world) != ()


class Interrupted(MemoryWebhooks):
    """Its process is killed when a destination was just stored."""

    async def put_destination(self, one: Destination) -> bool:
        await super().put_destination(one)
        raise ConnectionResetError


async def test_a_destination_that_is_made_anew_is_announced_before_it_is_there(
    alice: Caller, hook: dict[str, Any], s3_world: S3World
) -> None:
    """Otherwise a kill between the two would leave its configurations silent."""
    await put(alice, queue("one"))
    store = Interrupted()
    some = Destinations(store, s3_world.reader, MASTER_KEY, s3_world.clock)
    with pytest.raises(ConnectionResetError):
        await some.create(ALICE.user_id, "hook", URL)
    bucket = (await s3_world.reader.find_buckets(["photos"]))["photos"]
    assert [name for name, _ in store.marks] == [bucket.bucket_id]


async def test_an_empty_configuration_removes_what_was_there(
    alice: Caller, hook: dict[str, Any], s3_world: S3World
) -> None:
    await put(alice, queue("one"))
    assert (await put(alice)).status == 200
    bucket = (await s3_world.reader.find_buckets(["photos"]))["photos"]
    assert ENTRY not in bucket.config
    assert list((await get(alice)).xml()) == []


async def test_a_part_that_stays_the_same_keeps_its_subscription(
    alice: Caller, hook: dict[str, Any], s3_world: S3World
) -> None:
    """Without an Id, too: clients put the whole configuration to change a bit of it."""
    await put(alice, queue("", rule("suffix", ".a")), queue("b", rule("suffix", ".b")))
    first = await stored(s3_world)
    await put(
        alice,
        queue("", rule("suffix", ".a")),
        queue("b", rule("suffix", ".bb"), rule("prefix", "x")),
        x_amz_skip_destination_validation="true",
    )
    second = await stored(s3_world)
    assert first[0] == second[0]
    assert first[1].subscription_id != second[1].subscription_id
    assert [one.is_tested for one in second] == [True, False]


@pytest.mark.parametrize(
    "arn",
    [
        "arn:fileflux:webhook:us-east-1::hook",
        "arn:fileflux:webhook:::hook",
        f"arn:fileflux:webhook:us-east-1:{ALICE.user_id.hex()}:hook",
        "arn:aws:sqs:us-east-1::hook",
        "arn:aws:sns:us-east-1::hook",
    ],
)
async def test_an_arn_names_a_destination_of_the_owner(
    arn: str, alice: Caller, hook: dict[str, Any]
) -> None:
    assert (await put(alice, queue("one", arn=arn))).status == 200


@pytest.mark.parametrize(
    "arn",
    [
        "arn:fileflux:webhook:us-east-1::other",
        "arn:fileflux:webhook:eu-west-1::hook",
        f"arn:fileflux:webhook:us-east-1:{'b' * 32}:hook",
        "arn:aws:sqs:us-east-1:123456789012:hook",
        "arn:aws:lambda:us-east-1::hook",
        "arn:minio:sqs::hook:webhook",
        "https://example.com/",
        "hook",
        "arn:fileflux:webhook:us-east-1::ho:ok",
        "arn:fileflux:webhook:us-east-1::" + "h" * 65,
    ],
)
async def test_an_unknown_arn_is_refused_with_what_to_do(
    arn: str, alice: Caller, hook: dict[str, Any], s3_world: S3World
) -> None:
    answer = await put(alice, queue("one", arn=arn))
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    message = answer.texts("Message")[0]
    assert "webhook-destinations" in message or "arn:fileflux:webhook" in message
    assert await stored(s3_world) == ()


async def test_a_destination_is_the_bucket_owners_whoever_puts(
    alice: Caller, bob: Caller, root: Caller, hook: dict[str, Any]
) -> None:
    """Bob cannot send Alice's events, nor his own to her receiver; root acts for the owner."""
    assert (await put(bob, queue("one"))).code == "AccessDenied"
    assert (await get(bob)).code == "AccessDenied"
    await bob("PUT", "/plans")
    assert (await put(bob, queue("one"), bucket="plans")).code == "InvalidArgument"
    assert (await put(root, queue("one"))).status == 200
    assert (await put(root, queue("one"), bucket="nowhere")).code == "NoSuchBucket"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (queue("a"), queue("b")),
        (queue("a"), queue("b", rule("prefix", "in/"))),
        (queue("a", rule("prefix", "in/")), queue("b", rule("prefix", "in/x"))),
        (queue("a", rule("suffix", "jpg")), queue("b", rule("suffix", ".jpg"))),
        (queue("a", rule("prefix", "in/")), queue("b", rule("suffix", ".jpg"))),
        (queue("a"), queue("b", events=("s3:ObjectCreated:Copy",), kind="Topic")),
    ],
)
async def test_overlapping_parts_are_refused_as_s3_does(
    one: str, other: str, alice: Caller, hook: dict[str, Any]
) -> None:
    answer = await put(alice, one, other)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert "overlap" in answer.texts("Message")[0]


@pytest.mark.parametrize(
    "other",
    [
        queue("b", events=("s3:ObjectRemoved:*",)),
        queue("b", rule("prefix", "out/")),
        queue("b", rule("prefix", "in/x"), rule("suffix", ".png")),
    ],
)
async def test_parts_that_no_key_could_share_may_stand_together(
    other: str, alice: Caller, hook: dict[str, Any]
) -> None:
    one = queue("a", rule("prefix", "in/"), rule("suffix", ".jpg"))
    assert (await put(alice, one, other)).status == 200


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((queue("a", events=()),), "MalformedXML"),
        ((queue("a", arn=""),), "MalformedXML"),
        ((queue("a", events=("s3:Everything",)),), "InvalidArgument"),
        ((queue("a", events=("s3:ObjectCreated:",)),), "InvalidArgument"),
        ((queue("a", events=("s3:ObjectRestore:*",)),), "InvalidArgument"),
        ((queue("a" * 256),), "InvalidArgument"),
        ((queue("a", rule("infix", "x")),), "InvalidArgument"),
        ((queue("a", rule("prefix", "x"), rule("prefix", "y")),), "InvalidArgument"),
        ((queue("a", rule("prefix", "x" * 1025)),), "InvalidArgument"),
        ((queue("a", rule("prefix", "a")), queue("a", rule("prefix", "b"))), "InvalidArgument"),
        (("<EventBridgeConfiguration/>",), "NotImplemented"),
        (("<Unknown/>",), "MalformedXML"),
        (("<QueueConfiguration><Queue>&xxe;</Queue></QueueConfiguration>",), "MalformedXML"),
        ((queue("a", events=(CREATED,) * 33),), "MalformedXML"),
        (("<!--" + "x" * 70_000 + "-->",), "MaxMessageLengthExceeded"),
    ],
)
async def test_what_s3_refuses_is_refused_and_nothing_changes(
    parts: tuple[str, ...], code: str, alice: Caller, hook: dict[str, Any], s3_world: S3World
) -> None:
    answer = await put(alice, *parts)
    assert answer.code == code
    assert 400 <= answer.status < 600
    assert answer.status != 500
    assert await stored(s3_world) == ()


async def test_a_configuration_has_a_hundred_parts_at_most(
    alice: Caller, hook: dict[str, Any]
) -> None:
    parts = [queue(f"{n}", rule("suffix", f"{n:03}")) for n in range(PARTS_MAX + 1)]
    assert (await put(alice, *parts[:PARTS_MAX])).status == 200
    assert (await put(alice, *parts)).code == "MalformedXML"
    split = [*parts[: PARTS_MAX // 2], *(one.replace("Queue", "Topic") for one in parts[50:])]
    assert (await put(alice, *split)).code == "MalformedXML"


async def test_events_are_compared_only_where_a_key_could_pass_both_filters(
    alice: Caller, hook: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """5,000 pairs of eight events each took 140 ms, in which no other request got on."""

    def compared(one: str, other: str) -> bool:
        raise AssertionError((one, other))

    monkeypatch.setattr("fileflux.ingest.notification_rules._overlap", compared)
    parts = [queue(f"{n}", rule("prefix", f"{n}/"), events=EVENT_NAMES) for n in range(3)]
    assert (await put(alice, *parts)).status == 200


async def test_a_body_that_is_missing_or_broken_is_refused(alice: Caller) -> None:
    for body in (b"", b"<", b"<Notification/>", b"\xff\xfe", b"<NotificationConfiguration>"):
        answer = await alice("PUT", "/photos?notification", {}, body)
        assert answer.status == 400
        assert answer.code in ("MalformedXML", "MissingRequestBodyError")


async def test_a_header_that_is_neither_true_nor_false_is_refused(
    alice: Caller, hook: dict[str, Any]
) -> None:
    answer = await put(alice, queue("one"), x_amz_skip_destination_validation="perhaps")
    assert answer.code == "NotImplemented"


async def test_a_bucket_that_goes_is_announced_so_that_its_notifications_end(
    alice: Caller, hook: dict[str, Any], store: MemoryWebhooks
) -> None:
    await put(alice, queue("one"))
    await alice("DELETE", "/photos/key")
    assert (await alice("DELETE", "/photos")).status == 204
    assert len(store.marks) == 2
