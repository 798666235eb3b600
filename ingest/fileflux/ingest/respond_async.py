"""PutObject, at once or (`Prefer: respond-async`, RFC 7240) accepted now and settled later."""

from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.put_object import put_object as put_object_now


async def put_object(call: Call, deps: Dependencies) -> Answer:
    return await put_object_now(call, deps)
