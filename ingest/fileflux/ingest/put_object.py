"""PutObject: bytes verified and staged, durable on W nodes, visible, recorded. In that order."""

from dataclasses import dataclass

from fileflux.core.changes import Outcome, PutObject
from fileflux.core.errors import NoSuchBucket, PreconditionFailed
from fileflux.core.model import Manifest, ObjectMeta, WriteConditions
from fileflux.ingest.body import BodyReader
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.conditions import write_conditions
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.object_headers import checksum_headers, stored_headers
from fileflux.ingest.s3_errors import S3Error, outcome_error
from fileflux.ingest.upload import Finish, UploadIntent
from fileflux.ingest.upload_target import object_target


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """An upload that may begin: its verified body, its intent, and what makes its change."""

    body: BodyReader
    intent: UploadIntent
    finish: Finish
    conditions: WriteConditions


async def put_object(call: Call, deps: Dependencies) -> Answer:
    """Store one object version; answer when it is durable and visible."""
    request = prepare_put(call, deps)
    async with deps.admission.upload(request.body.plan.size, request.intent.storage_class):
        await precheck(call, deps, request.conditions)
        outcome = await deps.engine.write(
            aiter(request.body), intent=request.intent, finish=request.finish
        )
    return put_answer(settled(call, deps, outcome))


def prepare_put(call: Call, deps: Dependencies) -> StoreRequest:
    """Check the headers; read nothing of the body yet."""
    stored = stored_headers(call.headers)
    conditions = write_conditions(call.headers)
    body = call.body(deps.clock)
    target = object_target(call, deps)

    def finish(size: int, manifest: Manifest) -> PutObject:
        meta = meta_of(stored, body)
        return target.put_object(
            size, manifest, etag=body.result.md5_hex, meta=meta, conditions=conditions
        )

    return StoreRequest(body, target.intent(body.plan.size), finish, conditions)


def meta_of(stored: ObjectMeta, body: BodyReader) -> ObjectMeta:
    """What is stored beside the bytes: the request's headers and the body's checksums."""
    return ObjectMeta(
        headers=stored.headers, user=stored.user, checksums=dict(body.result.checksums)
    )


async def precheck(call: Call, deps: Dependencies, conditions: WriteConditions) -> None:
    """Refuse before the body what the transaction would refuse after it. It decides again."""
    if conditions.if_match is None and conditions.if_none_match is None:
        return
    found = await deps.lookup.find(call.bucket.name, call.key)
    if found.bucket is None or found.bucket.bucket_id != call.bucket.bucket_id:
        deps.buckets.forget(call.bucket.name)
        raise NoSuchBucket(call.bucket.name)
    current = found.current()
    etag = None if current is None else current.etag
    if conditions.if_match is not None and etag is None:
        raise S3Error("NoSuchKey")
    if conditions.if_match not in (None, "*", etag):
        raise PreconditionFailed("If-Match")
    if etag is not None and conditions.if_none_match in ("*", etag):
        raise PreconditionFailed("If-None-Match")


def settled(call: Call, deps: Dependencies, outcome: Outcome) -> Outcome:
    """Return an outcome that is `ok`; raise what the other ones stand for."""
    if outcome.ok:
        return outcome
    if outcome.status == "NoSuchBucket":
        deps.buckets.forget(call.bucket.name)
    raise outcome_error(outcome.status, outcome.detail)


def put_answer(outcome: Outcome) -> Answer:
    headers = {
        "etag": f'"{outcome.etag}"',
        **checksum_headers(outcome.checksums, outcome.checksum_type),
    }
    return Answer(200, headers)
