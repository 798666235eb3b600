"""GetObject, HeadObject, GetObjectAttributes: conditions, ranges, and bytes verified on their way.

Every block is checked against its CRC here, end to end; another replica answers when the first
one cannot. If none is left after the first byte, the connection is aborted: never a wrong body.
"""

import contextlib
from typing import Final

from fileflux.core.errors import NoSuchBucket, NoSuchKey
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.conditions import Validators, check_read, is_range_wanted
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.names import check_version_id, parse_part_number
from fileflux.ingest.object_attributes import attributes_query, attributes_result
from fileflux.ingest.object_headers import (
    not_modified_headers,
    object_headers,
    response_overrides,
    wants_checksums,
)
from fileflux.ingest.ranges import ByteRange, parse_range, part_range
from fileflux.ingest.reading import VersionGone
from fileflux.ingest.s3_errors import S3Error
from fileflux.metadata.ports import FoundObject
from fileflux.metadata.rows import ObjectRow

REPLACEMENTS_MAX: Final = 3


async def get_object(call: Call, deps: Dependencies) -> Answer:
    """Send an object, a range or a part of it.

    A version that was replaced between its row and its parts is no answer: the new one is.
    """
    for _ in range(REPLACEMENTS_MAX):
        with contextlib.suppress(VersionGone):
            return await _answer(call, deps, with_body=True)
    return await _answer(call, deps, with_body=True)


async def head_object(call: Call, deps: Dependencies) -> Answer:
    """Send what GetObject would, without the bytes."""
    return await _answer(call, deps, with_body=False)


async def get_object_attributes(call: Call, deps: Dependencies) -> Answer:
    query = attributes_query(call.headers)
    _, row = await find_row(call, deps)
    headers = object_headers(row.meta, validators(row))
    shown = {"last-modified": headers["last-modified"]}
    return Answer.xml(attributes_result(row, query), shown)


async def find_row(call: Call, deps: Dependencies) -> tuple[FoundObject, ObjectRow]:
    """The key's current version; raise NoSuchKey or NoSuchBucket."""
    check_version_id(call.request.param("versionId"))
    found = await deps.lookup.find(call.bucket.name, call.key)
    if found.bucket is None or found.bucket.bucket_id != call.bucket.bucket_id:
        deps.buckets.forget(call.bucket.name)
        raise NoSuchBucket(call.bucket.name)
    row = found.current()
    if row is None:
        raise NoSuchKey(call.bucket.name)
    return found, row


def validators(row: ObjectRow) -> Validators:
    """A version's stamp is at least the database's clock when it was written: its date."""
    return Validators(row.etag, row.stamp)


async def _answer(call: Call, deps: Dependencies, *, with_body: bool) -> Answer:
    overrides = response_overrides(call.request)
    found, row = await find_row(call, deps)
    current = validators(row)
    is_sent = check_read(call.headers, current)
    wanted, parts_count = _wanted(call, row, current)
    headers = object_headers(
        row.meta,
        current,
        overrides=overrides,
        with_checksums=wants_checksums(call.headers) and wanted is None,
        parts_count=parts_count,
    )
    if not is_sent:
        return Answer(304, not_modified_headers(headers))
    start, length = (0, row.size) if wanted is None else (wanted.start, wanted.length)
    headers["content-length"] = str(length)
    if wanted is not None:
        headers["content-range"] = wanted.content_range
    status = 200 if wanted is None else 206
    if not with_body or length == 0:
        return Answer(status, headers)
    return Answer(status, headers, await deps.objects.open(found, row, start, length))


def _wanted(call: Call, row: ObjectRow, current: Validators) -> tuple[ByteRange | None, int | None]:
    """(the range to send or None for all of it, the number of parts when one was asked for)."""
    number = call.request.param("partNumber")
    header = call.headers.get("range")
    if number is None:
        is_wanted = header is not None and is_range_wanted(call.headers, current)
        return (parse_range(header, row.size) if is_wanted else None), None
    if header is not None:
        raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber.")
    sizes = [size for _, size in row.manifest.parts]
    found = part_range(sizes, parse_part_number(number), row.size)
    return found, len(sizes) or None
