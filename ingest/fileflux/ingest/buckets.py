"""Buckets: create, head, delete, list, location, versioning (which is off)."""

from fileflux.core.changes import CreateBucket, DeleteBucket
from fileflux.core.ids import BucketId, new_id
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.listing import buckets_page, buckets_query
from fileflux.ingest.names import check_bucket_name
from fileflux.ingest.notifications import announce
from fileflux.ingest.operations import SMALL_XML_BYTES_MAX
from fileflux.ingest.put_object import settled
from fileflux.ingest.s3_errors import S3Error, invalid_argument, outcome_error
from fileflux.ingest.s3_xml import (
    ListedBucket,
    list_buckets_result,
    location_result,
    parse_create_bucket,
    versioning_result,
)
from fileflux.metadata.notification import ENTRY

CLASS_HEADER = "x-fileflux-class"


async def create_bucket(call: Call, deps: Dependencies) -> Answer:
    """Make a bucket of the caller's; `x-fileflux-class` chooses how its content is stored."""
    _check_location(
        parse_create_bucket(await call.small_body(deps.clock, SMALL_XML_BYTES_MAX)), deps
    )
    return await make_bucket(call, deps, call.request.bucket)


async def make_bucket(call: Call, deps: Dependencies, name: str) -> Answer:
    """Make a bucket of this name, owned by the caller."""
    check_bucket_name(name)
    change = CreateBucket(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        bucket_id=BucketId(new_id(deps.rng)),
        bucket=name,
        owner_id=call.principal.user_id,
        storage_class=_chosen_class(call, deps),
    )
    outcome = await deps.direct.submit(change)
    deps.buckets.forget(name)
    if not outcome.ok:
        raise outcome_error(outcome.status, outcome.detail)
    return Answer(200, {"location": f"/{name}"})


def _chosen_class(call: Call, deps: Dependencies) -> str:
    chosen = call.headers.get(CLASS_HEADER, deps.default_class)
    if chosen not in deps.classes:
        known = ", ".join(sorted(deps.classes))
        raise invalid_argument(f"No such storage class; there are: {known}.", CLASS_HEADER, chosen)
    return chosen


def _check_location(location: str | None, deps: Dependencies) -> None:
    if location not in (None, "", deps.auth.region):
        raise S3Error("IllegalLocationConstraintException")


async def head_bucket(call: Call, deps: Dependencies) -> Answer:
    return Answer(200, {"x-amz-bucket-region": deps.auth.region})


async def delete_bucket(call: Call, deps: Dependencies) -> Answer:
    """Remove an empty bucket; its open multipart uploads and notifications end with it."""
    if ENTRY in call.bucket.config:
        await announce(deps, call.bucket)
    change = DeleteBucket(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        bucket_id=call.bucket.bucket_id,
        bucket=call.bucket.name,
    )
    outcome = await deps.direct.submit(change)
    deps.buckets.forget(call.bucket.name)
    settled(call, deps, outcome)
    return Answer(204)


async def list_buckets(call: Call, deps: Dependencies) -> Answer:
    query = buckets_query(call.request)
    rows = {row.name: row for row in await deps.reader.list_buckets(call.principal.user_id)}
    names, token = buckets_page(sorted(rows), query)
    body = list_buckets_result(
        [ListedBucket(name, rows[name].created_us) for name in names],
        owner_id=call.principal.user_id.hex(),
        owner_name=call.principal.name,
        region=deps.auth.region if call.request.has("bucket-region") else "",
        prefix=query.prefix,
        next_token=token,
    )
    return Answer.xml(body)


async def get_bucket_location(call: Call, deps: Dependencies) -> Answer:
    return Answer.xml(location_result(deps.auth.region))


async def get_bucket_versioning(call: Call, deps: Dependencies) -> Answer:
    """Many clients ask before anything else; no versioning is an empty document."""
    return Answer.xml(versioning_result())
