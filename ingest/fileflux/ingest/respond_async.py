"""PutObject, at once or (`Prefer: respond-async`, RFC 7240) accepted now and settled later.

202 means: the bytes survive a power cut here and the upload is recorded; it will be driven to its
end whatever happens to this process. Its status is a resource of its own, which only its owner
or root may read: `GET /_fileflux/uploads/{id}` answers JSON.
"""

import json
from typing import Final

from fileflux.core.ids import UploadId, parse_id
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.put_object import StoreRequest, prepare_put, put_answer, settled
from fileflux.ingest.put_object import put_object as put_object_now
from fileflux.ingest.s3_errors import S3Error

STATUS_BUCKET: Final = "_fileflux"
"""No bucket can have this name, so the resource collides with nobody's key."""
_STATUS_PATH: Final = b"uploads/"


async def put_object(call: Call, deps: Dependencies) -> Answer:
    """Answer 202 when the client prefers it and this staging can keep the promise."""
    uploads = deps.asynchronous
    if not _is_preferred(call) or uploads is None or not uploads.is_available:
        return await put_object_now(call, deps)
    request: StoreRequest = prepare_put(call, deps)
    async with deps.admission.upload(request.body.plan.size, request.intent.storage_class):
        outcome = await uploads.accept(
            aiter(request.body), intent=request.intent, finish=request.finish
        )
    settled(call, deps, outcome)
    if request.body.result.size == 0:
        return put_answer(outcome)  # A direct change: it is done already.
    upload_id = request.intent.upload_id.hex()
    headers = {
        "location": f"/{STATUS_BUCKET}/uploads/{upload_id}",
        "preference-applied": "respond-async",
        "content-type": "application/json",
    }
    return Answer(202, headers, json.dumps({"upload": upload_id, "state": "accepted"}).encode())


def is_status_request(call: Call) -> bool:
    request = call.request
    return request.bucket == STATUS_BUCKET and request.method in ("GET", "HEAD")


async def upload_status(call: Call, deps: Dependencies) -> Answer:
    """`accepted`, `ok`, or the error code that the upload settled with."""
    upload_id = _named_upload(call)
    if deps.asynchronous is None or upload_id is None:
        raise S3Error("NoSuchUpload")
    state = await deps.reader.find_async(upload_id)
    if state is None:
        raise S3Error("NoSuchUpload")
    body = json.dumps({"upload": upload_id.hex(), "state": state}).encode()
    return Answer(200, {"content-type": "application/json"}, body)


def _named_upload(call: Call) -> UploadId | None:
    try:
        return UploadId(parse_id(call.key.removeprefix(_STATUS_PATH).decode("ascii")))
    except ValueError:
        return None


def _is_preferred(call: Call) -> bool:
    wishes = call.headers.get("prefer", "").split(",")
    return any(wish.partition(";")[0].strip().lower() == "respond-async" for wish in wishes)
