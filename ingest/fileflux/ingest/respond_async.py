"""PutObject, at once or (`Prefer: respond-async`, RFC 7240) accepted now and settled later.

202 means: the bytes survive a power cut here and the upload is recorded; it will be driven to its
end whatever happens to this process. Its status is a resource of its own, which only its owner
or root may read: `GET /_fileflux/uploads/{handle}` answers JSON. The handle is the upload's id and
a tag that binds it to its owner, so that no row is read for strangers, and the owner still hears
what became of it when the bucket is gone.
"""

import hashlib
import hmac
import json
from typing import Final

from fileflux.core.ids import UploadId, UserId, parse_id
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.put_object import StoreRequest, prepare_put, put_answer, settled
from fileflux.ingest.put_object import put_object as put_object_now
from fileflux.ingest.s3_errors import S3Error

STATUS_BUCKET: Final = "_fileflux"
"""No bucket can have this name, so the resource collides with nobody's key."""
_STATUS_PATH: Final = b"uploads/"
_ID_DIGITS: Final = 32
_TAG_DIGITS: Final = 32


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
    handle = _handle(deps, request.intent.upload_id, call.principal.user_id)
    headers = {
        "location": f"/{STATUS_BUCKET}/uploads/{handle}",
        "preference-applied": "respond-async",
        "content-type": "application/json",
    }
    return Answer(202, headers, json.dumps({"upload": handle, "state": "accepted"}).encode())


def is_status_request(call: Call) -> bool:
    request = call.request
    return request.bucket == STATUS_BUCKET and request.method in ("GET", "HEAD")


async def upload_status(call: Call, deps: Dependencies) -> Answer:
    """`accepted`, `ok`, or the error code that the upload settled with."""
    handle = call.key.removeprefix(_STATUS_PATH).decode("utf-8")
    upload_id = _named_upload(call, deps, handle)
    if deps.asynchronous is None or upload_id is None:
        raise S3Error("NoSuchUpload")
    state = await deps.reader.find_async(upload_id)
    if state is None:
        raise S3Error("NoSuchUpload")
    body = json.dumps({"upload": handle, "state": state}).encode()
    return Answer(200, {"content-type": "application/json"}, body)


def _named_upload(call: Call, deps: Dependencies, handle: str) -> UploadId | None:
    """The upload of a handle that was given to the caller; root needs no more than the id."""
    try:
        upload_id = UploadId(parse_id(handle[:_ID_DIGITS]))
    except ValueError:
        return None
    if call.principal.is_root:
        return upload_id
    expected = _handle(deps, upload_id, call.principal.user_id)
    is_right = hmac.compare_digest(expected.encode(), handle.encode())
    return upload_id if is_right else None


def _handle(deps: Dependencies, upload_id: UploadId, owner_id: UserId) -> str:
    text = b"fileflux upload status" + upload_id + owner_id
    tag = hmac.new(deps.master_key, text, hashlib.sha256).hexdigest()
    return upload_id.hex() + tag[:_TAG_DIGITS]


def _is_preferred(call: Call) -> bool:
    wishes = call.headers.get("prefer", "").split(",")
    return any(wish.partition(";")[0].strip().lower() == "respond-async" for wish in wishes)
