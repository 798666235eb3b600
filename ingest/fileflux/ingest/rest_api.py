"""The original REST endpoints: HTTP Basic, plain paths, the same operations underneath.

    POST   /create_user             {"username", "password"} as JSON or a form; root only, or open
    GET    /authenticate            200 when name and password are right
    POST   /create_bucket/{bucket}
    DELETE /delete_bucket/{bucket}
    PUT    /upload/{bucket}/{key}   multipart/form-data, the bytes in the field `file`
    GET | HEAD | DELETE /{bucket}/{key}

They are told apart from S3 by their authentication. Answers are JSON; errors are S3's documents.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from fileflux.core.changes import CreateKey, CreateUser
from fileflux.core.ids import UserId, new_id
from fileflux.ingest import buckets, delete_object, get_object
from fileflux.ingest.auth import Authenticated, Principal, Scheme
from fileflux.ingest.auth_errors import AccessDenied
from fileflux.ingest.authorization import authorize_bucket
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.identities import new_key_pair
from fileflux.ingest.names import check_bucket_name, check_key
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.payload_mode import PLAIN
from fileflux.ingest.rest_upload import put_form_file
from fileflux.ingest.routes import SUBRESOURCES
from fileflux.ingest.s3_errors import S3Error, outcome_error
from fileflux.metadata.identity import encrypt_secret

FORM_BYTES_MAX: Final = 16 << 10
NAME_SIZE_MAX: Final = 64
PASSWORD_SIZE_MIN: Final = 8
PASSWORD_SIZE_MAX: Final = 1024

Handler = Callable[[Call, Dependencies], Awaitable[Answer]]


def is_open(request: ParsedRequest, scheme: Scheme, deps: Dependencies) -> bool:
    """Whether this is a registration that the settings open to everybody."""
    return (
        deps.open_registration
        and scheme is Scheme.NONE
        and (request.method, request.path) == ("POST", b"/create_user")
    )


def nobody(request: ParsedRequest) -> Authenticated:
    """Who registers: not anybody yet."""
    return Authenticated(Principal(UserId(b""), "anonymous"), PLAIN, request, Scheme.NONE)


async def answer(call: Call, deps: Dependencies) -> Answer:
    """Answer a request that HTTP Basic authenticated."""
    verb, _, rest = call.request.path[1:].partition(b"/")
    method = call.request.method
    fixed = _FIXED.get((method, verb))
    if fixed is not None:
        return await fixed(call, deps, rest)
    return await _on_object(call, deps)


async def register(call: Call, deps: Dependencies) -> Answer:
    """Make a user with a password and a first access key for S3."""
    fields = await _fields(call, deps)
    name, password = _checked_account(fields)
    access_key, secret_key = new_key_pair(deps.rng)
    user = CreateUser(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        user_id=UserId(new_id(deps.rng)),
        name=name,
        password_hash=await deps.hash_password(password),
    )
    key = CreateKey(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        user_id=user.user_id,
        access_key=access_key,
        secret=encrypt_secret(deps.master_key, access_key, secret_key),
    )
    # Together: a user without a key could neither sign nor be registered again.
    for outcome in await deps.direct.submit_together(user, key):
        if not outcome.ok:
            raise outcome_error(outcome.status, outcome.detail)
    made = {"username": name, "access_key": access_key, "secret_key": secret_key}
    return _json(made, status=201)


async def _create_user(call: Call, deps: Dependencies, rest: bytes) -> Answer:
    if rest:
        raise S3Error("InvalidURI")
    if not (call.principal.is_root or deps.open_registration):
        raise AccessDenied
    return await register(call, deps)


async def _authenticate(call: Call, deps: Dependencies, rest: bytes) -> Answer:
    return _json({"authenticated": True, "username": call.principal.name})


async def _create_bucket(call: Call, deps: Dependencies, rest: bytes) -> Answer:
    bucket = _bucket_name(rest)
    made = await buckets.make_bucket(call, deps, bucket)
    return _json({"bucket": bucket}, status=201) if made.status == 200 else made


async def _delete_bucket(call: Call, deps: Dependencies, rest: bytes) -> Answer:
    await _authorize(call, deps, _bucket_name(rest))
    await buckets.delete_bucket(call, deps)
    return _json({"deleted": call.bucket.name})


async def _upload(call: Call, deps: Dependencies, rest: bytes) -> Answer:
    bucket, _, key = rest.partition(b"/")
    check_key(key)
    await _authorize(call, deps, _bucket_name(bucket))
    stored = await put_form_file(call, deps, key)
    return _json({"bucket": call.bucket.name, "etag": stored.etag, "size": stored.size}, status=201)


async def _on_object(call: Call, deps: Dependencies) -> Answer:
    handler = _ON_OBJECTS.get(call.request.method)
    if handler is None or not call.key:
        raise S3Error("MethodNotAllowed", extra={"Method": call.request.method[:20]})
    # A sub-resource is another operation: DELETE …?uploadId= must never remove the object.
    asked = sorted(SUBRESOURCES.intersection(name for name, _ in call.request.query))
    if asked:
        raise S3Error("NotImplemented", f"The REST endpoints have no ?{asked[0]}; use S3.")
    check_key(call.key)
    await _authorize(call, deps, call.request.bucket)
    return await handler(call, deps)


async def _authorize(call: Call, deps: Dependencies, bucket: str) -> None:
    # The database refuses some texts, and with them everybody's names that share the statement.
    check_bucket_name(bucket)
    call.bucket_row = await deps.buckets.find(bucket)
    authorize_bucket(call.principal, call.bucket_row)


_FIXED: Final[
    Mapping[tuple[str, bytes], Callable[[Call, Dependencies, bytes], Awaitable[Answer]]]
] = {
    ("POST", b"create_user"): _create_user,
    ("GET", b"authenticate"): _authenticate,
    ("POST", b"create_bucket"): _create_bucket,
    ("DELETE", b"delete_bucket"): _delete_bucket,
    ("PUT", b"upload"): _upload,
}
_ON_OBJECTS: Final[Mapping[str, Handler]] = {
    "GET": get_object.get_object,
    "HEAD": get_object.head_object,
    "DELETE": delete_object.delete_object,
}


def _bucket_name(raw: bytes) -> str:
    name = raw.decode("utf-8")
    check_bucket_name(name)
    return name


async def _fields(call: Call, deps: Dependencies) -> dict[str, Any]:
    """A JSON object or a form, whichever the client sent."""
    body = await call.small_body(deps.clock, FORM_BYTES_MAX)
    try:
        if call.headers.get("content-type", "").startswith("application/json"):
            found = json.loads(body)
            return found if isinstance(found, dict) else {}
        text = body.decode("utf-8")
        return dict(parse_qsl(text, errors="strict", max_num_fields=16))
    except (ValueError, RecursionError):
        raise S3Error("InvalidRequest", "The body is neither JSON nor a form.") from None


def _checked_account(fields: Mapping[str, Any]) -> tuple[str, str]:
    name, password = fields.get("username"), fields.get("password")
    if not (isinstance(name, str) and 0 < len(name) <= NAME_SIZE_MAX and _is_plain(name)):
        raise S3Error(
            "InvalidRequest",
            f"username must have 1 to {NAME_SIZE_MAX} of: letters, digits, dot, dash, underscore.",
        )
    if not (isinstance(password, str) and _is_password(password)):
        raise S3Error("InvalidRequest", f"password needs {PASSWORD_SIZE_MIN} characters.")
    return name, password


def _is_password(text: str) -> bool:
    # JSON can spell half a surrogate pair; no header could ever send it again.
    is_utf8 = not any("\ud800" <= char <= "\udfff" for char in text)
    return is_utf8 and PASSWORD_SIZE_MIN <= len(text) <= PASSWORD_SIZE_MAX


def _is_plain(name: str) -> bool:
    return name.isascii() and all(char.isalnum() or char in ".-_@" for char in name)


def _json(fields: Mapping[str, Any], *, status: int = 200) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(fields).encode())
