"""No credential of a request is in any record of the audit stream, whatever clients send where."""

import base64
import json
from collections.abc import AsyncIterator

import pytest
from tests.model.asgi_client import exchange
from tests.model.s3_caller import Caller
from tests.model.s3_requests import form_request
from tests.model.s3_world import ALICE, CAROL, MASTER_KEY, ROOT, S3World, User, open_s3_world
from tests.security.signing import Wire, presign

TOKEN = "t0kenThatNobodyMayKeep"
PASSWORD = "a new password 1234"
AGENT = (
    "app/1 (https://h/photos/k?X-Amz-Credential={key}%2F1&X-Amz-Signature={signature}) token={t}"
)


@pytest.fixture
async def world() -> AsyncIterator[S3World]:
    async with open_s3_world() as made:
        assert (await Caller(made.app, ALICE)("PUT", "/photos")).status == 200
        yield made


def recorded(world: S3World) -> bytes:
    """Everything that the stream will ever say."""
    blocks = world.database.tables.rows("audit_pending").values()
    return b"\n".join(payload for _, _, payload in blocks)


def signature_of(wire: Wire) -> str:
    query = dict(part.partition(b"=")[::2] for part in wire.query.split(b"&"))
    return query[b"X-Amz-Signature"].decode()


def never(*secrets: str) -> list[bytes]:
    """The secrets as they are, and as HTTP Basic and URLs spell them."""
    texts = [*secrets, ALICE.secret_key, ALICE.password, ROOT.secret_key, MASTER_KEY.hex()]
    pairs = [f"{user.name}:{user.password}" for user in (ALICE, ROOT)]
    return [
        *(text.encode() for text in texts),
        *(base64.b64encode(pair.encode()) for pair in pairs),
        *(base64.b64encode(text.encode()) for text in (ALICE.secret_key, PASSWORD)),
    ]


async def test_a_presigned_url_leaves_neither_signature_nor_token(world: S3World) -> None:
    alice = Caller(world.app, ALICE)
    for target in (
        "/photos/k",
        f"/photos/k?X-Amz-Meta-Note={TOKEN[::-1]}",
        "/photos/k?x-id=PutObject",
    ):
        wire = presign(
            "PUT",
            target,
            [("Content-Length", "1")],
            access_key=ALICE.access_key,
            secret_key=ALICE.secret_key,
        )
        answer = await exchange(world.app, wire, b"x")
        assert answer.status == 200, answer.body
        assert signature_of(wire).encode() not in recorded(world)
    assert (await alice.presigned("DELETE", "/photos/k")).status == 204

    said = recorded(world)
    assert b"DeleteObject" in said
    assert not [word for word in (b"X-Amz-Signature", b"AWS4-HMAC", *never()) if word in said]


async def test_a_token_in_the_query_or_a_header_is_not_recorded(world: S3World) -> None:
    """Refused or not: what remains of the request is in the record."""
    alice = Caller(world.app, ALICE)
    await alice("PUT", "/photos/a", {"x-amz-security-token": TOKEN}, b"x")
    await alice("PUT", f"/photos/b?X-Amz-Security-Token={TOKEN}", {}, b"x")
    await alice("PUT", "/photos/c", {"Cookie": TOKEN, "Referer": f"https://h/?t={TOKEN}"}, b"x")
    await alice("PUT", "/photos/d", {"X-Api-Key": TOKEN, "Proxy-Authorization": TOKEN}, b"x")
    await alice("POST", f"/photos/e?uploads&X-Amz-Security-Token={TOKEN}")

    assert b'"key":"c"' in recorded(world)
    assert not [word for word in never(TOKEN) if word in recorded(world)]


async def test_credentials_in_a_user_agent_are_cut_out(world: S3World) -> None:
    alice = Caller(world.app, ALICE)
    signature = "f" * 64
    agents = (
        AGENT.format(key=ALICE.access_key, signature=signature, t=TOKEN),
        f"app Authorization: Bearer {TOKEN}",
        f"https://alice:{TOKEN}@h/",
        "app " + "x" * 230 + f" token={TOKEN}",
    )
    for number, agent in enumerate(agents):
        answer = await alice("PUT", f"/photos/{number}", {"User-Agent": agent}, b"x")
        assert answer.status == 200
    multipart = await alice("POST", "/photos/m?uploads", {"User-Agent": agents[0]})
    assert multipart.status == 200

    said = recorded(world)
    assert said.count(b"[redacted]") >= len(agents)
    assert not [word for word in never(TOKEN[:12], signature) if word in said]


async def test_passwords_and_keys_of_accounts_are_never_in_clear(world: S3World) -> None:
    root = Caller(world.app, ROOT)
    body = json.dumps({"username": "dora", "password": PASSWORD}).encode()
    made = await root.basic("POST", "/create_user", {"Content-Type": "application/json"}, body)
    assert made.status == 201
    secret = json.loads(made.body)["secret_key"]
    dora = Caller(world.app, User("dora", "", "", PASSWORD))
    assert (await dora.basic("POST", "/create_bucket/doras")).status == 201
    form = form_request("/upload/doras/k", b"x")
    put = await dora.basic("PUT", form.target, dict(form.headers), [form.body])
    assert put.status == 201

    said = recorded(world)
    assert b'"user_name":"dora"' in said
    dora_pair = base64.b64encode(f"dora:{PASSWORD}".encode())
    assert not [w for w in (*never(PASSWORD, secret, CAROL.secret_key), dora_pair) if w in said]


async def test_what_a_client_stores_as_metadata_is_data_and_only_operators_see_it(
    world: S3World,
) -> None:
    """A rebuild needs it, so the effects have it; no fact repeats it, no tenant's event has it."""
    alice = Caller(world.app, ALICE)
    headers = {"x-amz-meta-token": TOKEN}
    assert (await alice("PUT", "/photos/k", headers, b"x")).status == 200
    assert (await alice("HEAD", "/photos/k")).headers["x-amz-meta-token"] == TOKEN

    _, _, payload = list(world.database.tables.rows("audit_pending").values())[-1]
    event = json.loads(payload[payload.index(b'{"specversion"') :])
    facts = {name: value for name, value in event["data"].items() if name != "effects"}
    assert TOKEN not in json.dumps(facts)
