"""`x-amz-copy-source`: the one header that names an object, decoded once like a path.

The same result is authorized and read, so nobody copies what another reading of it would allow.
"""

from dataclasses import dataclass
from typing import Final

from fileflux.ingest import percent
from fileflux.ingest.auth_errors import InvalidURI
from fileflux.ingest.names import check_key, is_bucket_name
from fileflux.ingest.s3_errors import S3Error, invalid_argument

HEADER: Final = "x-amz-copy-source"
_VERSION: Final = b"versionId="


@dataclass(frozen=True, slots=True)
class CopySource:
    """`version_id`: as given, None if not."""

    bucket: str
    key: bytes
    version_id: str | None = None


def parse_copy_source(value: str) -> CopySource:
    """Read `/bucket/key?versionId=…`, the slash and the version optional, percent-encoded.

    A `+` is a plus, as in any path. Raise InvalidArgument for what names no object.
    """
    path, question, query = value.encode("latin-1", "replace").partition(b"?")
    if question and not query.startswith(_VERSION):
        raise _refused(value)
    bucket, _, key = _decoded(path, value).removeprefix(b"/").partition(b"/")
    name = bucket.decode("ascii", "replace")
    if not is_bucket_name(name) or not key:
        raise _refused(value)
    check_key(key)
    version = _decoded(query.removeprefix(_VERSION), value).decode("utf-8", "replace")
    return CopySource(name, key, version if question else None)


def _decoded(raw: bytes, value: str) -> bytes:
    try:
        return percent.decode(raw.replace(b" ", b"%20"))
    except InvalidURI:
        raise _refused(value) from None


def _refused(value: str) -> S3Error:
    message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
    return invalid_argument(message, HEADER, value)
