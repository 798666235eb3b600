"""Every operation of S3's API: one table for routing, authorization, limits and honest refusals.

An operation that we lack is in it too, so that a request for it is refused by its name instead of
being taken for another one: `DELETE /bucket/key?tagging` must never delete the object.
"""

import enum
from dataclasses import dataclass
from typing import Final

from fileflux.core.model import KIB, MIB, OBJECT_SIZE_BYTES_MAX
from fileflux.ingest.lacking_operations import LACKING


class Level(enum.StrEnum):
    """What a path names."""

    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


class Body(enum.StrEnum):
    """What a request carries."""

    NONE = "none"
    XML = "xml"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`selectors`: query parameters that must all be present; `header`: one that must be, too.

    `action`: what its sender must be allowed to do to the bucket or key that the path names; empty:
    nobody may. `source_action`: the same for what `x-amz-copy-source` names.
    """

    name: str
    method: str
    level: Level
    selectors: tuple[str, ...] = ()
    header: str = ""
    action: str = ""
    source_action: str = ""
    is_implemented: bool = True
    body: Body = Body.NONE
    body_bytes_max: int = 0


XML_BYTES_MAX: Final = 4 * MIB
"""10,000 parts with two checksums each, or 1,000 keys of 1 KiB with many escapes."""
SMALL_XML_BYTES_MAX: Final = 64 * KIB
"""A region's name takes 200 bytes."""
COPY_SOURCE: Final = "x-amz-copy-source"

SERVICE: Final = (
    Operation(name="ListBuckets", method="GET", level=Level.SERVICE, action="s3:ListAllMyBuckets"),
)

BUCKET: Final = tuple(
    Operation(name=name, method=method, level=Level.BUCKET, selectors=selectors, action=action)
    for name, method, selectors, action in (
        ("HeadBucket", "HEAD", (), "s3:ListBucket"),
        ("DeleteBucket", "DELETE", (), "s3:DeleteBucket"),
        ("GetBucketLocation", "GET", ("location",), "s3:GetBucketLocation"),
        ("GetBucketVersioning", "GET", ("versioning",), "s3:GetBucketVersioning"),
        (
            "GetBucketNotificationConfiguration",
            "GET",
            ("notification",),
            "s3:GetBucketNotification",
        ),
        ("ListObjects", "GET", (), "s3:ListBucket"),
        ("ListObjectsV2", "GET", ("list-type",), "s3:ListBucket"),
        ("ListMultipartUploads", "GET", ("uploads",), "s3:ListBucketMultipartUploads"),
    )
)

OBJECT: Final = tuple(
    Operation(name=name, method=method, level=Level.OBJECT, selectors=selectors, action=action)
    for name, method, selectors, action in (
        ("GetObject", "GET", (), "s3:GetObject"),
        ("GetObjectAttributes", "GET", ("attributes",), "s3:GetObject"),
        ("HeadObject", "HEAD", (), "s3:GetObject"),
        ("DeleteObject", "DELETE", (), "s3:DeleteObject"),
        ("CreateMultipartUpload", "POST", ("uploads",), "s3:PutObject"),
        ("AbortMultipartUpload", "DELETE", ("uploadId",), "s3:AbortMultipartUpload"),
        ("ListParts", "GET", ("uploadId",), "s3:ListMultipartUploadParts"),
    )
)

WITH_BODY: Final = (
    Operation(
        name="CreateBucket",
        method="PUT",
        level=Level.BUCKET,
        action="s3:CreateBucket",
        body=Body.XML,
        body_bytes_max=SMALL_XML_BYTES_MAX,
    ),
    Operation(
        name="PutBucketNotificationConfiguration",
        method="PUT",
        level=Level.BUCKET,
        selectors=("notification",),
        action="s3:PutBucketNotification",
        body=Body.XML,
        body_bytes_max=SMALL_XML_BYTES_MAX,
    ),
    Operation(
        name="DeleteObjects",
        method="POST",
        level=Level.BUCKET,
        selectors=("delete",),
        action="s3:DeleteObject",
        body=Body.XML,
        body_bytes_max=XML_BYTES_MAX,
    ),
    Operation(
        name="PutObject",
        method="PUT",
        level=Level.OBJECT,
        action="s3:PutObject",
        body=Body.BYTES,
        body_bytes_max=OBJECT_SIZE_BYTES_MAX,
    ),
    Operation(
        name="UploadPart",
        method="PUT",
        level=Level.OBJECT,
        selectors=("partNumber", "uploadId"),
        action="s3:PutObject",
        body=Body.BYTES,
        body_bytes_max=OBJECT_SIZE_BYTES_MAX,
    ),
    Operation(
        name="CompleteMultipartUpload",
        method="POST",
        level=Level.OBJECT,
        selectors=("uploadId",),
        action="s3:PutObject",
        body=Body.XML,
        body_bytes_max=XML_BYTES_MAX,
    ),
)

COPIES: Final = (
    Operation(
        name="CopyObject",
        method="PUT",
        level=Level.OBJECT,
        header=COPY_SOURCE,
        action="s3:PutObject",
        source_action="s3:GetObject",
    ),
    Operation(
        name="UploadPartCopy",
        method="PUT",
        level=Level.OBJECT,
        selectors=("partNumber", "uploadId"),
        header=COPY_SOURCE,
        action="s3:PutObject",
        source_action="s3:GetObject",
    ),
)


def _lacking() -> tuple[Operation, ...]:
    made = []
    for line in LACKING.split("\n"):
        if words := line.split():
            name, method, level, *selectors = words
            header = selectors.pop().removeprefix("header:") if "header:" in line else ""
            made.append(
                Operation(
                    name=name,
                    method=method,
                    level=Level(level),
                    selectors=tuple(selectors),
                    header=header,
                    is_implemented=False,
                )
            )
    return tuple(made)


OPERATIONS: Final = (*SERVICE, *BUCKET, *OBJECT, *WITH_BODY, *COPIES, *_lacking())
BY_NAME: Final = {operation.name: operation for operation in OPERATIONS}
