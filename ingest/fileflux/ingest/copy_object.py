"""CopyObject: a copy shares the content of its source; no byte moves where the class is the same.

The transaction decides on the source's version that we read. When somebody replaced it meanwhile
(SourceChanged) we read again. A copy into another storage class is a PUT of the source's bytes.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from fileflux.core.changes import CopyObject, Outcome, PutObject
from fileflux.core.checksum import Buffer
from fileflux.core.errors import NoSuchBucket, NoSuchKey
from fileflux.core.model import Manifest, ObjectMeta
from fileflux.ingest.authorization import authorize_bucket
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.conditions import check_copy_source, write_conditions
from fileflux.ingest.copy_source import HEADER, CopySource, parse_copy_source
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.get_object import validators
from fileflux.ingest.header_policy import replaces_metadata
from fileflux.ingest.names import check_version_id
from fileflux.ingest.object_headers import stored_headers
from fileflux.ingest.put_object import precheck, settled
from fileflux.ingest.reading import ObjectBody
from fileflux.ingest.s3_errors import S3Error
from fileflux.ingest.s3_xml import copy_object_result
from fileflux.ingest.upload_target import object_target
from fileflux.metadata.ports import FoundObject
from fileflux.metadata.rows import ObjectRow

SOURCE_CHANGES_MAX: Final = 5
"""A source that is replaced faster than it can be copied."""
COPY_BYTES_MAX: Final = 5 << 30


async def copy_object(call: Call, deps: Dependencies) -> Answer:
    """Make a key share the content of another one."""
    source = parse_copy_source(call.headers[HEADER])
    conditions = write_conditions(call.headers)
    await precheck(call, deps, conditions)
    for _ in range(SOURCE_CHANGES_MAX):
        found, row = await find_source(call, deps, source)
        outcome = await _copy(call, deps, source, found, row)
        if outcome.status != "SourceChanged":
            outcome = settled(call, deps, outcome)
            return Answer.xml(
                copy_object_result(
                    outcome.etag,
                    outcome.stamp,
                    checksums=outcome.checksums,
                    checksum_type=outcome.checksum_type,
                )
            )
    raise S3Error("SlowDown", "The source changes faster than it can be copied.")


async def find_source(
    call: Call, deps: Dependencies, source: CopySource
) -> tuple[FoundObject, ObjectRow]:
    """The source's current version, if the caller may read it and its conditions hold."""
    check_version_id(source.version_id)
    found = await deps.lookup.find(source.bucket, source.key)
    if found.bucket is None:
        raise NoSuchBucket(source.bucket)
    # The row that the bytes were found by, not a cached one: a name may have changed hands.
    authorize_bucket(call.principal, found.bucket)
    row = found.current()
    if row is None:
        raise NoSuchKey(source.bucket)
    check_copy_source(call.headers, validators(row))
    return found, row


async def _copy(
    call: Call, deps: Dependencies, source: CopySource, found: FoundObject, row: ObjectRow
) -> Outcome:
    meta = _new_meta(call, source, row)
    if row.size > COPY_BYTES_MAX:
        raise S3Error("InvalidRequest", "The source is larger than 5 GiB: copy it in parts.")
    if deps.storage_class(call.bucket.storage_class).name != row.storage_class:
        return await _put_again(call, deps, found, row, meta or row.meta)
    return await deps.direct.submit(
        CopyObject(
            upload_id=deps.new_upload_id(),
            actor=call.actor,
            at_us=call.received_us,
            bucket_id=call.bucket.bucket_id,
            bucket=call.bucket.name,
            key=call.key,
            source_bucket_id=row.bucket_id,
            source_bucket=source.bucket,
            source_key=source.key,
            source_version=row.version_id,
            meta=meta,
            storage_class=row.storage_class,
            conditions=write_conditions(call.headers),
        )
    )


def _new_meta(call: Call, source: CopySource, row: ObjectRow) -> ObjectMeta | None:
    """What REPLACE stores, with the content's own checksums; None: the source's."""
    if replaces_metadata(call.headers):
        given = stored_headers(call.headers)
        return ObjectMeta(
            headers=given.headers,
            user=given.user,
            checksums=row.meta.checksums,
            checksum_type=row.meta.checksum_type,
        )
    if (source.bucket, source.key) == (call.bucket.name, call.key):
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself "
            "without changing the object's metadata, storage class or encryption attributes.",
        )
    return None


async def _put_again(
    call: Call, deps: Dependencies, found: FoundObject, row: ObjectRow, meta: ObjectMeta
) -> Outcome:
    """Another class stores it otherwise: read the bytes, write them as an upload."""
    target = object_target(call, deps)

    def finish(size: int, manifest: Manifest) -> PutObject:
        conditions = write_conditions(call.headers)
        return target.put_object(size, manifest, etag=row.etag, meta=meta, conditions=conditions)

    async with (
        deps.admission.upload(row.size, target.storage_class),
        aclosing(await _bytes_of(deps, found, row)) as body,
    ):
        return await deps.engine.write(body, intent=target.intent(row.size), finish=finish)


async def _bytes_of(
    deps: Dependencies, found: FoundObject, row: ObjectRow
) -> ObjectBody | AsyncGenerator[Buffer, None]:
    if row.size == 0:
        return _nothing()
    return await deps.objects.open(found, row, 0, row.size)


async def _nothing() -> AsyncGenerator[Buffer, None]:
    for piece in b"":
        yield bytes(piece)
