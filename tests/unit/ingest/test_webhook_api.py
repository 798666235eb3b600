"""The webhook endpoints: the life of a webhook, each tenant its own, errors in words."""

import json
import random
from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from tests.model.asgi_client import Response, exchange
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, BOB, MASTER_KEY, S3World
from tests.security.signing import Wire

from fileflux.ingest import webhook_api
from fileflux.ingest.app import S3App
from fileflux.ingest.bucket_directory import BucketDirectory
from fileflux.ingest.json_routes import JsonRoute
from fileflux.ingest.openapi import document
from fileflux.ingest.webhook_routes import ROUTES
from fileflux.metadata.identity import decrypt_secret
from fileflux.metadata.memory_webhooks import MemoryWebhooks
from fileflux.metadata.rows import BucketRow
from fileflux.metadata.webhook_rows import AttemptRow, DeadLetter, ReplayRow
from fileflux.webhooks.destinations import DESTINATIONS_MAX

URL = "https://example.com/hook"
HOOKS = "/_fileflux/webhooks"
PLACES = "/_fileflux/webhook-destinations"
JSON = {"content-type": "application/json"}
POSITIONS = webhook_api.ROOTS


@pytest.fixture
def store(s3_world: S3World) -> MemoryWebhooks:
    found = s3_world.deps.webhooks
    assert isinstance(found, MemoryWebhooks)
    return found


async def ask(
    caller: Caller, method: str, target: str, body: Any = None
) -> tuple[int, dict[str, Any]]:
    raw = b"" if body is None else json.dumps(body).encode()
    answer = await caller(method, target, JSON if raw else {}, raw)
    return answer.status, dict(json.loads(answer.body))


async def make(caller: Caller, **fields: Any) -> dict[str, Any]:
    status, made = await ask(caller, "POST", HOOKS, {"bucket": "photos", "url": URL, **fields})
    assert status == 201, made
    return made


def problem(answer: Response) -> tuple[int, str]:
    """The status and code of an error, which must have the form of RFC 9457."""
    assert answer.headers["content-type"] == "application/problem+json", answer
    found = json.loads(answer.body)
    assert found["status"] == answer.status
    assert found.keys() == {"type", "title", "status", "detail", "code", "request_id"}
    assert found["request_id"] == answer.headers["x-amz-request-id"]
    return answer.status, found["code"]


async def test_a_webhook_is_made_shown_paused_resumed_and_removed(
    alice: Caller, store: MemoryWebhooks
) -> None:
    made = await make(alice, suffix=".jpg", events=["s3:ObjectCreated:*"])
    name, secret = made["webhook"], made.pop("secret")
    (stored,) = await store.subscriptions()
    assert decrypt_secret(MASTER_KEY, stored.secret_name, stored.secret) == secret
    assert await ask(alice, "GET", HOOKS) == (200, {"webhooks": [made], "next": None})
    status, found = await ask(alice, "GET", f"{HOOKS}/{name}")
    assert (status, found["state"], found["waiting"], found["dead"]) == (200, "active", 0, 0)
    assert secret not in json.dumps(found)
    for verb, state in (("pause", "paused"), ("resume", "active")):
        answer = await ask(alice, "POST", f"{HOOKS}/{name}/{verb}")
        assert answer == (200, {"webhook": name, "state": state})
    assert (await ask(alice, "DELETE", f"{HOOKS}/{name}"))[1]["state"] == "deleted"
    assert (await ask(alice, "GET", f"{HOOKS}/{name}"))[0] == 404


async def test_a_test_message_is_queued_and_its_attempt_tells_the_rest(
    alice: Caller, store: MemoryWebhooks
) -> None:
    name = (await make(alice))["webhook"]
    status, sent = await ask(alice, "POST", f"{HOOKS}/{name}/test")
    assert status == 202
    (delivery,) = store.deliveries
    assert delivery.message_id == sent["event_id"]
    store.note(
        AttemptRow(
            subscription_id=bytes.fromhex(name),
            at_us=1,
            attempt_id=b"a",
            message_id=sent["event_id"],
            status=204,
            latency_us=1_500,
            head="date: today",
            problem="",
        )
    )
    _, found = await ask(alice, "GET", f"{HOOKS}/{name}/attempts?limit=5")
    assert [(one["status"], one["latency_ms"]) for one in found["attempts"]] == [(204, 1.5)]
    await ask(alice, "POST", f"{HOOKS}/{name}/pause")
    assert (await ask(alice, "POST", f"{HOOKS}/{name}/test"))[0] == 409


async def test_a_rotated_secret_is_told_once_and_the_old_one_still_signs(
    alice: Caller, store: MemoryWebhooks
) -> None:
    made = await make(alice)
    status, fresh = await ask(alice, "POST", f"{HOOKS}/{made['webhook']}/rotate-secret")
    (one,) = await store.subscriptions()
    assert status == 200
    assert decrypt_secret(MASTER_KEY, one.secret_name, one.secret) == fresh["secret"]
    assert one.old_secret is not None
    assert decrypt_secret(MASTER_KEY, one.secret_name, one.old_secret) == made["secret"]


async def test_dead_letters_are_shown_and_sent_again(alice: Caller, store: MemoryWebhooks) -> None:
    name = (await make(alice))["webhook"]
    letter = DeadLetter(
        message_id="e1",
        event_name="s3:ObjectCreated:Put",
        position=7,
        attempts=13,
        dead_us=1,
        problem="HTTP 500",
        body=b"{}",
    )
    store.dead = [(bytes.fromhex(name), letter)] * 3
    _, found = await ask(alice, "GET", f"{HOOKS}/{name}/dead-letters")
    assert [one["problem"] for one in found["dead_letters"]] == ["HTTP 500"] * 3
    assert POSITIONS.isdisjoint(found["dead_letters"][0])
    answer = await ask(alice, "POST", f"{HOOKS}/{name}/redrive")
    assert answer == (200, {"webhook": name, "queued": 3, "left": 0})


async def test_a_replay_begins_at_a_time_and_root_may_name_a_position(
    alice: Caller, root: Caller, store: MemoryWebhooks
) -> None:
    name = (await make(alice))["webhook"]
    status, begun = await ask(alice, "POST", f"{HOOKS}/{name}/replay", {"from": "2020-01-01"})
    assert (status, begun["per_second"]) == (202, 50)
    assert POSITIONS.isdisjoint(begun)
    status, seen = await ask(alice, "POST", f"{HOOKS}/{name}/dry-run")
    assert (status, seen["would_send"], seen["complete"]) == (200, 0, True)
    assert POSITIONS.isdisjoint(seen)
    for wrong in ({"from": "5"}, {"from": "yesterday"}, {"from": "9" * 5000}, {"per_second": 0}):
        assert (await ask(alice, "POST", f"{HOOKS}/{name}/replay", wrong))[0] == 400
    status, begun = await ask(root, "POST", f"{HOOKS}/{name}/replay", {"from": "1"})
    assert (status, begun["from"]) == (202, 1)


async def test_replays_at_once_are_few(alice: Caller, store: MemoryWebhooks) -> None:
    name = (await make(alice))["webhook"]
    store.running = [
        ReplayRow(
            subscription_id=bytes.fromhex(name),
            run_id=bytes([n]),
            next_position=1,
            end_position=2,
            rate=1,
        )
        for n in range(webhook_api.REPLAYS_MAX)
    ]
    assert (await ask(alice, "POST", f"{HOOKS}/{name}/replay"))[0] == 409


async def test_searching_the_past_too_often_at_once_is_put_off(
    alice: Caller, s3_world: S3World
) -> None:
    name = (await make(alice))["webhook"]
    limits = s3_world.deps.events.limits
    with limits.searching(), limits.searching(), limits.searching(), limits.searching():
        answer = await alice("POST", f"{HOOKS}/{name}/dry-run")
    assert problem(answer) == (503, "SlowDown")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("route", [one for one in ROUTES if "{webhook}" in one.path])
async def test_another_tenants_webhook_is_not_there(
    route: Any, alice: Caller, bob: Caller, root: Caller, store: MemoryWebhooks
) -> None:
    """The same answer as for an id that nobody has; root may do everything."""
    name = (await make(alice))["webhook"]
    target = f"/_fileflux/{route.path.replace('{webhook}', name)}"
    theirs = await bob(route.method, target)
    nobodys = await bob(route.method, target.replace(name, "0" * 32))
    assert problem(theirs) == problem(nobodys) == (404, "NoSuchEntity")
    assert await store.subscriptions() != []
    assert (await root(route.method, target)).status in (200, 202)


async def test_a_tenant_sees_and_makes_webhooks_of_its_own_buckets_only(
    alice: Caller, bob: Caller, root: Caller
) -> None:
    made = await make(alice)
    theirs = await bob("POST", HOOKS, JSON, b'{"bucket": "photos", "url": "https://b.example/"}')
    assert problem(theirs) == (403, "AccessDenied")
    missing = await bob("POST", HOOKS, JSON, b'{"bucket": "missing", "url": "https://b.example/"}')
    assert problem(missing) == (404, "NoSuchBucket")
    assert (await ask(bob, "GET", HOOKS))[1]["webhooks"] == []
    assert problem(await bob("GET", f"{HOOKS}?bucket=photos")) == (403, "AccessDenied")
    assert problem(await bob("GET", f"{HOOKS}?owner=alice")) == (403, "AccessDenied")
    for query in ("?bucket=photos", "?owner=alice"):
        _, found = await ask(root, "GET", f"{HOOKS}{query}")
        assert [one["webhook"] for one in found["webhooks"]] == [made["webhook"]]
    assert problem(await root("GET", f"{HOOKS}?owner=zoe")) == (404, "NoSuchEntity")


class Former(BucketDirectory):
    """Of a worker that has not heard yet what others did to buckets."""

    def __init__(self, row: BucketRow) -> None:
        self._row = row

    async def find(self, name: str) -> BucketRow:
        return self._row


async def test_a_bucket_that_became_somebody_elses_gets_no_webhook_of_its_former_owner(
    alice: Caller, bob: Caller, s3_world: S3World, store: MemoryWebhooks
) -> None:
    stale = replace(s3_world.deps, buckets=Former(await s3_world.deps.buckets.find("photos")))
    await alice("DELETE", "/photos/key")
    assert (await alice("DELETE", "/photos")).status == 204
    assert (await bob("PUT", "/photos")).status == 200
    elsewhere = Caller(S3App(stale, host_id="another worker"), ALICE)
    body = b'{"bucket": "photos", "url": "https://a.example/"}'
    assert problem(await elsewhere("POST", HOOKS, JSON, body)) == (404, "NoSuchBucket")
    assert await store.subscriptions() == []


async def test_a_list_is_read_page_by_page(alice: Caller) -> None:
    names = sorted([(await make(alice))["webhook"] for _ in range(5)])
    seen, after = [], ""
    while after is not None:
        _, page = await ask(alice, "GET", f"{HOOKS}?limit=2&after={after}")
        seen += [one["webhook"] for one in page["webhooks"]]
        after = page["next"]
    assert seen == names


async def test_a_bucket_has_a_bounded_number_of_webhooks(
    alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_api, "PER_BUCKET_MAX", 2)
    await make(alice)
    await make(alice)
    answer = await alice("POST", HOOKS, JSON, b'{"bucket": "photos", "url": "https://a.example/"}')
    assert problem(answer) == (409, "OperationAborted")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"7",
        b"[" * 10_000,
        b'{"bucket": "photos"}',
        b'{"bucket": "photos", "url": 7}',
        b'{"bucket": "photos", "url": "https://a.example/", "secret": "mine"}',
        b'{"bucket": "photos", "url": "https://a.example/", "format": "xml"}',
        b'{"bucket": "photos", "url": "https://a.example/", "events": []}',
        b'{"bucket": "photos", "url": "https://a.example/", "events": ["s3:Everything"]}',
        b'{"bucket": "photos", "url": "https://a.example/", "prefix": "\\ud800"}',
        b'{"bucket": "\\u0000", "url": "https://a.example/"}',
        b'{"bucket": "photos", "url": "https://u:p@a.example/"}',
        b'{"bucket": "photos", "url": "https://a.example:99999/"}',
        b'{"bucket": "photos", "url": "file:///etc/passwd"}',
        b'{"bucket": "photos", "url": "https://2130706433/"}',
        b'{"bucket": "photos", "url": "https://a.example/#x"}',
        b'{"bucket": "photos", "url": "' + b"x" * 3000 + b'"}',
        b"\xff\xfe",
    ],
)
async def test_a_body_that_means_nothing_is_refused_in_words(
    body: bytes, alice: Caller, store: MemoryWebhooks
) -> None:
    answer = await alice("POST", HOOKS, JSON, body)
    assert problem(answer)[0] == 400
    assert json.loads(answer.body)["detail"]
    assert await store.subscriptions() == []


async def test_other_hostile_requests_are_refused_in_the_same_form(alice: Caller) -> None:
    name = (await make(alice))["webhook"]
    body = b'{"bucket": "photos", "url": "https://a.example/"}'
    assert problem(await alice("POST", HOOKS, {"content-type": "text/plain"}, body))[0] == 415
    assert "415" in told("CreateWebhook")
    assert problem(await alice("POST", HOOKS, JSON, b" " * 70_000))[0] == 400
    assert problem(await alice("PUT", HOOKS, JSON, body))[0] == 405
    assert problem(await alice("GET", f"{HOOKS}/{name}/secret"))[0] == 404
    assert problem(await alice("GET", f"{HOOKS}/"))[0] == 404
    assert problem(await alice("GET", f"{HOOKS}/../{name}"))[0] == 404
    assert problem(await alice("GET", f"{HOOKS}/{name[:8]}"))[0] == 404
    assert problem(await alice("GET", f"{HOOKS}?limit=0"))[0] == 400
    assert problem(await alice("GET", f"{HOOKS}?limit=1&limit=2"))[0] == 400
    assert problem(await alice("GET", f"{HOOKS}?after=zz"))[0] == 400
    assert problem(await alice("GET", f"{HOOKS}?colour=red"))[0] == 400
    assert problem(await alice("GET", f"{HOOKS}/{name}/attempts", {}, b"{}"))[0] == 400
    assert (await alice("HEAD", HOOKS)).status == 405


STRANGE: tuple[Any, ...] = (
    *("", "\x00", "é\u2028", "../..", "x" * 300, "9" * 5000, "beginning", "s3:*", ":*", URL),
    *("0001-01-01T00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "https://[::1]/", "photos"),
    *(
        None,
        True,
        0,
        -1,
        1 << 70,
        1e308,
        [],
        [[]],
        [None],
        {},
        {"from": {}},
        ["s3:ObjectCreated:*"],
    ),
)
WORDS = ("%00", "..", "%2e", "%C3%A9", "hook", "0" * 32, "z" * 32, "x" * 900, "{webhook}")
WHOLE = {
    "CreateWebhook": {"bucket": "photos", "url": URL},
    "CreateDestination": {"name": "hook", "url": URL},
}


def spoilt(route: JsonRoute, name: str, rng: random.Random) -> tuple[str, bytes]:
    """A request of a route in which one thing is strange, of path, query or body; or none."""
    what = rng.choice(("path", "query", "body", "nothing"))
    word = rng.choice(WORDS) if what == "path" else ""
    path = route.path.replace("{webhook}", word or name).replace("{destination}", word or "hook")
    query = ""
    if what == "query":
        known = [*route.query.model_json_schema().get("properties", {}), "colour"]
        query = f"?{rng.choice(known)}={quote(str(rng.choice(STRANGE)))[:2000]}"
    if route.body is None:
        return f"{path}{query}", b""
    given = dict(WHOLE.get(route.name, {}))
    if what == "body":
        known = [*route.body.model_json_schema().get("properties", {}), "colour"]
        given[rng.choice(known)] = rng.choice(STRANGE)
    return f"{path}{query}", json.dumps(given).encode()


async def test_whatever_is_sent_is_answered_as_the_document_says_and_never_by_an_error_of_ours(
    alice: Caller, root: Caller
) -> None:
    rng = random.Random(22)
    name = (await make(alice))["webhook"]
    statuses: Counter[int] = Counter()
    for _ in range(600):
        route = rng.choice([one for one in ROUTES if one.name != "DeleteWebhook"])
        target, raw = spoilt(route, name, rng)
        caller = rng.choice((alice, root))
        headers = JSON if raw else {}
        answer = await caller.basic(route.method, f"/_fileflux/{target}", headers, raw)
        assert answer.status < 500, (route.name, target, raw, answer.body)
        assert str(answer.status) in told(route.name), (target, answer.body)
        statuses[answer.status] += 1
    assert statuses.keys() >= {200, 201, 202, 400, 403, 404, 409}, statuses


async def test_who_does_not_prove_who_asks_is_refused_in_the_same_form(s3_world: S3World) -> None:
    wire = Wire("GET", HOOKS.encode(), b"", ((b"Host", b"localhost"),))
    assert problem(await exchange(s3_world.app, wire, b"")) == (403, "AccessDenied")
    assert {"401", "403"} <= told("ListWebhooks").keys() & told("GetWebhook").keys()
    wrong = Caller(s3_world.app, type(BOB)("bob", "", "", "wrong password"))
    answer = await wrong.basic("GET", HOOKS)
    assert problem(answer)[0] == 401
    assert answer.headers["www-authenticate"].startswith("Basic")


async def test_a_password_and_a_presigned_url_serve_as_well(alice: Caller) -> None:
    made = await make(alice)
    paused = await alice.basic("POST", f"{HOOKS}/{made['webhook']}/pause")
    assert paused.status == 200, "curl -X POST says no length"
    for answer in (await alice.basic("GET", HOOKS), await alice.presigned("GET", HOOKS)):
        assert answer.status == 200
        assert json.loads(answer.body)["webhooks"][0]["webhook"] == made["webhook"]


async def test_a_destination_is_made_used_rotated_and_removed_when_nobody_names_it(
    alice: Caller, bob: Caller, root: Caller, store: MemoryWebhooks
) -> None:
    status, made = await ask(alice, "POST", PLACES, {"name": "hook", "url": URL})
    assert (status, made["owner"]) == (201, ALICE.user_id.hex())
    assert (await ask(alice, "POST", PLACES, {"name": "hook", "url": URL}))[0] == 409
    assert (await ask(bob, "POST", PLACES, {"name": "hook", "url": URL}))[0] == 201
    xml = (
        "<NotificationConfiguration><QueueConfiguration>"
        f"<Queue>{made['arn']}</Queue><Event>s3:ObjectCreated:*</Event>"
        "</QueueConfiguration></NotificationConfiguration>"
    )
    assert (await alice("PUT", "/photos?notification", {}, xml.encode())).status == 200
    _, found = await ask(root, "GET", f"{PLACES}/hook?owner=alice")
    assert found["buckets"] == ["photos"]
    answer = await alice("DELETE", f"{PLACES}/hook")
    assert problem(answer) == (409, "OperationAborted")
    assert "photos" in json.loads(answer.body)["detail"]
    _, fresh = await ask(alice, "POST", f"{PLACES}/hook/rotate-secret")
    (one,) = await store.destinations_of([ALICE.user_id])
    assert decrypt_secret(MASTER_KEY, one.destination_id.hex(), one.secret) == fresh["secret"]
    await alice("PUT", "/photos?notification", {}, b"<NotificationConfiguration/>")
    assert (await ask(alice, "DELETE", f"{PLACES}/hook"))[0] == 200
    assert (await ask(alice, "GET", PLACES))[1] == {"destinations": []}
    assert len((await ask(bob, "GET", PLACES))[1]["destinations"]) == 1


async def test_destinations_of_others_and_too_many_are_refused(
    alice: Caller, bob: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DESTINATIONS_MAX == 100
    monkeypatch.setattr("fileflux.webhooks.destinations.DESTINATIONS_MAX", 1)
    assert (await ask(alice, "POST", PLACES, {"name": "one", "url": URL}))[0] == 201
    assert (await ask(alice, "POST", PLACES, {"name": "two", "url": URL}))[0] == 409
    assert problem(await bob("GET", f"{PLACES}/one"))[0] == 404
    assert problem(await bob("DELETE", f"{PLACES}/one?owner=alice"))[0] == 403
    for name in ("", "../x", "a b", "é", "x" * 65, "a\n", "-a"):
        assert (await ask(bob, "POST", PLACES, {"name": name, "url": URL}))[0] == 400


async def test_everybody_may_read_the_openapi_document(s3_world: S3World) -> None:
    wire = Wire("GET", b"/_fileflux/openapi.json", b"", ((b"Host", b"localhost"),))
    answer = await exchange(s3_world.app, wire, b"")
    assert answer.status == 200
    assert json.loads(answer.body) == document()


async def test_what_is_answered_is_what_the_document_says(
    alice: Caller, root: Caller, store: MemoryWebhooks
) -> None:
    """By the schemas of the document itself, and nothing beside them."""
    place = (await ask(alice, "POST", PLACES, {"name": "hook", "url": URL}))[1]
    checked = {"CreateDestination", "CreateWebhook"}
    _validate("CreateDestination", 201, place)
    for caller in (alice, root):
        name = (await make(alice))["webhook"]
        for route in ROUTES:
            if route.name in ("CreateDestination", "CreateWebhook", "DeleteDestination"):
                continue
            path = route.path.replace("{webhook}", name).replace("{destination}", "hook")
            if route.name == "DeleteWebhook":
                path = path.replace(name, (await make(alice))["webhook"])
            query = "?owner=alice" if "destinations" in path else ""
            status, found = await ask(caller, route.method, f"/_fileflux/{path}{query}")
            assert status == route.status, (route.name, found)
            _validate(route.name, status, found)
            checked.add(route.name)
    status, found = await ask(alice, "DELETE", f"{PLACES}/hook")
    _validate("DeleteDestination", status, found)
    assert checked | {"DeleteDestination"} == {route.name for route in ROUTES}


def told(operation: str) -> dict[str, Any]:
    """What the document says of an operation's answers, by status."""
    return next(
        dict(one["responses"])
        for methods in document()["paths"].values()
        for one in methods.values()
        if one["operationId"] == operation
    )


def _validate(operation: str, status: int, found: dict[str, Any]) -> None:
    whole = document()
    schema = told(operation)[str(status)]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": whole["components"]}).validate(found)
    name = schema["$ref"].rpartition("/")[2]
    assert found.keys() <= whole["components"]["schemas"][name]["properties"].keys()
