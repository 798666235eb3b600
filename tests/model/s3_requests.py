"""One valid request for every operation that FileFlux implements, and for the REST endpoints.

Tests that must leave no operation out draw from here; a new operation without a request fails them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fileflux.ingest.operations import OPERATIONS, Operation

IMPLEMENTED: Final = tuple(each for each in OPERATIONS if each.is_implemented)
LACKING: Final = tuple(each for each in OPERATIONS if not each.is_implemented)
DELETE_BODY: Final = b"<Delete><Object><Key>key</Key></Object></Delete>"
COMPLETE_BODY: Final = (
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part>"
    b"</CompleteMultipartUpload>"
)
BOUNDARY: Final = "frontier"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends, before it is signed."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Names:
    """What requests are about. `source` is copied from; `etag`: of part 1 of `upload_id`."""

    bucket: str = "photos"
    key: str = "key"
    source: str = "photos/key"
    upload_id: str = "0" * 32
    etag: str = "0" * 32

    @property
    def path(self) -> str:
        return f"/{self.bucket}/{self.key}"


_Maker = Callable[[Names], Request]

S3_REQUESTS: Final[Mapping[str, _Maker]] = {
    "ListBuckets": lambda n: Request("GET", "/"),
    "CreateBucket": lambda n: Request("PUT", f"/{n.bucket}"),
    "HeadBucket": lambda n: Request("HEAD", f"/{n.bucket}"),
    "DeleteBucket": lambda n: Request("DELETE", f"/{n.bucket}"),
    "GetBucketLocation": lambda n: Request("GET", f"/{n.bucket}?location"),
    "GetBucketVersioning": lambda n: Request("GET", f"/{n.bucket}?versioning"),
    "GetBucketNotificationConfiguration": lambda n: Request("GET", f"/{n.bucket}?notification"),
    "PutBucketNotificationConfiguration": lambda n: Request(
        "PUT", f"/{n.bucket}?notification", body=b"<NotificationConfiguration/>"
    ),
    "ListObjects": lambda n: Request("GET", f"/{n.bucket}"),
    "ListObjectsV2": lambda n: Request("GET", f"/{n.bucket}?list-type=2"),
    "ListMultipartUploads": lambda n: Request("GET", f"/{n.bucket}?uploads"),
    "PutObject": lambda n: Request("PUT", n.path, body=b"hello"),
    "GetObject": lambda n: Request("GET", n.path),
    "HeadObject": lambda n: Request("HEAD", n.path),
    "GetObjectAttributes": lambda n: Request(
        "GET", f"{n.path}?attributes", {"x-amz-object-attributes": "ETag,ObjectSize"}
    ),
    "DeleteObject": lambda n: Request("DELETE", n.path),
    "DeleteObjects": lambda n: Request("POST", f"/{n.bucket}?delete", body=DELETE_BODY),
    "CopyObject": lambda n: Request("PUT", f"{n.path}-copy", {"x-amz-copy-source": n.source}),
    "CreateMultipartUpload": lambda n: Request("POST", f"{n.path}?uploads"),
    "UploadPart": lambda n: Request(
        "PUT", f"{n.path}?partNumber=1&uploadId={n.upload_id}", body=b"a part"
    ),
    "UploadPartCopy": lambda n: Request(
        "PUT", f"{n.path}?partNumber=2&uploadId={n.upload_id}", {"x-amz-copy-source": n.source}
    ),
    "CompleteMultipartUpload": lambda n: Request(
        "POST", f"{n.path}?uploadId={n.upload_id}", body=COMPLETE_BODY % n.etag.encode()
    ),
    "AbortMultipartUpload": lambda n: Request("DELETE", f"{n.path}?uploadId={n.upload_id}"),
    "ListParts": lambda n: Request("GET", f"{n.path}?uploadId={n.upload_id}"),
}

REST_REQUESTS: Final[Mapping[str, _Maker]] = {
    "upload": lambda n: form_request(f"/upload/{n.bucket}/{n.key}", b"hello"),
    "get": lambda n: Request("GET", n.path),
    "head": lambda n: Request("HEAD", n.path),
    "delete": lambda n: Request("DELETE", n.path),
    "delete bucket": lambda n: Request("DELETE", f"/delete_bucket/{n.bucket}"),
}
"""The REST endpoints that name somebody's bucket."""


def lacking_request(operation: Operation, names: Names) -> Request:
    """Return a request for an operation that FileFlux lacks."""
    query = "&".join(operation.selectors)
    path = {"service": "/", "bucket": f"/{names.bucket}"}.get(operation.level, names.path)
    headers = {operation.header: "x"} if operation.header else {}
    return Request(operation.method, f"{path}?{query}" if query else path, headers)


def form_request(target: str, data: bytes, *, content_type: str = "text/plain") -> Request:
    """Return a REST upload: a form whose field `file` holds the bytes."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\nhi\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    ).encode()
    body = head + data + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return Request("PUT", target, headers, body)
