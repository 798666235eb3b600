"""Clients that follow the audit stream: each event once, in order, and nobody else's."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.model.asgi_client import Exchange
from tests.model.event_world import EventWorld, open_event_world, until
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, BOB, EVENT_STREAMS, MASTER_KEY, ROOT
from tests.security.signing import Wire, presign

from fileflux.core.changes import SetKeyActive
from fileflux.events.topics import AUDIT
from fileflux.ingest import answering, event_limits, event_stream
from fileflux.ingest.auth import Principal
from fileflux.ingest.event_cursor import Cursors
from fileflux.ingest.event_tail import EventTail
from fileflux.ingest.s3_errors import S3Error
from fileflux.metadata.audit_reader import AuditReader
from fileflux.metadata.chain import FIRST_POSITION

HIDDEN = ("effects", "prevhash", '"position"', "bundle", "node-", "stamp")


@pytest.fixture
async def events() -> AsyncIterator[EventWorld]:
    async with open_event_world() as made:
        assert (await made.alice("PUT", "/photos")).status == 200
        assert (await made.bob("PUT", "/plans")).status == 200
        await made.numbered()
        yield made


async def put(caller: Caller, bucket: str, *keys: str) -> None:
    for key in keys:
        assert (await caller("PUT", f"/{bucket}/{key}", {}, b"x")).status == 200


async def test_a_client_that_is_cut_again_and_again_sees_each_event_once_in_order(
    events: EventWorld,
) -> None:
    """It comes back with the last id that it has, as EventSource does by itself."""
    keys = [f"{number:03}" for number in range(40)]
    client = await events.follow(ALICE, "from=start&operation=PutObject")
    writing = asyncio.create_task(put(events.alice, "photos", *keys))
    seen: list[str] = []
    for cut_after in itertools.cycle((1, 2, 7, 3)):
        for _ in range(min(cut_after, len(keys) - len(seen))):
            seen.append((await client.event()).key)
        if len(seen) == len(keys):
            break
        last_id = client.last_id
        await client.close()
        client = await events.follow(ALICE, "from=start&operation=PutObject", last_id)
    await writing

    assert seen == keys


async def test_a_line_that_is_cut_before_the_first_event_begins_where_it_had_begun(
    events: EventWorld,
) -> None:
    client = await events.follow(ALICE)
    first_id = await client.heartbeat()
    await client.close()
    await put(events.alice, "photos", "missed")
    await events.numbered()

    again = await events.follow(ALICE, "", first_id)
    assert (await again.event()).key == "missed"


async def test_an_id_of_a_worker_that_has_read_further_is_taken(
    events: EventWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EventSource never comes back after a refusal, so a tail that is behind must not refuse."""
    client = await events.follow(ALICE, "from=start&operation=PutObject")
    await put(events.alice, "photos", "seen")
    assert (await client.event()).key == "seen"

    async def behind(tail: EventTail) -> int:
        del tail
        return FIRST_POSITION

    monkeypatch.setattr(EventTail, "end", behind)
    again = await events.follow(ALICE, "", client.last_id)
    await put(events.alice, "photos", "next")
    assert (await again.event()).key == "next"


async def test_a_tenant_sees_its_own_buckets_and_no_trace_of_others(events: EventWorld) -> None:
    """I16: neither their names, nor how much they write, nor where bytes lie."""
    client = await events.follow(ALICE, "from=start")
    await put(events.bob, "plans", *(f"secret-{n}" for n in range(5)))
    await put(events.alice, "photos", "mine")
    copied = {"x-amz-copy-source": "/plans/secret-1"}
    assert (await events.root("PUT", "/photos/copy", copied)).status == 200
    await put(events.alice, "photos", "end")
    seen = [await client.event()]
    while seen[-1].key != "end":
        seen.append(await client.event())

    assert [(one.operation, one.key) for one in seen] == [
        ("CreateBucket", ""),
        ("PutObject", "mine"),
        ("CopyObject", "copy"),
        ("PutObject", "end"),
    ]
    assert [int(one.data["sequence"]) for one in seen] == [1, 2, 3, 4], "no gap of its own"
    text = json.dumps([one.data for one in seen])
    assert not [word for word in (*HIDDEN, "plans", "secret", "bob") if word in text]
    assert len({len(one.id) for one in seen}) == 1
    assert not any(one.id.isdigit() for one in seen)


async def test_whoever_takes_a_name_later_sees_nothing_of_what_was_there_before(
    events: EventWorld,
) -> None:
    await put(events.bob, "plans", "secret")
    assert (await events.bob("DELETE", "/plans/secret")).status == 204
    assert (await events.bob("DELETE", "/plans")).status == 204
    assert (await events.alice("PUT", "/plans")).status == 200
    await events.numbered()

    of_alice = await events.search(ALICE, "bucket=plans")
    of_bob = await events.search(BOB, "bucket=plans")
    assert [one["data"]["operation"] for one in of_alice["events"]] == ["CreateBucket"]
    assert [one["data"]["operation"] for one in of_bob["events"]] == [
        *("CreateBucket", "PutObject", "DeleteObject", "DeleteBucket")
    ], "what was its own stays its own"


async def test_root_sees_everything_with_its_positions_and_the_chain(events: EventWorld) -> None:
    await put(events.bob, "plans", "k")
    end = await events.numbered()
    client = await events.follow(ROOT, "from=1")
    seen = [await client.event() for _ in range(1, end)]

    assert [one.id for one in seen] == [str(n) for n in range(1, end)]
    assert [int(one.data["position"]) for one in seen] == list(range(1, end))
    assert seen[0].data["prevhash"] == "0" * 64
    assert {"CreateUser", "CreateBucket", "PutObject"} <= {one.operation for one in seen}
    late = await events.follow(ROOT, f"from={end - 1}")
    assert (await late.event()).id == str(end - 1)


async def test_filters_and_times_choose_what_is_shown(events: EventWorld) -> None:
    await put(events.alice, "photos", "2025/a", "2026/a", "2026/b")
    assert (await events.alice("DELETE", "/photos/2026/a")).status == 204
    await events.numbered()
    everything = (await events.search(ALICE, ""))["events"]
    since = everything[-2]["time"]

    for query, keys in (
        ("from=start&prefix=2026/&operation=PutObject", ["2026/a", "2026/b"]),
        ("from=start&operation=DeleteObject,CreateBucket", ["", "2026/a"]),
        (f"from={since}", ["2026/b", "2026/a"]),
        ("from=start&bucket=photos&principal=alice&prefix=2025", ["2025/a"]),
    ):
        client = await events.follow(ALICE, query)
        assert [(await client.event()).key for _ in keys] == keys, query
        await client.close()


async def test_what_comes_is_sent_at_once_although_nothing_polls(
    events: EventWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await events.follow(ALICE)
    reads = 0
    read = AuditReader.read

    async def counted(self: AuditReader, *args: object, **options: object) -> object:
        nonlocal reads
        reads += self is events.world.deps.events.reader
        return await read(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(AuditReader, "read", counted)
    for number in range(5):
        await put(events.alice, "photos", f"{number}")
        assert (await client.event()).key == f"{number}"

    assert reads <= 12, "a stream at the end waits for the tail"


async def test_a_heartbeat_moves_the_id_on_over_what_is_not_shown(
    events: EventWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.05)
    client = await events.follow(ROOT, "from=1&operation=DeleteBucket")
    await put(events.bob, "plans", "k")
    end = await events.numbered()

    async with asyncio.timeout(10):
        while await client.heartbeat() != str(end - 1):
            pass
    tenants = await events.follow(BOB, "operation=DeleteBucket")
    ids = [await tenants.heartbeat() for _ in range(3)]
    assert len(set(ids)) == 3, "a new id says nothing, also when nothing happened"


async def test_a_key_that_is_switched_off_and_a_changed_password_end_a_stream(
    events: EventWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.05)
    signed = await events.open(events.bob.signed("GET", "/_fileflux/events"))
    assert signed.status == 200
    other = await events.open(events.alice.signed("GET", "/_fileflux/events"))
    off = SetKeyActive(**events.world._base(), access_key=BOB.access_key, active=False)
    assert (await events.world.submit(off)).ok

    assert await signed.ended()
    assert await other.heartbeat()
    assert await other.heartbeat(), "it goes on"


async def test_a_stream_that_never_rests_is_ended_too_when_its_key_is_switched_off(
    events: EventWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is always sent something never gets a heartbeat, which was when the key was asked for."""
    monkeypatch.setattr(event_stream, "PAGE_BYTES", 1)
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.05)
    await put(events.alice, "photos", *(f"{number}" for number in range(250)))
    await events.numbered()
    off = SetKeyActive(**events.world._base(), access_key=ALICE.access_key, active=False)
    pieces = StuckClient(events, events.alice.signed("GET", "/_fileflux/events?from=start"))
    pieces.pause_s = 0.02
    await until(lambda: len(pieces.pieces) > 3)
    assert (await events.world.submit(off)).ok
    async with asyncio.timeout(20):
        await pieces.task

    assert len(pieces.pieces) < 250


async def test_signed_requests_ask_under_a_name_that_no_bucket_has(events: EventWorld) -> None:
    """A bucket called `events` is S3's, with an object called `search` too."""
    assert (await events.alice("PUT", "/events")).status == 200
    await put(events.alice, "events", "search", "other")

    listed = await events.alice("GET", "/events?list-type=2")
    assert listed.texts("Contents/Key") == ["other", "search"]
    assert (await events.alice("GET", "/events/search")).body == b"x"
    assert (await events.alice.basic("GET", "/events/other")).body == b"x"
    assert (await events.alice.basic("HEAD", "/events/search")).status == 200
    await events.numbered()
    answer = await events.alice("GET", "/_fileflux/events/search?bucket=events")
    assert [one["data"].get("key") for one in json.loads(answer.body)["events"]] == [
        *(None, "search", "other")
    ]
    assert (await events.alice.presigned("GET", "/_fileflux/events/search")).status == 200


async def test_a_presigned_url_is_what_a_browsers_event_source_follows_and_resumes(
    events: EventWorld,
) -> None:
    """It sends no credentials, and headers of its own that nobody signed."""
    await put(events.alice, "photos", "a", "b")
    url = presign(
        "GET",
        "/_fileflux/events?from=start&operation=PutObject",
        access_key=ALICE.access_key,
        secret_key=ALICE.secret_key,
    )
    own = ((b"Accept", b"text/event-stream"), (b"Cache-Control", b"no-store"))
    client = await events.open(replace(url, headers=(*url.headers, *own)))
    assert (await client.event()).key == "a"
    resumed = (*own, (b"Last-Event-ID", client.last_id.encode()))
    again = await events.open(replace(url, headers=(*url.headers, *resumed)))

    assert (await again.event()).key == "b"


@pytest.mark.parametrize(
    "query",
    [
        *("from=yesterday", "from=-1", "from=1", "from=99999999999999999999", "from=%00"),
        *("cursor=7", "cursor=x", "cursor=" + "A" * 48, "cursor=%C3%A9", "operation=put"),
        *("buckets=a", "bucket=a&bucket=b", "limit=0", "limit=1001", "limit=x", "until=never"),
        *("until=3", "prefix=%ff", "from=9999-12-31T23:59:59-14:00&x=", "limit=%31%00"),
    ],
)
async def test_a_bad_parameter_is_told_and_nothing_breaks(query: str, events: EventWorld) -> None:
    """A misspelt filter would show everything."""
    for target in (f"/events?{query}", f"/events/search?{query}"):
        answer = await events.alice.basic("GET", target)
        assert answer.status == 400, (target, answer.body)
        assert answer.code in ("InvalidArgument", "InvalidURI"), answer.body


@pytest.mark.parametrize("last_id", ["7", "x", "A" * 48, "\xe9", "9" * 400, "0"])
async def test_a_wrong_last_event_id_is_told_and_shows_nothing(
    last_id: str, events: EventWorld
) -> None:
    answer = await events.alice.basic("GET", "/events", {"Last-Event-ID": last_id})
    beyond = await events.root.basic("GET", "/events", {"Last-Event-ID": "999999"})

    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert (beyond.status, beyond.code) == (400, "InvalidArgument"), "another history"


async def test_nobody_is_answered_nothing(events: EventWorld) -> None:
    wrong = Caller(events.world.app, BOB)
    wrong.user = ALICE.__class__("bob", BOB.access_key, "wrong", "wrong password")
    for target in ("/events", "/events/search"):
        assert (await wrong.basic("GET", target)).status == 401
    for target in ("/_fileflux/events", "/_fileflux/events/search"):
        assert (await wrong("GET", target)).status == 403
    with_body = await events.alice.basic("GET", "/events", {}, b"body")
    assert (with_body.status, with_body.code) == (400, "InvalidRequest")


async def test_too_many_streams_are_told_to_slow_down_and_places_come_back(
    events: EventWorld,
) -> None:
    limits = events.world.deps.events.limits
    clients = [await events.follow(BOB) for _ in range(event_limits.STREAMS_PER_USER_MAX)]
    refused = await events.follow(BOB)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert b"SlowDown" in await refused.body()
    others = [await events.follow(ALICE) for _ in range(EVENT_STREAMS - len(clients))]
    assert {client.status for client in others} == {200}
    assert (await events.follow(ROOT)).status == 503

    for client in clients + others:
        await client.close()
    await until(lambda: limits.stream_count == 0)
    assert events.world.is_idle(), "a client that hangs up is noticed although nothing is sent"
    assert (await events.follow(BOB)).status == 200


class StuckClient:
    """Takes the head and the first piece of an answer, then nothing until it is told to.

    `pause_s`: it takes the pieces so slowly instead.
    """

    def __init__(self, events: EventWorld, wire: Wire | None = None) -> None:
        wire = wire or events.alice.basic_wire("GET", "/events?from=start")
        self._exchange = Exchange(wire, [], None)
        self.pause_s: float | None = None
        self.may_take = asyncio.Event()
        self.pieces: list[bytes] = []
        self.task = asyncio.create_task(
            events.world.app(self._exchange.scope(), self._exchange.receive, self._send)
        )

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self.pieces.append(message["body"])
            if self.pause_s is not None:
                await asyncio.sleep(self.pause_s)
            elif len(self.pieces) > 1:
                await self.may_take.wait()


async def test_a_client_that_does_not_read_costs_neither_memory_nor_others_time(
    events: EventWorld,
) -> None:
    stuck = StuckClient(events)
    await until(lambda: len(stuck.pieces) == 2)
    quick = await events.follow(ALICE)
    used = events.world.memory.used_bytes
    for number in range(40):
        await put(events.alice, "photos", f"{number}")
        assert (await quick.event()).key == f"{number}"

    assert len(stuck.pieces) == 2, "nothing is read for who takes nothing"
    assert events.world.memory.used_bytes == used == 2 * event_limits.STREAM_BYTES
    stuck.may_take.set()
    await until(lambda: b"".join(stuck.pieces).count(b"data: ") == 41)
    events.world.deps.events.close()
    await stuck.task


async def test_a_client_that_takes_nothing_for_too_long_is_cut_off(
    events: EventWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "SLOW_S_MAX", 0.05)
    monkeypatch.setattr(answering, "SLOW_BYTES_S_MIN", 1 << 20)
    stuck = StuckClient(events)

    with pytest.raises(TimeoutError):
        await stuck.task
    assert events.world.deps.events.limits.stream_count == 0
    assert events.world.is_idle()


async def test_a_broker_that_is_wiped_or_away_costs_no_event(events: EventWorld) -> None:
    client = await events.follow(ALICE)
    seen = []
    for number in range(12):
        if number == 4:
            events.world.broker.wipe(AUDIT)
        await put(events.alice, "photos", f"{number}")
        seen.append((await client.event()).key)

    assert seen == [str(number) for number in range(12)]


async def test_a_worker_that_stops_ends_its_streams_at_once(events: EventWorld) -> None:
    clients = [await events.follow(user) for user in (ALICE, BOB, ROOT)]
    events.world.deps.events.close()

    assert [await client.ended() for client in clients] == [True, True, True]
    assert events.world.deps.events.limits.stream_count == 0


async def test_a_search_gives_every_event_once_page_by_page(events: EventWorld) -> None:
    await put(events.alice, "photos", *(f"{n}" for n in range(23)))
    end = await events.numbered()
    for user, count in ((ROOT, end - 1), (ALICE, 24), (BOB, 1)):
        found, cursor, pages = [], "", 0
        while cursor is not None:
            page = await events.search(user, f"limit=5&cursor={cursor}")
            found += page["events"]
            cursor, pages = page["next"], pages + 1
            assert len(page["events"]) <= 5
        assert len({one["id"] for one in found}) == len(found) == count
        assert pages == count // 5 + 1


async def test_a_search_ends_where_it_was_told(events: EventWorld) -> None:
    await put(events.alice, "photos", "a", "b", "c")
    end = await events.numbered()
    found = await events.search(ROOT, f"from={end - 3}&until={end - 1}")
    times = [one["time"] for one in found["events"]]

    assert [one["data"]["key"] for one in found["events"]] == ["a", "b"]
    assert found["next"] is None
    assert (await events.search(ALICE, f"until={times[1]}&prefix=a"))["events"] != []
    assert (await events.search(ALICE, f"until={times[1]}&prefix=b"))["events"] == []


def test_a_cursor_is_its_users_and_nobody_elses() -> None:
    cursors = Cursors(MASTER_KEY)
    alice, bob = (Principal(user.user_id, user.name) for user in (ALICE, BOB))
    text = cursors.text_of(1234, alice)

    assert Cursors(MASTER_KEY).position_of(text, alice) == 1234, "any worker reads it"
    assert cursors.text_of(1234, alice) != text
    for who, wrong in ((bob, text), (alice, text[:-1] + "A"), (alice, "1234"), (alice, "")):
        with pytest.raises(S3Error):
            cursors.position_of(wrong, who)
