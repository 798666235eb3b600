"""ListObjects, ListObjectsV2, ListMultipartUploads: a page costs the page, not the bucket."""

from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.listing import ListQuery, list_query_v1, list_query_v2, uploads_query
from fileflux.ingest.s3_listings import list_objects_result, list_uploads_result
from fileflux.metadata.ports import ListedKeys

NOTHING = ListedKeys((), (), False, None)


async def list_objects(call: Call, deps: Dependencies) -> Answer:
    return await _list(call, deps, list_query_v1(call.request))


async def list_objects_v2(call: Call, deps: Dependencies) -> Answer:
    return await _list(call, deps, list_query_v2(call.request))


async def _list(call: Call, deps: Dependencies, query: ListQuery) -> Answer:
    page = await _page(call, deps, query) if query.max_keys else NOTHING
    body = list_objects_result(
        call.bucket.name,
        query,
        page,
        owner_id=call.bucket.owner_id.hex(),
        owner_name=call.principal.name,
    )
    return Answer.xml(body)


async def _page(call: Call, deps: Dependencies, query: ListQuery) -> ListedKeys:
    return await deps.reader.list_objects(
        call.bucket.bucket_id,
        prefix=query.prefix,
        delimiter=query.delimiter,
        after=query.after,
        max_keys=query.max_keys,
    )


async def list_multipart_uploads(call: Call, deps: Dependencies) -> Answer:
    query = uploads_query(call.request)
    uploads, prefixes, truncated = await deps.reader.list_uploads(
        call.bucket.bucket_id,
        prefix=query.prefix,
        delimiter=query.delimiter,
        key_after=query.key_marker,
        upload_after=query.upload_after,
        max_uploads=query.max_uploads,
    )
    body = list_uploads_result(
        call.bucket.name,
        query,
        uploads=uploads,
        common_prefixes=prefixes,
        truncated=truncated,
        owner_name=call.principal.name,
    )
    return Answer.xml(body)
