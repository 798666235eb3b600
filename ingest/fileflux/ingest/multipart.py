"""The multipart family: create, upload a part, complete, abort, list parts."""

from fileflux.core.changes import (
    AbortMultipart,
    CompleteMultipart,
    CreateMultipart,
    PutPart,
)
from fileflux.core.ids import UploadId
from fileflux.core.model import Manifest, ObjectMeta
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.conditions import write_conditions
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.listing import parts_query
from fileflux.ingest.names import parse_part_number, parse_upload_id
from fileflux.ingest.object_headers import (
    checksum_type,
    claimed_checksums,
    multipart_checksum,
    stored_headers,
)
from fileflux.ingest.operations import XML_BYTES_MAX
from fileflux.ingest.put_object import meta_of, put_answer, settled
from fileflux.ingest.s3_errors import S3Error
from fileflux.ingest.s3_listings import list_parts_result
from fileflux.ingest.s3_xml import (
    complete_multipart_result,
    create_multipart_result,
    parse_complete,
)
from fileflux.ingest.upload_target import part_target
from fileflux.metadata.rows import UploadRow


async def create_multipart_upload(call: Call, deps: Dependencies) -> Answer:
    """Begin an upload; its headers become the object's."""
    algorithm, kind = multipart_checksum(call.headers)
    upload_id = deps.new_upload_id()
    change = CreateMultipart(
        upload_id=upload_id,
        actor=call.actor,
        at_us=call.received_us,
        bucket_id=call.bucket.bucket_id,
        bucket=call.bucket.name,
        key=call.key,
        meta=stored_headers(call.headers),
        storage_class=deps.storage_class(call.bucket.storage_class).name,
        checksum_algorithm=algorithm,
        checksum_type=kind,
    )
    settled(call, deps, await deps.direct.submit(change))
    chosen = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    body = create_multipart_result(call.bucket.name, call.key, upload_id.hex())
    return Answer.xml(body, {name: value for name, value in chosen.items() if value})


async def upload_part(call: Call, deps: Dependencies) -> Answer:
    """Store one part; a later one with the same number replaces it."""
    upload = await open_upload(call, deps)
    number = parse_part_number(call.request.param("partNumber"))
    body = call.body(deps.clock)
    target = part_target(call, deps, upload, number)

    def finish(size: int, manifest: Manifest) -> PutPart:
        meta = meta_of(ObjectMeta(), body)
        return target.put_part(size, manifest, etag=body.result.md5_hex, meta=meta)

    async with deps.admission.upload(body.plan.size, target.storage_class):
        intent = target.intent(body.plan.size)
        outcome = await deps.engine.write(aiter(body), intent=intent, finish=finish)
    return put_answer(settled(call, deps, outcome))


async def open_upload(call: Call, deps: Dependencies) -> UploadRow:
    """The upload that the request names, still open; raise NoSuchUpload."""
    row = await find_upload(call, deps)
    if row.state != "open":
        raise S3Error("NoSuchUpload")
    return row


async def find_upload(call: Call, deps: Dependencies) -> UploadRow:
    """The upload that the request names, whatever its state; raise NoSuchUpload."""
    upload_id = parse_upload_id(call.request.param("uploadId"))
    row = await deps.reader.find_upload(upload_id)
    if row is None or (row.bucket_id, row.key) != (call.bucket.bucket_id, call.key):
        raise S3Error("NoSuchUpload")
    return row


async def complete_multipart_upload(call: Call, deps: Dependencies) -> Answer:
    """Make the listed parts one object; asked again, answer the same again."""
    upload_id = parse_upload_id(call.request.param("uploadId"))
    parts = parse_complete(await call.small_body(deps.clock, XML_BYTES_MAX, ignore_checksums=True))
    change = CompleteMultipart(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        bucket_id=call.bucket.bucket_id,
        bucket=call.bucket.name,
        key=call.key,
        multipart_id=upload_id,
        parts=parts,
        checksums=claimed_checksums(call.headers),
        checksum_type=checksum_type(call.headers),
        object_size=_object_size(call),
        conditions=write_conditions(call.headers),
    )
    outcome = settled(call, deps, await deps.direct.submit(change))
    body = complete_multipart_result(
        call.bucket.name,
        call.key,
        outcome.etag,
        location=f"/{call.bucket.name}/{call.key.decode('utf-8', 'replace')}",
        checksums=outcome.checksums,
        checksum_type=outcome.checksum_type,
    )
    return Answer.xml(body)


def _object_size(call: Call) -> int | None:
    text = call.headers.get("x-amz-mp-object-size")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise S3Error("InvalidRequest", "x-amz-mp-object-size must be a number of bytes.")
    return int(text)


async def abort_multipart_upload(call: Call, deps: Dependencies) -> Answer:
    change = AbortMultipart(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        bucket_id=call.bucket.bucket_id,
        bucket=call.bucket.name,
        key=call.key,
        multipart_id=UploadId(parse_upload_id(call.request.param("uploadId"))),
    )
    settled(call, deps, await deps.direct.submit(change))
    return Answer(204)


async def list_parts(call: Call, deps: Dependencies) -> Answer:
    upload = await open_upload(call, deps)
    query = parts_query(call.request)
    rows = await deps.reader.list_parts(
        upload.upload_id, after=query.after, max_parts=query.max_parts + 1
    )
    body = list_parts_result(
        call.bucket.name,
        upload,
        query,
        parts=rows[: query.max_parts],
        truncated=len(rows) > query.max_parts,
        owner_name=call.principal.name,
    )
    return Answer.xml(body)
