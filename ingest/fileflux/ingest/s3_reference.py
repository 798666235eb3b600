"""docs/reference/s3.md, made from the operation table."""

import sys
from collections.abc import Iterator
from typing import Final

from fileflux.ingest.operations import OPERATIONS, Body, Level, Operation

HEADER: Final = """\
# S3 operations

Made from `ingest/fileflux/ingest/operations.py` by `python -m fileflux.ingest.s3_reference` (`make
docs`); do not edit it.

Path-style addresses always work; `BUCKET.NAME` is a bucket's address for the names in
`FILEFLUX_INGEST_DOMAINS`. Signature Version 4 only: in the header, presigned, or `aws-chunked` with
and without signatures and trailers. Each user owns its buckets; another user's request is denied.
An operation that is lacking is answered 501 `NotImplemented` with its name, and never taken for
another one. Sizes and other limits: [limits](limits.md).
"""

BEYOND: Final = """\
## Beyond S3

| request | what it does |
|---|---|
| `x-fileflux-class: NAME` at CreateBucket | the storage class of the bucket's objects |
| `Prefer: respond-async` at PutObject | 202 once staging has the bytes safely; settled later |
| `GET` of that answer's `Location`, `/_fileflux/uploads/HANDLE` | the upload's state: `accepted`, \
`ok` or an error code. The handle is the upload's id and a tag that only its owner was given; root \
needs the id alone |
| `arn:fileflux:webhook:REGION::NAME` in a notification configuration | the destination of that \
name of the bucket's owner ([how](../how-to/receive-a-webhook.md)); `arn:aws:sqs:REGION::NAME` \
and `sns` mean the same |
| `/_fileflux/events`, `/_fileflux/webhooks` | [events](events-http.md) and \
[webhooks](webhooks-http.md) over HTTP |
"""


def render() -> str:
    """Return the whole page."""
    served = [operation for operation in OPERATIONS if operation.is_implemented]
    lacking = [operation for operation in OPERATIONS if not operation.is_implemented]
    lines = [
        HEADER,
        f"{len(served)} operations are implemented, {len(lacking)} are answered 501.",
        "",
        "## Implemented",
        "",
        *_served(served),
        "",
        BEYOND,
        "## Lacking: 501 NotImplemented",
        "",
        *_lacking(lacking),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _served(operations: list[Operation]) -> Iterator[str]:
    yield "| operation | request | body | action |"
    yield "|---|---|---|---|"
    for one in sorted(operations, key=lambda operation: operation.name):
        action = f"`{one.action}`"
        if one.source_action:
            action += f", on the source `{one.source_action}`"
        yield f"| {one.name} | {_request(one)} | {_body(one)} | {action} |"


def _lacking(operations: list[Operation]) -> Iterator[str]:
    yield "| operation | request |"
    yield "|---|---|"
    for one in sorted(operations, key=lambda operation: operation.name):
        yield f"| {one.name} | {_request(one)} |"


def _request(operation: Operation) -> str:
    path = {Level.SERVICE: "/", Level.BUCKET: "/BUCKET", Level.OBJECT: "/BUCKET/KEY"}
    query = f"?{'&'.join(operation.selectors)}" if operation.selectors else ""
    header = f" with `{operation.header}`" if operation.header else ""
    return f"`{operation.method} {path[operation.level]}{query}`{header}"


def _body(operation: Operation) -> str:
    if operation.body is Body.NONE:
        return ""
    kind = "XML" if operation.body is Body.XML else "bytes"
    return f"{kind}, at most {_readable(operation.body_bytes_max)}"


def _readable(size: int) -> str:
    for shift, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >> shift:
            return f"{size >> shift} {name}"
    return f"{size} bytes"


if __name__ == "__main__":
    sys.stdout.write(render())
