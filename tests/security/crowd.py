"""Who may ask: two tenants with a bucket each, root, strangers; and what the table gives them."""

from dataclasses import replace
from typing import Final

from tests.model.asgi_client import Response, exchange
from tests.model.s3_caller import Caller, plain
from tests.model.s3_requests import Names, Request
from tests.model.s3_world import ALICE, BOB, CAROL, NOBODY, ROOT, S3World, User

PEOPLE: Final = {
    "nobody": None,
    "a stranger": NOBODY,
    "a disabled key": CAROL,
    "another tenant": BOB,
    "the owner": ALICE,
    "root": ROOT,
}
OBJECT: Final = b"0123456789"


async def settle_in(world: S3World) -> dict[str, Names]:
    """Return the names that requests use: in ALICE's bucket and in one that does not exist."""
    found = {}
    for user, bucket in ((ALICE, "photos"), (BOB, "bobs")):
        caller = Caller(world.app, user)
        await caller("PUT", f"/{bucket}")
        await caller("PUT", f"/{bucket}/key", {}, OBJECT)
        begun = await caller("POST", f"/{bucket}/key?uploads")
        upload_id = begun.xml().findtext("UploadId") or ""
        part = await caller("PUT", f"/{bucket}/key?partNumber=1&uploadId={upload_id}", {}, OBJECT)
        etag = part.headers["etag"].strip('"')
        found[bucket] = Names(bucket, "key", f"{bucket}/key", upload_id, etag)
    return {
        "alice's": found["photos"],
        "bob's": found["bobs"],
        "missing": replace(found["photos"], bucket="missing"),
    }


async def ask_as(world: S3World, who: User | None, request: Request) -> Response:
    if who is None:
        wire = plain(request.method, request.target, dict(request.headers), request.body)
        return await exchange(world.app, wire, request.body)
    caller = Caller(world.app, who)
    return await caller(request.method, request.target, dict(request.headers), request.body)


def expected_code(operation: str, who: str, bucket: str) -> str:
    """Return what the table says: `ok`, or the code of the refusal."""
    if who == "nobody":
        return "AccessDenied"
    if who in ("a stranger", "a disabled key"):
        return "InvalidAccessKeyId"
    if operation == "ListBuckets":
        return "ok"
    if operation == "CreateBucket":
        return expected_creation(who, bucket)
    if bucket == "missing":
        return "NoSuchBucket"
    owner = {"alice's": "the owner", "bob's": "another tenant"}[bucket]
    return "ok" if who in ("root", owner) else "AccessDenied"


def expected_creation(who: str, bucket: str) -> str:
    if bucket == "missing":
        return "ok"
    owner = {"alice's": "the owner", "bob's": "another tenant"}[bucket]
    return "BucketAlreadyOwnedByYou" if who == owner else "BucketAlreadyExists"


def outcome(answer: Response, method: str) -> str:
    if answer.status < 300:
        return "ok"
    if method == "HEAD":
        return {403: "AccessDenied", 404: "NoSuchBucket"}.get(answer.status, "")
    return answer.code


async def content(world: S3World) -> object:
    """Return all that is stored for users."""
    tables = world.database.tables
    names = ("buckets", "objects", "uploads", "parts", "users", "keys")
    return {name: dict(tables.rows(name)) for name in names}
