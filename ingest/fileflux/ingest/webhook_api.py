"""`/_fileflux/webhooks…`: what `fileflux webhook` does, as JSON over HTTP, for each tenant its own.

Signed (Signature Version 4) or by HTTP Basic; no bucket can be called `_fileflux`. Root may do it
for everybody. What is not the asker's is answered as if it were not there. A tenant is told no
position of the audit stream: these would say how much everybody else writes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from fileflux.core.ids import BucketId, UserId
from fileflux.ingest import webhook_models as models
from fileflux.ingest.authorization import authorize_bucket
from fileflux.ingest.json_routes import Asked
from fileflux.ingest.names import check_bucket_name
from fileflux.ingest.problem import Problem, bad_request
from fileflux.webhooks.admin import WRONG, NoSuchWebhook, NotNow, Webhooks, shown
from fileflux.webhooks.destinations import Destinations

PER_BUCKET_MAX: Final = 100
"""Webhooks of a bucket, apart from its notification configuration; a person's own many."""
REPLAYS_MAX: Final = 4
"""Of an owner, at once: each reads the whole past."""
REDRIVEN_MAX: Final = 10_000
PREVIEW_RECORDS_MAX: Final = 50_000
PREVIEW_S_MAX: Final = 5.0
ROOTS: Final = frozenset({"position", "from", "to", "read_to", "numbered_to"})
"""What only root is told."""


@contextmanager
def in_words() -> Iterator[None]:
    """Turn what the person who asked got wrong into its answer."""
    try:
        yield
    except WRONG as error:
        raise bad_request(str(error)) from error
    except NoSuchWebhook as error:
        raise Problem(404, "NoSuchEntity", str(error)) from error
    except NotNow as error:
        raise Problem(409, "OperationAborted", str(error)) from error


def _hooks(asked: Asked) -> Webhooks:
    deps = asked.deps
    return Webhooks(deps.webhooks, deps.history, deps.master_key, deps.clock)


def _destinations(asked: Asked) -> Destinations:
    deps = asked.deps
    return Destinations(deps.webhooks, deps.history, deps.master_key, deps.clock)


def _for(asked: Asked, answered: Mapping[str, Any]) -> dict[str, Any]:
    """What the asker may know of an answer."""
    if asked.call.principal.is_root:
        return dict(answered)
    return {name: value for name, value in answered.items() if name not in ROOTS}


async def _owned(asked: Asked) -> str:
    """The id of a webhook that the asker may see; raise NoSuchWebhook."""
    name, who = asked.names["webhook"], asked.call.principal
    try:
        found = await asked.deps.webhooks.subscription(bytes.fromhex(name))
    except ValueError:
        found = None
    if found is None or not (who.is_root or found.owner_id == who.user_id):
        raise NoSuchWebhook(f"There is no webhook {name[:64]}.")
    return found.subscription_id.hex()


def _start(asked: Asked) -> str:
    """Where a replay begins; a position is root's to name."""
    start: str = asked.body.start
    if start.isdecimal() and not asked.call.principal.is_root:
        raise bad_request("from: `beginning` or a time; positions are root's.")
    return start


async def _owner(asked: Asked) -> UserId:
    """Whose things are asked for: the asker's own, or whom root names."""
    who, name = asked.call.principal, asked.query.owner
    if name is None or name == who.name:
        return who.user_id
    if not who.is_root:
        raise Problem(403, "AccessDenied", "owner: only root may ask for somebody else's.")
    user = await asked.deps.reader.find_user(name)
    if user is None:
        raise Problem(404, "NoSuchEntity", "There is no user of that name.")
    return user.user_id


async def _bucket(asked: Asked, name: str) -> tuple[BucketId, UserId]:
    check_bucket_name(name)
    row = asked.call.bucket_row = await asked.deps.buckets.find(name)
    authorize_bucket(asked.call.principal, row)
    return row.bucket_id, row.owner_id


async def create_webhook(asked: Asked) -> Mapping[str, Any]:
    given: models.CreateWebhook = asked.body
    bucket_id, _ = await _bucket(asked, given.bucket)
    if await asked.deps.webhooks.bucket_count(bucket_id) >= PER_BUCKET_MAX:
        raise NotNow(f"A bucket has at most {PER_BUCKET_MAX} webhooks.")
    return await _hooks(asked).create(
        given.bucket,
        given.url,
        form=given.format,
        event_names=given.events,
        prefix=given.prefix,
        suffix=given.suffix,
        bucket_id=bucket_id,  # The name may be another's by now.
    )


async def list_webhooks(asked: Asked) -> Mapping[str, Any]:
    query: models.ListQuery = asked.query
    bucket_id, owner_id = b"", await _owner(asked)
    if query.bucket is not None:
        bucket_id, owner_id = await _bucket(asked, query.bucket)
    page = await asked.deps.webhooks.subscriptions_of(
        owner_id, bucket_id=bucket_id, after=bytes.fromhex(query.after), limit=query.limit
    )
    is_full = len(page) == query.limit
    return {
        "webhooks": [shown(one) for one in page],
        "next": page[-1].subscription_id.hex() if is_full else None,
    }


async def show_webhook(asked: Asked) -> Mapping[str, Any]:
    found = await _hooks(asked).show(await _owned(asked))
    return {**_for(asked, found), "caught_up": found["read_to"] >= found["numbered_to"]}


async def pause_webhook(asked: Asked) -> Mapping[str, Any]:
    return await _hooks(asked).set_state(await _owned(asked), "paused")


async def resume_webhook(asked: Asked) -> Mapping[str, Any]:
    return await _hooks(asked).set_state(await _owned(asked), "active")


async def delete_webhook(asked: Asked) -> Mapping[str, Any]:
    return await _hooks(asked).set_state(await _owned(asked), "deleted")


async def test_webhook(asked: Asked) -> Mapping[str, Any]:
    return await _hooks(asked).queue_test(await _owned(asked))


async def rotate_secret(asked: Asked) -> Mapping[str, Any]:
    return await _hooks(asked).rotate_secret(await _owned(asked))


async def replay_webhook(asked: Asked) -> Mapping[str, Any]:
    name, start = await _owned(asked), _start(asked)
    with asked.deps.events.limits.searching():  # A time is looked for in the stream.
        begun = await _hooks(asked).replay(
            name, start, rate=asked.body.per_second, replays_max=REPLAYS_MAX
        )
    return _for(asked, begun)


async def preview_replay(asked: Asked) -> Mapping[str, Any]:
    name, start = await _owned(asked), _start(asked)
    with asked.deps.events.limits.searching():
        found = await _hooks(asked).would_send(
            name, start, records_max=PREVIEW_RECORDS_MAX, s_max=PREVIEW_S_MAX
        )
    return _for(asked, found)


async def list_attempts(asked: Asked) -> Mapping[str, Any]:
    return {"attempts": await _hooks(asked).attempts(await _owned(asked), asked.query.limit)}


async def list_dead_letters(asked: Asked) -> Mapping[str, Any]:
    found = await _hooks(asked).dead(await _owned(asked), asked.query.limit)
    return {"dead_letters": [_for(asked, one) for one in found]}


async def redrive_webhook(asked: Asked) -> Mapping[str, Any]:
    return await _hooks(asked).redrive(await _owned(asked), at_most=REDRIVEN_MAX)


async def create_destination(asked: Asked) -> Mapping[str, Any]:
    given: models.CreateDestination = asked.body
    return await _destinations(asked).create(await _owner(asked), given.name, given.url)


async def list_destinations(asked: Asked) -> Mapping[str, Any]:
    return {"destinations": await _destinations(asked).every(await _owner(asked))}


async def show_destination(asked: Asked) -> Mapping[str, Any]:
    return await _destinations(asked).show(await _owner(asked), asked.names["destination"])


async def rotate_destination(asked: Asked) -> Mapping[str, Any]:
    owner_id = await _owner(asked)
    return await _destinations(asked).rotate_secret(owner_id, asked.names["destination"])


async def delete_destination(asked: Asked) -> Mapping[str, Any]:
    return await _destinations(asked).remove(await _owner(asked), asked.names["destination"])
