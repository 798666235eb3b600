"""DeleteObject and DeleteObjects: changes without bytes, decided in one transaction per group."""

import asyncio
from typing import Final

from fileflux.core.changes import DeleteObject
from fileflux.core.errors import FileFluxError
from fileflux.core.model import WriteConditions
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.conditions import write_conditions
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.error_table import ERRORS
from fileflux.ingest.names import check_key, check_version_id
from fileflux.ingest.operations import XML_BYTES_MAX
from fileflux.ingest.put_object import settled
from fileflux.ingest.s3_errors import S3Error, s3_error
from fileflux.ingest.s3_xml import (
    DeletedKey,
    DeleteFailure,
    KeyToDelete,
    delete_result,
    parse_delete,
)

PUT_OFF: Final = frozenset(code for code, (status, _) in ERRORS.items() if status == 503)


async def delete_object(call: Call, deps: Dependencies) -> Answer:
    """Remove a key; removing what is not there succeeds."""
    check_version_id(call.request.param("versionId"))
    change = _change(call, deps, call.key, write_conditions(call.headers))
    settled(call, deps, await deps.direct.submit(change))
    return Answer(204)


async def delete_objects(call: Call, deps: Dependencies) -> Answer:
    """Remove up to a thousand keys; each has its own outcome."""
    wanted = parse_delete(await call.small_body(deps.clock, XML_BYTES_MAX))
    results = await asyncio.gather(*(_delete_one(call, deps, one) for one in wanted.keys))
    deleted = [DeletedKey(key) for key, problem in results if problem is None]
    failures = [problem for _, problem in results if problem is not None]
    if len(failures) == len(results) and {each.code for each in failures} <= PUT_OFF:
        # Nothing was done and all may succeed later: clients try a 503 again, never a 200.
        raise S3Error(failures[0].code)
    return Answer.xml(delete_result([] if wanted.quiet else deleted, failures))


async def _delete_one(
    call: Call, deps: Dependencies, wanted: KeyToDelete
) -> tuple[bytes, DeleteFailure | None]:
    key = wanted.key
    change = _change(call, deps, key, WriteConditions(if_match=wanted.etag))
    try:
        check_key(key)
        check_version_id(wanted.version_id)
        settled(call, deps, await deps.direct.submit(change))
    except (FileFluxError, S3Error) as error:
        known = s3_error(error)
        return key, DeleteFailure(key, known.code, known.message)
    return key, None


def _change(
    call: Call, deps: Dependencies, key: bytes, conditions: WriteConditions
) -> DeleteObject:
    return DeleteObject(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        bucket_id=call.bucket.bucket_id,
        bucket=call.bucket.name,
        key=key,
        conditions=conditions,
    )
